"""The learning rate over a run, as a pure function of the step, so that nothing has to be saved to resume it."""

import math

from core.plan.types import Curve
from core.spec.sections import TrainingSpec


def curve_of(training: TrainingSpec, steps: int) -> Curve:
    """The curve of a run of ``steps`` steps; the warm-up is the asked share of them, rounded up, one step short of all.

    A share above zero gives at least one step of warm-up unless the run has only one step.
    """
    share = training.warmup if 0.0 <= training.warmup <= 1.0 else 0.0
    # Shares such as 0.07 times 100 come out a hair above the whole number that was meant.
    warmup = min(math.ceil(round(share * steps, 9)), max(0, steps - 1))
    return Curve(training.schedule, training.learning_rate, warmup, steps)


def learning_rate(curve: Curve, step: int) -> float:
    """The rate that the 0-based ``step`` uses; 0 from the end of the run on, except for the constant schedule.

    The warm-up rises as (step + 1)/warmup, so that the first step already learns; transformers' schedules use
    step/warmup, whose first step does nothing. After the warm-up the cosine and the line are transformers' own
    (`get_cosine_schedule_with_warmup`, `get_linear_schedule_with_warmup`): both start at the peak and would reach
    zero one step after the last.

    Raises:
        ValueError: ``step`` is negative.
    """
    if step < 0:
        raise ValueError(f"step {step} is before the start of the run")
    if step < curve.warmup_steps:
        return curve.peak * ((step + 1) / curve.warmup_steps)
    if curve.kind == "constant":
        return curve.peak
    progress = min(1.0, (step - curve.warmup_steps) / max(1, curve.steps - curve.warmup_steps))
    if curve.kind == "linear":
        return curve.peak * (1.0 - progress)
    return curve.peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def curve_points(curve: Curve, count: int = 200) -> tuple[tuple[int, float], ...]:
    """At most ``count`` (and never under three) points (step, rate) for a picture.

    The first step, the last one and the end of the warm-up are always among them.
    """
    if curve.steps <= 0:
        return ()
    last = curve.steps - 1
    marks = (0, last, max(0, curve.warmup_steps - 1))
    between = max(0, count - len(marks))
    spread = (round(index * last / (between + 1)) for index in range(1, between + 1))
    return tuple((step, learning_rate(curve, step)) for step in sorted({*marks, *spread}))
