"""How long want of memory takes: `plan()` with its fixes, `solve`, `largest`: `python -m benchmarks.solve_speed`.

Processor time of this thread, so that other programs on the machine do not count. Plans differ in the longest row, as a
slider does; every spec is one that does not fit.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator

from core.facts.types import Facts
from core.plan.planner import plan
from core.plan.solve import largest, solve
from core.spec.run_spec import RunSpec
from tests.core.plan.invented_facts import MACHINES, MODELS, facts, spec

ASKED: tuple[dict[str, object], ...] = (
    {},
    {"model__quantization": "none"},
    {"adapter__method": "full", "training__optimizer": "adamw"},
    {"model__quantization": "none", "hardware__activation_checkpointing": "off", "training__micro_batch_tokens": 16384},
    {"model__compute_dtype": "fp32", "hardware__attention": "eager"},
    {"adapter__modules_to_save": ("embed_tokens", "lm_head")},
)


def cases() -> Iterator[tuple[str, RunSpec, Facts]]:
    for machine in MACHINES:
        for model in MODELS:
            for number, asked in enumerate(ASKED):
                known, wanted = facts(machine, model), spec(**asked)
                memory = plan(wanted, known).memory
                if memory is not None and memory.verdict != "fits":
                    yield f"{machine} {model} {number}", wanted, known


def milliseconds(action: Callable[[RunSpec, Facts], object], asked: RunSpec, known: Facts, times: int) -> list[float]:
    found = []
    for number in range(times):
        wanted = asked.replace("data.max_length", 2048 - number)
        start = time.thread_time()
        action(wanted, known)
        found.append(1e3 * (time.thread_time() - start))
    return found


def show(name: str, found: list[float]) -> None:
    found = sorted(found)
    p99 = found[min(len(found) - 1, int(0.99 * len(found)))]
    print(f"{name:24} {statistics.median(found):8.3f} ms in the median {p99:8.3f} ms p99")


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    plans: list[float] = []
    solutions: list[float] = []
    lengths: list[float] = []
    for name, asked, known in cases():
        found = milliseconds(plan, asked, known, times)
        show(name, found)
        plans += found
        solutions += milliseconds(solve, asked, known, 3)
        lengths += milliseconds(lambda wanted, facts: largest(wanted, facts, "max_length"), asked, known, 3)
    for name, found in (("plan, all", plans), ("solve, all", solutions), ("largest, all", lengths)):
        show(name, found)


if __name__ == "__main__":
    main()
