"""The other moments of a run: the validation loss and the answers to sample prompts, where they take more than a step.

Neither holds gradients or a graph. A step that learns from few tokens can need less than a validation pass, which takes
as many rows as the budget allows; and a long answer keeps keys and values of every layer.
"""

import dataclasses
from dataclasses import dataclass

from core.facts.types import ModelFacts
from core.plan.memory.footprint import Footprint
from core.plan.memory.outside import slack_bytes
from core.plan.memory.statics import rounded
from core.plan.types import MemoryPart


@dataclass(frozen=True, slots=True)
class Beside:
    """What a run does beside its steps.

    Attributes:
        evaluated: tokens of the largest validation pass; 0 without validation rows.
        longest: tokens of the longest validation row.
        rows: validation rows.
        prompt: tokens of the longest sample prompt, at most; 0 without sample prompts.
        answer: tokens of the longest answer.
    """

    evaluated: int = 0
    longest: int = 0
    rows: int = 0
    prompt: int = 0
    answer: int = 0


NOTHING = Beside()


def higher_moment(plan: Footprint, beside: Beside, peak: int, tokens: int) -> tuple[str, tuple[MemoryPart, ...]] | None:
    """The moment that takes more than a step's ``peak`` with passes of ``tokens`` tokens, by component; else None.

    A validation pass no larger than a training pass, of rows no longer, never does, because it holds nothing for a
    backward pass.
    """
    found: tuple[str, tuple[MemoryPart, ...]] | None = None
    if beside.evaluated > tokens or beside.longest > plan.setup.longest:
        parts = evaluation_parts(plan, beside)
        if _sum(parts) > peak:
            found, peak = ("evaluation", parts), _sum(parts)
    if beside.prompt and _most_of_an_answer(plan.model, plan.setup.dtype_bytes, beside) > peak - plan.static:
        parts = sampling_parts(plan, beside)
        if _sum(parts) > peak:
            found = ("sampling", parts)
    return found


def evaluation_parts(plan: Footprint, beside: Beside) -> tuple[MemoryPart, ...]:
    """The components while the validation loss is measured."""
    setup = dataclasses.replace(plan.setup, longest=max(1, beside.longest), rows=max(1, beside.rows))
    moving = plan.without_gradients(setup.worst(beside.evaluated))
    return _parts(plan, moving, f"{beside.evaluated:,} tokens of validation rows")


def sampling_parts(plan: Footprint, beside: Beside) -> tuple[MemoryPart, ...]:
    """The components while an answer is written: keys and values of all layers, and a pass over the prompt."""
    setup = dataclasses.replace(plan.setup, longest=beside.prompt, rows=1, supervised=1)
    prefill = plan.without_gradients(setup.worst(beside.prompt)) + cache_bytes(plan, beside.prompt)
    # Every token joins a layer's keys, and then its values, to the earlier ones in a copy, one layer after the other.
    whole = beside.prompt + beside.answer
    joined = cache_bytes(plan, whole) + cache_bytes(plan, whole) // max(1, 2 * plan.layers)
    return _parts(plan, max(prefill, joined), f"keys and values of {whole:,} tokens")


def cache_bytes(plan: Footprint, tokens: int) -> int:
    """Keys and values of all layers (transformers, DynamicCache), in the compute format."""
    model = plan.model
    return 2 * model.num_layers * rounded(tokens * model.num_kv_heads * model.head_dim * plan.setup.dtype_bytes)


def _most_of_an_answer(model: ModelFacts, size: int, beside: Beside) -> int:
    """More than an answer can take beside the static part; arithmetic alone, to rule it out at once."""
    whole = beside.prompt + beside.answer
    cache = 2 * (model.num_layers + 1) * whole * model.num_kv_heads * model.head_dim * size
    widths = 8 * model.hidden_size + 4 * model.intermediate_size + 8 * model.num_heads * model.head_dim
    return cache + 4 * beside.prompt * widths + 16 * model.vocab_size


def _parts(plan: Footprint, moving: int, detail: str) -> tuple[MemoryPart, ...]:
    """The step's static components without gradients, and what moves."""
    return (
        *plan.lasting(0),
        MemoryPart("activations", "Activations", moving, detail),
        *plan.outside(plan.context, slack_bytes(plan.setup.kind, plan.static, moving)),
    )


def _sum(parts: tuple[MemoryPart, ...]) -> int:
    return sum(part.bytes for part in parts)
