"""The learning rate over a run, as a pure function of the step, so that nothing has to be saved to resume it."""

import math
from dataclasses import replace

from core.plan.types import Curve
from core.spec.extensions import Leg, known_extensions
from core.spec.sections import TrainingSpec


def curve_of(training: TrainingSpec, steps: int) -> Curve:
    """The curve of a run of ``steps`` steps; the warm-up is the asked share of them, rounded up, one step short of all.

    A share above zero gives at least one step of warm-up unless the run has only one step. The decay of a stable rate
    is a share as well, and never reaches into the warm-up. Each extension has a curve of its own, made in the same way
    for its own steps.
    """
    legs = [Leg(0, training.learning_rate)]
    legs += [leg for leg in known_extensions(training.extensions) if leg.step < steps]
    ends = [*(leg.step for leg in legs[1:]), steps]
    curve: Curve | None = None
    for leg, end in zip(legs, ends, strict=True):
        own = replace(training, learning_rate=leg.rate, schedule=leg.schedule or training.schedule)
        curve = replace(_leg(own, end - leg.step), steps=end, start=leg.step, earlier=curve)
    assert curve is not None, "a run begins once at least"
    return curve


def rate_when_longer(training: TrainingSpec, done: int, steps: int) -> float:
    """The rate of a run's next step after ``done``, had it been planned for ``steps`` steps from the start.

    At least a tenth of the full rate, so that an extension that begins at it learns something.
    """
    planned = _leg(training, steps)
    return max(learning_rate(planned, done), 0.1 * training.learning_rate)


def _leg(training: TrainingSpec, steps: int) -> Curve:
    warmup = min(_share_of(training.warmup, steps), max(0, steps - 1))
    restarts, stable = training.schedule == "cosine_restarts", training.schedule == "warmup_stable_decay"
    return Curve(
        training.schedule,
        training.learning_rate,
        warmup,
        steps,
        max(1, training.cycles) if restarts else 1,
        min(_share_of(training.decay, steps), max(0, steps - warmup)) if stable else 0,
    )


def _share_of(share: float, steps: int) -> int:
    """So many of the steps, rounded up; shares such as 0.07 times 100 come out a hair above what was meant."""
    return math.ceil(round(share * steps, 9)) if 0.0 <= share <= 1.0 else 0


def learning_rate(curve: Curve, step: int) -> float:
    """The rate that the 0-based ``step`` uses; 0 from the end of the run on, except for the constant schedule.

    The warm-up rises as (step + 1)/warmup, so that the first step already learns; transformers' schedules use
    step/warmup, whose first step does nothing. After the warm-up all are transformers' own
    (`get_cosine_schedule_with_warmup`, `get_linear_schedule_with_warmup`,
    `get_cosine_with_hard_restarts_schedule_with_warmup`, and `get_wsd_schedule` with the decay “1-sqrt”, the best of
    those compared in arXiv 2405.18392): they start at the peak and would reach zero one step after the last.

    Raises:
        ValueError: ``step`` is negative.
    """
    if step < 0:
        raise ValueError(f"step {step} is before the start of the run")
    if curve.start:
        if curve.earlier is not None and step < curve.start:
            return learning_rate(curve.earlier, step)
        return learning_rate(_alone(curve), max(0, step - curve.start))
    if step < curve.warmup_steps:
        return curve.peak * ((step + 1) / curve.warmup_steps)
    if curve.kind == "constant":
        return curve.peak
    if curve.kind == "warmup_stable_decay":
        return curve.peak * _decayed(curve, step)
    progress = min(1.0, (step - curve.warmup_steps) / max(1, curve.steps - curve.warmup_steps))
    if curve.kind == "linear":
        return curve.peak * (1.0 - progress)
    if curve.kind == "cosine_restarts" and progress < 1.0:
        progress = (curve.cycles * progress) % 1.0
    return curve.peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def _alone(curve: Curve) -> Curve:
    """The curve of an extension, as if it were a run of its own."""
    return replace(curve, steps=curve.steps - curve.start, start=0, earlier=None)


def _decayed(curve: Curve, step: int) -> float:
    """What is left of a stable rate."""
    begin = curve.steps - curve.decay_steps
    if step < begin:
        return 1.0
    return 1.0 - math.sqrt((step - begin) / curve.decay_steps) if step < curve.steps else 0.0


def curve_points(curve: Curve, count: int = 200) -> tuple[tuple[int, float], ...]:
    """At most ``count`` (and never under three) points (step, rate) for a picture.

    The first step, the last one and the end of the warm-up are always among them, and so are both ends of each jump
    and the beginning of a decay, as far as there is room.
    """
    if curve.steps <= 0:
        return ()
    last = curve.steps - 1
    marks = [0, last, max(0, curve.warmup_steps - 1)]
    corners = _corners(curve)
    if len(marks) + 2 * len(corners) <= count:
        marks += [step for corner in corners for step in (max(0, corner - 1), corner)]
    between = max(0, count - len(marks))
    spread = (round(index * last / (between + 1)) for index in range(1, between + 1))
    return tuple((step, learning_rate(curve, step)) for step in sorted({*marks, *spread}))


def _corners(curve: Curve) -> list[int]:
    """Steps at which the curve has a corner or a jump: the first of each later cycle, extension, and of the decay."""
    if curve.start:
        before = _corners(curve.earlier) if curve.earlier is not None else []
        return [*before, curve.start, *(curve.start + step for step in _corners(_alone(curve)))]
    after = curve.steps - curve.warmup_steps
    starts = [curve.warmup_steps + math.ceil(cycle * after / curve.cycles) for cycle in range(1, curve.cycles)]
    starts += [curve.steps - curve.decay_steps] if curve.decay_steps else []
    return [step for step in starts if step < curve.steps]
