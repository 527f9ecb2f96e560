"""How far off a prediction can be, part by part."""

from core.facts.types import ModelFacts
from core.plan.memory.blocks.families import is_described
from core.plan.types import MemoryPart

# Largest residuals against the simulator of the engine's real step, see docs/memory-model.md: of the whole peak 0.4 %
# for families with a block of their own; of what moves 29 % for nine families without one.
DESCRIBED_ERROR = 0.02
GENERIC_ERROR = 0.30
STATIC_ERROR = 0.01
CONTEXT_ERROR = 0.40


def margin(parts: tuple[MemoryPart, ...], model: ModelFacts) -> float:
    """Half the width of the band, in bytes."""
    moving = DESCRIBED_ERROR if is_described(model) else GENERIC_ERROR
    if model.assumptions:
        moving = max(moving, GENERIC_ERROR)
    errors = {"activations": moving, "workspace": moving, "slack": 1.0, "context": CONTEXT_ERROR}
    return sum(part.bytes * errors.get(part.name, STATIC_ERROR) for part in parts)
