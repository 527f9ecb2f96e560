"""How long `plan()` takes, median and p99, for invented machines and models: `python -m benchmarks.plan_speed`.

Every plan is made from a spec that differs in rank, as a slider does, so nothing can be remembered from plan to plan
but the index of the model's modules.
"""

import statistics
import sys
import time

from core.plan.planner import plan
from tests.core.plan.invented_facts import MACHINES, MODELS, facts, spec


def measure(machine: str, model: str, repetitions: int) -> tuple[float, float, str]:
    known = facts(machine, model)
    specs = [spec(adapter__rank=rank, adapter__alpha=2.0 * rank) for rank in range(8, 72)]
    verdict = plan(specs[0], known).memory
    seconds = []
    for index in range(repetitions):
        chosen = specs[index % len(specs)]
        start = time.perf_counter()
        plan(chosen, known)
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    p99 = seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))]
    return statistics.median(seconds), p99, verdict.verdict if verdict else "unknown"


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"{'machine':10} {'model':6} {'median ms':>10} {'p99 ms':>8}  verdict")
    medians = []
    for machine in MACHINES:
        for model in MODELS:
            median, p99, verdict = measure(machine, model, repetitions)
            medians.append(median)
            print(f"{machine:10} {model:6} {1e3 * median:10.3f} {1e3 * p99:8.3f}  {verdict}")
    print(f"{'all':17} {1e3 * statistics.median(medians):10.3f}")


if __name__ == "__main__":
    main()
