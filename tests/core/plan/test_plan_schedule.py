"""The learning-rate curve: bounds, shape, and agreement with transformers' formulas where they coincide."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.plan.schedule import curve_of, curve_points, learning_rate
from core.plan.types import Curve
from core.spec.sections import TrainingSpec

curves = st.builds(
    lambda kind, peak, steps, share: Curve(kind, peak, min(int(share * steps), steps - 1), steps),
    st.sampled_from(["cosine", "linear", "constant"]),
    st.floats(1e-7, 1.0),
    st.integers(1, 5000),
    st.floats(0.0, 1.0),
)


@settings(deadline=None)
@given(curves, st.integers(0, 6000))
def test_the_rate_stays_between_zero_and_the_peak(curve: Curve, step: int) -> None:
    rate = learning_rate(curve, step)
    assert 0.0 <= rate <= curve.peak
    if step < curve.steps:
        assert rate > 0.0


@settings(deadline=None)
@given(curves)
def test_it_rises_to_the_peak_and_never_rises_again(curve: Curve) -> None:
    steps = sorted({0, 1, curve.warmup_steps - 1, curve.warmup_steps, curve.steps // 2, curve.steps - 1, curve.steps})
    rates = [(step, learning_rate(curve, step)) for step in steps if step >= 0]
    rising = [rate for step, rate in rates if step < curve.warmup_steps]
    falling = [rate for step, rate in rates if step >= curve.warmup_steps]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert learning_rate(curve, curve.warmup_steps) == curve.peak
    if curve.warmup_steps:
        assert learning_rate(curve, curve.warmup_steps - 1) == curve.peak


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_after_the_warmup_it_is_transformers_own_formula(kind: str, warmup: int) -> None:
    """Formulas of transformers' get_cosine_schedule_with_warmup and get_linear_schedule_with_warmup."""
    steps, peak = 100, 3e-4
    curve = Curve(kind, peak, warmup, steps)  # type: ignore[arg-type]
    for step in range(warmup, steps):
        progress = (step - warmup) / max(1, steps - warmup)
        cosine = max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * progress)))
        linear = max(0.0, (steps - step) / max(1, steps - warmup))
        assert learning_rate(curve, step) == pytest.approx(peak * (cosine if kind == "cosine" else linear))
    for step in range(warmup):
        # Theirs is step/warmup, so that the first step learns nothing; ours is one step ahead.
        assert learning_rate(curve, step) == pytest.approx(peak * (step + 1) / warmup)


def test_first_step_learns_and_the_end_is_zero() -> None:
    curve = Curve("cosine", 1.0, 10, 100)
    assert learning_rate(curve, 0) == pytest.approx(0.1)
    assert learning_rate(curve, 100) == 0.0
    assert learning_rate(curve, 5000) == 0.0
    assert learning_rate(Curve("constant", 1.0, 10, 100), 5000) == 1.0
    with pytest.raises(ValueError, match="before the start"):
        learning_rate(curve, -1)


@pytest.mark.parametrize(
    ("share", "steps", "warmup"),
    [(0.05, 100, 5), (0.07, 100, 7), (0.05, 10, 1), (0.05, 1, 0), (0.5, 3, 2), (0.0, 100, 0), (0.03, 0, 0)],
)
def test_warmup_steps(share: float, steps: int, warmup: int) -> None:
    assert curve_of(TrainingSpec(warmup=share), steps).warmup_steps == warmup


@settings(deadline=None)
@given(curves, st.integers(3, 400))
def test_points_for_a_picture(curve: Curve, count: int) -> None:
    points = curve_points(curve, count)
    steps = [step for step, _ in points]
    assert 1 <= len(points) <= count
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] == curve.steps - 1
    assert max(0, curve.warmup_steps - 1) in steps
    assert all(rate == learning_rate(curve, step) for step, rate in points)


def test_a_run_without_steps_has_no_picture() -> None:
    assert curve_points(Curve("cosine", 1.0, 0, 0)) == ()
