"""How long `plan()` takes for every model of the catalogue: `python -m benchmarks.plan_speed [MACHINE [REPETITIONS]]`.

Three kinds of questions: the same adapter with another learning rate, which is what most edits come to and leaves what
is remembered of the memory as it is; an adapter of a rank that was never asked for before, as a slider moves through,
for which every sum is made anew; and the first plan on a model, for which its layers are looked at and their operations
are written down once. The first two are what clicks and sliders wait for and have to keep the limits; the third comes
once, after the model's files were read.

Runs that do not fit are among them. Their plan says so; what would make them fit is another question, which
`benchmarks/solve_speed.py` times. As in the window, a spec differs from the one before in one setting.

The time of the thread is taken and not the clock's, so that other programs disturb less.
"""

import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import replace

from core.facts.catalogue import entries
from core.facts.types import Facts, ModelFacts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec
from tests.core.plan.invented_facts import MACHINES, data, spec

MEDIAN_MS, P99_MS = 1.0, 3.0


def measure(known: Facts, specs: Iterable[RunSpec]) -> list[float]:
    """Milliseconds of each plan."""
    taken = []
    for one in specs:
        start = time.thread_time()
        plan(one, known)
        taken.append(1e3 * (time.thread_time() - start))
    return taken


def percentile(taken: list[float], share: float) -> float:
    """The value that so large a share of all is at or below."""
    return sorted(taken)[int(share * (len(taken) - 1))]


def of_model(model: ModelFacts, machine: str, repetitions: int) -> tuple[list[float], list[float], float]:
    """Milliseconds for edits, for new ranks, and for the first plan of all."""
    known, asked = Facts(MACHINES[machine], model, data()), spec()
    first = measure(known, [asked])[0]
    edits = measure(known, [asked.replace("training.learning_rate", 1e-6 * (1 + n)) for n in range(repetitions)])
    ranks = measure(known, [asked.replace("adapter.rank", rank) for rank in range(9, 9 + repetitions)])
    return edits, ranks, first


def main() -> None:
    machine = sys.argv[1] if len(sys.argv) > 1 else "rtx4090"
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    # Base models and their instruct versions share shapes; one of each shape is enough.
    models = {replace(entry.facts, path="").fingerprint or entry.title: entry for entry in entries()}
    edits, ranks, firsts = [], [], []
    slow: list[tuple[float, str]] = []
    for entry in models.values():
        changed, new, first = of_model(entry.facts, machine, repetitions)
        edits += changed
        ranks += new
        firsts.append(first)
        slow.append((statistics.median(new), entry.name))
    print(f"{len(models)} models of {len({entry.facts.family for entry in models.values()})} families on {machine}")
    for title, taken in (("edits", edits), ("new ranks", ranks), ("both", edits + ranks), ("first plans", firsts)):
        median, p99 = statistics.median(taken), percentile(taken, 0.99)
        print(f"{title:12} median {median:6.3f} ms, p99 {p99:6.3f} ms, most {max(taken):7.3f} ms")
    print("slowest: " + ", ".join(f"{name} {median:.2f} ms" for median, name in sorted(slow, reverse=True)[:5]))
    kept = all(statistics.median(some) < MEDIAN_MS and percentile(some, 0.99) < P99_MS for some in (edits, ranks))
    print(f"median under {MEDIAN_MS} ms and p99 under {P99_MS} ms: {'yes' if kept else 'no'}")


if __name__ == "__main__":
    main()
