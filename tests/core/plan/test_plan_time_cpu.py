"""Times on processors: against the engine's own step, setting by setting, and against what runs reached."""

import dataclasses
import statistics
from typing import Any

import pytest

from core.facts.types import Facts, LengthFacts
from core.plan.parameters import count_parameters, resolve_targets
from core.plan.planner import plan
from core.plan.time.load import load_of
from core.plan.time.rates import rates_of
from core.plan.time.stack import stack_of, trained_part
from core.plan.time.work import Manner, step_work
from core.plan.types import Duration
from core.spec.sections import AdapterSpec
from tests.core.plan.invented_facts import MACHINES, MODELS, NEW_CPU, data, facts, lengths, machine, spec

STARTER = MODELS["135m"]  # the shape of SmolLM2-135M
ONE_CORE = dataclasses.replace(NEW_CPU, physical_cores=1, logical_cores=1)

# Seconds of processor time of one step of the engine (`core.engine.step`) on SmolLM2-135M with 1 thread, the best of
# three, on an EPYC with AVX512-BF16 that was doing other work as well. Where nothing else is said: LoRA of rank 16 on
# all linear layers in bfloat16, 8 rows of 128 tokens in one pass, 60 % of them with loss.
MEASURED: tuple[tuple[dict[str, Any], float], ...] = (
    ({}, 4.95),
    ({"rows": 2, "length": 1024}, 12.12),
    ({"rows": 64, "length": 32}, 11.33),
    ({"rows": 4, "length": 32}, 0.87),
    ({"rows": 1, "length": 1024}, 6.37),
    ({"supervised": 0.05}, 4.90),
    ({"supervised": 0.95}, 5.59),
    ({"targets": ("attention",)}, 4.88),
    ({"rank": 64}, 5.47),
    ({"checkpointed": 30}, 6.92),
    ({"checkpointed": 15}, 5.43),
    ({"quantization": "nf4"}, 5.04),
    ({"quantization": "nf4", "checkpointed": 30}, 7.48),
    ({"dtype": "fp32"}, 7.87),
    ({"method": "full"}, 6.71),
    ({"method": "dora"}, 5.79),
    ({"dropout": 0.1}, 5.56),
    ({"rows": 16}, 9.18),
    ({"rows": 16, "passes": 8}, 9.90),
)


def counted(
    *,
    method: str = "lora",
    rank: int = 16,
    targets: tuple[str, ...] = ("all-linear",),
    dropout: float = 0.0,
    quantization: str = "none",
    dtype: str = "bf16",
    checkpointed: int = 0,
    rows: int = 8,
    length: int = 128,
    supervised: float = 0.6,
    passes: int = 1,
) -> float:
    """Seconds of a step as they are counted for one core."""
    adapter = AdapterSpec(method=method, rank=rank, targets=targets, dropout=dropout)  # type: ignore[arg-type]
    chosen = resolve_targets(adapter, STARTER)
    trained = trained_part(adapter, STARTER, chosen, count_parameters(adapter, chosen, STARTER).trainable)
    tokens = rows * length
    even = LengthFacts(rows, tokens, round(supervised * tokens), length, length, length, 0, 0, {})
    load = load_of(even, tokens, even.supervised_tokens, passes)
    width = {"bf16": 2, "fp32": 4}[dtype]
    manner = Manner(width, width, unpacked=quantization != "none", varlen=False, scores=False)
    return rates_of(None, ONE_CORE, dtype, 1).seconds(step_work(stack_of(STARTER), trained, manner, load, checkpointed))


def ratio(settings: dict[str, Any], seconds: float) -> float:
    return counted(**settings) / seconds


MIDDLE = statistics.median(ratio(settings, seconds) for settings, seconds in MEASURED)


def test_the_measurements_were_disturbed_by_other_work() -> None:
    assert 0.80 < MIDDLE < 0.95


@pytest.mark.parametrize(("settings", "seconds"), MEASURED, ids=str)
def test_every_setting_costs_what_it_was_measured_to_cost(settings: dict[str, Any], seconds: float) -> None:
    """Relative to the others: what a setting does to the time is what matters when one of them is changed."""
    assert ratio(settings, seconds) / MIDDLE == pytest.approx(1.0, abs=0.17)


def duration(known: Facts, **settings: object) -> Duration:
    made = plan(spec(**settings), known).duration
    assert made is not None
    return made


def test_two_cores_reach_what_runs_reached() -> None:
    """450 to 515 tokens a second were reached with rows of 150 tokens on average on two undisturbed cores."""
    two = machine(cpu=dataclasses.replace(NEW_CPU, physical_cores=2))
    rows = data(lengths(rows=999, mean=150, longest=529, supervised=0.75))
    made = duration(Facts(two, STARTER, rows))
    assert made.tokens_per_second == pytest.approx(480, rel=0.10)
    step = made.seconds - made.parts["loading"] - made.parts["saving"]
    assert (made.low_seconds - made.parts["loading"]) / step < 480 / 515
    assert (made.high_seconds - made.parts["loading"]) / step > 480 / 311  # a plainer loop reached that


def test_processors_without_16_bits_are_slower() -> None:
    fast = Facts(MACHINES["cpu24"], STARTER, data())
    plain = dataclasses.replace(NEW_CPU, avx512_bf16=False)
    slow = dataclasses.replace(fast, hardware=dataclasses.replace(fast.hardware, cpu=plain))
    emulated = duration(slow, model__compute_dtype="bf16")
    assert duration(fast).seconds < duration(slow).seconds < emulated.seconds
    tiles = dataclasses.replace(NEW_CPU, amx_bf16=True)
    faster = dataclasses.replace(fast, hardware=dataclasses.replace(fast.hardware, cpu=tiles))
    assert duration(faster).seconds < duration(fast).seconds


def test_a_processor_that_was_measured_has_a_narrower_band() -> None:
    known = duration(Facts(MACHINES["cpu24"], STARTER, data()))
    plain = machine(cpu=dataclasses.replace(NEW_CPU, avx512_bf16=False))
    other = duration(Facts(plain, STARTER, data()))
    assert known.high_seconds / known.low_seconds < other.high_seconds / other.low_seconds


def test_fewer_threads_take_longer() -> None:
    known = facts("cpu24", "135m")
    assert duration(known, hardware__threads=2).parts["steps"] > 2 * duration(known).parts["steps"]
    assert duration(known, hardware__threads=500).seconds == pytest.approx(duration(known).seconds)
