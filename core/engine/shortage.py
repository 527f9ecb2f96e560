"""What to do when the memory runs out in the middle of a step: less at once, never something else."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from core.data.types import EncodedRow
from core.engine.distributed import ShortElsewhere
from core.engine.failures import is_out_of_memory
from core.engine.loading import checkpoint_layers
from core.engine.session import Session
from core.errors import FailureKind, JobError
from core.events.types import Notice

SMALLEST_PASS = 64
"""Tokens; passes of fewer save next to nothing."""


def make_do(session: Session, failure: BaseException, rows: Sequence[EncodedRow], *, learns: bool) -> bool:
    """Gets by with less memory after a failure; returns whether the same work may be tried again.

    Passes become half as large, in tokens. Where they cannot, because one row alone is too much, all layers are
    recomputed in the backward pass from then on. Neither changes what is learned.

    Args:
        session: whose work ran out of memory.
        failure: what was raised; anything else than a lack of memory is not helped.
        rows: the work, as far as this process does it.
        learns: whether there is a backward pass.
    """
    if not is_out_of_memory(failure):
        return False
    if session.spread:
        raise JobError(
            FailureKind.OUT_OF_MEMORY,
            "The memory ran out in a process that shares the base model with others; they wait for it in the middle "
            "of a pass, so the step cannot be taken again.",
            "Lower training.micro_batch_tokens or data.max_length, or turn on activation checkpointing, and resume.",
        ) from failure
    budget = session.counters.micro_batch_tokens
    longest = 0 if isinstance(failure, ShortElsewhere) else max((len(row) for row in rows), default=0)
    smaller = budget // 2
    if smaller >= SMALLEST_PASS and budget > longest:
        session.counters = replace(session.counters, micro_batch_tokens=smaller)
        message = f"The memory ran out; the step is taken again with {smaller} tokens a pass. Nothing else changes."
        session.context.emit(Notice("warning", "smaller_passes", message))
        return True
    return learns and _recompute_all(session)


def recompute_as_saved(session: Session) -> None:
    """Recomputes the layers that an earlier attempt had to."""
    if session.counters.recomputed_layers:
        checkpoint_layers(session.model, session.counters.recomputed_layers)


def _recompute_all(session: Session) -> bool:
    layers = session.order.model.num_layers
    before = max(session.counters.recomputed_layers, session.order.plan.choices.checkpointed_layers.value)
    found = checkpoint_layers(session.model, layers)
    if found <= before:
        return False
    session.counters = replace(session.counters, recomputed_layers=found)
    message = (
        "The memory ran out with a single row in a pass; the step is taken again with all layers recomputed in the "
        "backward pass, which takes longer. Nothing else changes."
    )
    session.context.emit(Notice("warning", "more_recomputed_layers", message))
    return True


def give_back(session: Session) -> None:
    """Forgets the gradients of a step that failed half-way, and gives the device its memory back."""
    session.masters.clear_gradients()
    if session.device.type == "cuda":
        torch.cuda.empty_cache()
