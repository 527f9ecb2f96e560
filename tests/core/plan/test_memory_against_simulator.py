"""The closed form of a step's memory against the engine's real step on tensors without content.

Two hundred settings, drawn once and for all: every setting that moves memory, over the published shapes of all families
that have a block of their own, mixtures of experts among them. They take minutes, so that a usual run of the tests
looks at the first of them, which have every shape once; `LOWRANK_ALL_SETTINGS=1` looks at all.
"""

import os
from collections.abc import Sequence

import pytest

from core.facts.types import ModelFacts
from core.plan.memory.blocks.families import is_described
from tests.core.plan.closed_form import footprint_of, size_of
from tests.simulator.cases import Case

pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # three minutes of one core
    # PEFT says that it sets what GPT-2's transposed matrices need, and LLM.int8 that it rounds to float16.
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
]

SEED = 20261126
ALL, EVERYDAY = 200, 36
FAMILIES = 10
MEDIAN, NEARLY_ALL, UNDER = 0.001, 0.01, 0.02


def test_the_closed_form_agrees_with_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.simulator.depth import simulate_deep
    from tests.simulator.random_cases import random_cases

    count = ALL if os.environ.get("LOWRANK_ALL_SETTINGS") else EVERYDAY
    errors: list[tuple[float, Case]] = []
    families: set[str] = set()
    for case in random_cases(SEED, ALL)[:count]:
        simulated = simulate_deep(case)
        families.add(simulated.facts.family)
        counted = counted_bytes(case, simulated.facts)
        errors.append((counted / simulated.peak_bytes - 1, case))
    with capsys.disabled():
        print(f"\n{report(errors)}; {len(families)} families")  # noqa: T201
    assert len(errors) == count
    assert len(families) >= FAMILIES
    sizes = sorted(abs(error) for error, _ in errors)
    assert sizes[count // 2] < MEDIAN
    assert sizes[int(0.95 * count)] < NEARLY_ALL
    assert [case for error, case in errors if error < -UNDER] == []


@pytest.mark.parametrize(
    "case",
    [
        Case("llama-3-8b", compute_dtype="fp16", passes=((900, 300, 500), (700,)), ampere=False),
        Case("qwen2.5-7b", compute_dtype="fp16", quantization="nf4", checkpointed=28, passes=((1024,),), ampere=False),
        Case("llama-2-7b", compute_dtype="fp16", attention="sdpa", passes=((300, 800), (400,)), ampere=False),
        Case("qwen3-4b", compute_dtype="fp32", passes=((512, 1500), (300,))),
    ],
    ids=["grouped heads", "4 bits, recomputed", "a key head for each query head", "32 bits"],
)
def test_the_closed_form_agrees_where_flash_attention_cannot_run(case: Case) -> None:
    from tests.simulator.depth import simulate_deep

    simulated = simulate_deep(case)
    assert counted_bytes(case, simulated.facts) / simulated.peak_bytes == pytest.approx(1, abs=NEARLY_ALL)


def counted_bytes(case: Case, facts: ModelFacts) -> int:
    """Peak allocated bytes by the closed form."""
    assert is_described(facts)
    return footprint_of(case, facts).allocated(size_of(case), case.checkpointed)


def report(errors: Sequence[tuple[float, Case]]) -> str:
    """Median, 95th percentile and extremes in per cent."""
    sizes = sorted(abs(error) for error, _ in errors)
    least, most = min(errors, key=lambda one: one[0]), max(errors, key=lambda one: one[0])
    return (
        f"{len(sizes)} settings: median {100 * sizes[len(sizes) // 2]:.4f} %, "
        f"95th percentile {100 * sizes[int(0.95 * len(sizes))]:.3f} %, "
        f"from {100 * least[0]:+.2f} % ({least[1].model}) to {100 * most[0]:+.2f} % ({most[1].model})"
    )
