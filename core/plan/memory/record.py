"""The planner's record of a peak, with its band and its verdict."""

from core.facts.types import ModelFacts
from core.plan.memory.band import margin
from core.plan.memory.blocks.families import is_described
from core.plan.memory.footprint import Footprint
from core.plan.memory.moments import NOTHING, Beside, higher_moment
from core.plan.memory.outside import shown_bytes
from core.plan.types import Memory, Verdict
from core.units import format_bytes

FITS_SHARE = 0.90

BASIS = (
    "Counted operation by operation, as PyTorch allocates them in this engine's step, and compared with a simulation "
    "of it; the band covers the device context and the allocator."
)


def basis_of(model: ModelFacts | None) -> str:
    """What a number rests on, and what was assumed for a family whose layers nobody has described."""
    if model is None or is_described(model):
        return BASIS
    return (
        f"The layers of the family “{model.family}” are not described one operation after another: they are counted as "
        "if they were built like Llama's, with the matrices that this model has, so the band is wider. Compare the "
        "plan with what the first steps of the run really take."
    )


def memory_of(
    plan: Footprint,
    model: ModelFacts,
    tokens: int,
    checkpointed: int,
    *,
    device: str,
    limit: int,
    free: int,
    beside: Beside = NOTHING,
) -> Memory:
    """The record of a peak with its band and verdict against ``free`` of ``limit`` bytes."""
    parts, moment = plan.parts(tokens, checkpointed), "step"
    peak = sum(part.bytes for part in parts)
    higher = higher_moment(plan, beside, peak, tokens)
    if higher is not None:
        moment, parts = higher
        peak = sum(part.bytes for part in parts)
    experience = plan.setup.experience
    width = experience.margin(peak, margin(parts, model))
    allocated = sum(part.bytes for part in parts if part.name not in ("context", "slack"))
    return Memory(
        device=device,
        parts=parts,
        peak_bytes=peak,
        low_bytes=max(0, round(peak - width)),
        high_bytes=round(peak + width),
        limit_bytes=limit,
        free_bytes=free,
        verdict=verdict_of(peak, free),
        shown_bytes=shown_bytes(plan.setup.kind, allocated, peak, experience.outside_bytes),
        moment=moment,
        measured_runs=experience.runs,
    )


def verdict_of(peak: int, free: int) -> Verdict:
    """Up to 90 % of the free memory fits, up to all of it is tight."""
    if peak <= FITS_SHARE * free:
        return "fits"
    return "tight" if peak <= free else "does_not_fit"


def shortage(memory: Memory) -> str:
    """The missing amount in words."""
    return format_bytes(max(0, memory.peak_bytes - memory.free_bytes))
