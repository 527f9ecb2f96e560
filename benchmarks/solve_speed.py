"""How long want of memory takes: `plan()` with its fixes, `solve`, `largest`: `python -m benchmarks.solve_speed`.

And the largest models of the catalogue on other cards: a table of 20, the smallest that fits, and `solve` on 24 GB with
every smaller relative as a way out.

Processor time of this thread, so that other programs on the machine do not count. Plans differ in the longest row, as a
slider does; every spec is one that does not fit.
"""

import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from core.facts.catalogue import entries
from core.facts.types import Facts
from core.plan.cards import CARDS, card_of_size
from core.plan.planner import plan
from core.plan.solve import largest, solve
from core.plan.what_if import compare, on_card, smallest_card
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


def show_other_cards(times: int) -> None:
    """The largest models with and without 4-bit weights, each time with rows of another length."""
    every = sorted((entry.facts for entry in entries()), key=lambda model: model.parameters)
    cards = CARDS[:: len(CARDS) // 20][:20]
    tables: list[float] = []
    smallest: list[float] = []
    solutions: list[float] = []
    for model in every[-6:]:
        known = Facts(MACHINES["cpu24"], model)
        solved = functools.partial(solve, bases=tuple(other for other in every if other.family == model.family))
        there = on_card(known, card_of_size(24))
        for asked in ({}, {"model__quantization": "none"}):
            wanted = spec(**asked)
            tables += milliseconds(lambda one, facts: compare(one, facts, cards), wanted, known, times)
            smallest += milliseconds(smallest_card, wanted, known, times)
            solutions += milliseconds(solved, wanted, there, times)
    show(f"table of {len(cards)} cards", tables)
    show("smallest card", smallest)
    show("solve, largest models", solutions)


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
    show_other_cards(max(3, times // 8))


if __name__ == "__main__":
    main()
