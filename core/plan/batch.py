"""How rows become steps and passes."""

import math

from core.facts.types import LengthFacts
from core.plan.types import Batch
from core.spec.sections import TrainingSpec

_MOST_STEPS = 10**12
"""Far above what the setting allows: a number without end is complained about and must not end the planning."""


def count_steps(training: TrainingSpec, rows: int) -> tuple[int, int]:
    """Optimizer steps of one epoch and of the whole run.

    A step learns from ``effective_batch`` rows; the last step of an epoch takes what is left and is a step of its own.
    A fraction of an epoch takes its share of the rows. ``max_steps`` overrides the epochs.
    """
    batch = max(1, training.effective_batch)
    per_epoch = math.ceil(rows / batch)
    if training.max_steps > 0:
        return per_epoch, min(training.max_steps, _MOST_STEPS)
    epochs = training.epochs if math.isfinite(training.epochs) else 0.0
    whole = math.floor(round(max(0.0, epochs), 9))
    # Fractions such as 1.1 - 1 are a hair above the number that was meant and must not cost a step.
    fraction = max(0.0, round(epochs - whole, 9))
    rest = min(per_epoch, math.ceil(round(fraction * rows / batch, 6)))
    return per_epoch, min(max(1 if rows else 0, whole * per_epoch + rest), _MOST_STEPS)


def batch_of(training: TrainingSpec, rows: LengthFacts, micro_batch_tokens: int, *, packing: bool) -> Batch:
    """The steps of a run over ``rows`` and what an average step consists of.

    The passes are expected ones: with packing the tokens of a mean step over the budget (at least one, at most one for
    each row), without packing one for each row.
    """
    per_epoch, steps = count_steps(training, rows.rows)
    share = max(1, per_epoch)
    tokens = rows.tokens / share
    rows_per_step = rows.rows / share
    if packing:
        passes = min(max(1.0, tokens / max(1, micro_batch_tokens)), max(1.0, rows_per_step))
    else:
        passes = max(1.0, rows_per_step)
    return Batch(
        rows=rows.rows,
        effective_batch=max(1, training.effective_batch),
        steps_per_epoch=per_epoch,
        steps=steps,
        tokens_per_step=tokens,
        supervised_per_step=rows.supervised_tokens / share,
        passes_per_step=passes,
    )
