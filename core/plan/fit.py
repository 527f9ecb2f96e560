"""Whether a usual run on this model fits this machine, with its weights held in full precision, in 8 and in 4 bits."""

from dataclasses import dataclass
from typing import Literal

from core.facts.types import Facts
from core.plan.ground import DTYPE_BYTES
from core.plan.planner import plan
from core.plan.types import Verdict
from core.spec.run_spec import RunSpec, field_at


@dataclass(frozen=True, slots=True)
class Fit:
    """A usual LoRA run with the weights held in one format, against this machine.

    Attributes:
        quantization: the value of ``model.quantization`` that gives it.
        bits: bits of a weight: 32 or 16, 8, 4.
        peak_bytes, low_bytes, high_bytes: the expected peak and its band.
        limit_bytes: what the device has; `free_bytes`: what of it is free now.
        device: "cuda:0" or "cpu".
    """

    quantization: Literal["none", "int8", "nf4"]
    bits: int
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    limit_bytes: int
    free_bytes: int
    verdict: Verdict
    device: str


def fit(spec: RunSpec, facts: Facts) -> tuple[Fit, ...]:
    """Whether a LoRA run on this model fits, with weights in full precision, in 8 and in 4 bits.

    The run is the spec's, with rows as long as it allows; an adapter that the model cannot have counts as the usual
    one. Empty while the model is unknown, and for models that cannot be trained as they lie. Never raises.
    """
    model = facts.model
    if model is None or model.prequantized:
        return ()
    known = Facts(facts.hardware, model, records=facts.records)
    usual = _as_lora(spec, known)
    return tuple(_fit(usual, known, value) for value in ("none", "int8", "nf4"))


def _as_lora(spec: RunSpec, facts: Facts) -> RunSpec:
    if spec.adapter.method == "full":
        spec = spec.replace("adapter.method", "lora")
    asked = plan(spec, facts)
    if asked.parameters is not None:
        return spec
    for path in ("adapter.targets", "adapter.layers", "adapter.rank_pattern", "adapter.modules_to_save"):
        spec = spec.replace(path, field_at(path).default)
    return spec


def _fit(spec: RunSpec, facts: Facts, value: Literal["none", "int8", "nf4"]) -> Fit:
    planned = plan(spec.replace("model.quantization", value), facts)
    memory = planned.memory
    assert memory is not None, "the planner always has something to say about memory"
    bits = {"int8": 8, "nf4": 4}.get(value) or 8 * DTYPE_BYTES[planned.choices.compute_dtype.value]
    return Fit(
        quantization=value,
        bits=bits,
        peak_bytes=memory.peak_bytes,
        low_bytes=memory.low_bytes,
        high_bytes=memory.high_bytes,
        limit_bytes=memory.limit_bytes,
        free_bytes=memory.free_bytes,
        verdict=memory.verdict,
        device=memory.device,
    )
