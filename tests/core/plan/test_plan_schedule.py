"""The learning-rate curve: bounds, shape, and agreement with transformers' formulas where they coincide."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.plan.schedule import curve_of, curve_points, learning_rate, rate_when_longer
from core.plan.types import Curve
from core.spec.extensions import Leg, with_extension
from core.spec.sections import TrainingSpec

KINDS = ("cosine", "linear", "constant", "cosine_restarts", "warmup_stable_decay")
curves = st.builds(
    lambda kind, peak, steps, share, cycles, decay: curve_of(
        TrainingSpec(schedule=kind, learning_rate=peak, warmup=share, cycles=cycles, decay=decay), steps
    ),
    st.sampled_from(KINDS),
    st.floats(1e-7, 1.0),
    st.integers(1, 5000),
    st.floats(0.0, 1.0),
    st.integers(1, 12),
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
def test_it_rises_to_the_peak_and_never_rises_again_but_by_a_restart(curve: Curve) -> None:
    steps = sorted({0, 1, curve.warmup_steps - 1, curve.warmup_steps, curve.steps // 2, curve.steps - 1, curve.steps})
    rates = [(step, learning_rate(curve, step)) for step in steps if step >= 0]
    rising = [rate for step, rate in rates if step < curve.warmup_steps]
    falling = [rate for step, rate in rates if step >= curve.warmup_steps]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True) or curve.cycles > 1
    assert learning_rate(curve, curve.warmup_steps) == curve.peak
    if curve.warmup_steps:
        assert learning_rate(curve, curve.warmup_steps - 1) == curve.peak


@pytest.mark.torch
@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize(
    ("curve", "name", "options"),
    [
        (Curve("constant", 3e-4, 0, 100), "constant_with_warmup", {}),
        (Curve("linear", 3e-4, 0, 100), "linear", {"num_training_steps": 100}),
        (Curve("cosine", 3e-4, 0, 100), "cosine", {"num_training_steps": 100}),
        (
            Curve("cosine_restarts", 3e-4, 0, 100, cycles=3),
            "cosine_with_restarts",
            {"num_training_steps": 100, "scheduler_specific_kwargs": {"num_cycles": 3}},
        ),
        (
            Curve("warmup_stable_decay", 3e-4, 0, 100, decay_steps=20),
            "warmup_stable_decay",
            {"num_training_steps": 100, "scheduler_specific_kwargs": {"num_decay_steps": 20, "decay_type": "1-sqrt"}},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_step_is_transformers_own(curve: Curve, name: str, options: dict[str, object], warmup: int) -> None:
    """transformers' schedulers are stepped beside ours; in the warm-up ours is one step ahead of theirs."""
    import torch
    from transformers import get_scheduler

    curve = dataclasses.replace(curve, warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=curve.peak)
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, **options)
    rates = []
    for _ in range(curve.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    for step in range(curve.steps):
        expected = rates[step + 1 if step < warmup else step]
        assert learning_rate(curve, step) == pytest.approx(expected, rel=1e-12), step


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


def test_the_picture_shows_each_jump_and_the_beginning_of_a_decay() -> None:
    restarts = curve_of(TrainingSpec(schedule="cosine_restarts", cycles=4, warmup=0.1), 1000)
    points = dict(curve_points(restarts, 50))
    for start in (325, 550, 775):
        assert points[start] == restarts.peak
        assert points[start - 1] < 0.001 * restarts.peak
    stable = curve_of(TrainingSpec(schedule="warmup_stable_decay", decay=0.137), 1000)
    points = dict(curve_points(stable, 20))
    assert points[863] == stable.peak
    assert {step for step, rate in points.items() if rate == stable.peak} >= {49, 863}


@pytest.mark.parametrize(
    ("decay", "warmup", "steps", "decayed"), [(0.2, 0.05, 100, 20), (1.0, 0.1, 100, 90), (0.0, 0.0, 10, 0)]
)
def test_decay_steps(decay: float, warmup: float, steps: int, decayed: int) -> None:
    training = TrainingSpec(schedule="warmup_stable_decay", decay=decay, warmup=warmup)
    assert curve_of(training, steps).decay_steps == decayed


def test_a_run_without_steps_has_no_picture() -> None:
    assert curve_points(Curve("cosine", 1.0, 0, 0)) == ()


# --- extensions


def extended(*extensions: str, **settings: object) -> TrainingSpec:
    return TrainingSpec(learning_rate=1.0, warmup=0.0, extensions=extensions, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", KINDS)
def test_an_extended_run_has_the_same_past_and_a_curve_of_its_own_after_it(schedule: str) -> None:
    whole = curve_of(extended(schedule=schedule), 100)
    longer = curve_of(extended("100: 0.25", schedule=schedule), 160)
    alone = curve_of(dataclasses.replace(extended(schedule=schedule), learning_rate=0.25), 60)
    assert [learning_rate(longer, step) for step in range(100)] == [learning_rate(whole, step) for step in range(100)]
    assert [learning_rate(longer, step) for step in range(100, 170)] == [
        learning_rate(alone, step) for step in range(70)
    ]
    assert (longer.start, longer.steps, longer.highest) == (100, 160, 1.0)


def test_a_run_can_be_extended_twice() -> None:
    curve = curve_of(extended("100: 0.5", "150: 0.2", schedule="linear"), 200)
    assert [learning_rate(curve, step) for step in (0, 50, 100, 125, 150, 175, 200)] == pytest.approx(
        [1.0, 0.5, 0.5, 0.25, 0.2, 0.1, 0.0]
    )
    points = dict(curve_points(curve, 40))
    assert {0, 99, 100, 149, 150, 199} <= set(points)


def test_an_extension_that_is_not_reached_changes_nothing() -> None:
    assert curve_of(extended("100: 0.5"), 100) == curve_of(extended(), 100)


def test_an_extension_goes_on_at_the_rate_of_a_run_planned_so_long() -> None:
    assert rate_when_longer(extended(schedule="cosine"), 100, 200) == pytest.approx(0.5)
    assert rate_when_longer(extended(schedule="constant"), 100, 200) == 1.0
    assert rate_when_longer(extended(schedule="linear"), 190, 200) == pytest.approx(0.1)
    assert rate_when_longer(extended(schedule="linear"), 199, 200) == pytest.approx(0.1)


def test_extensions_are_written_as_they_are_read() -> None:
    once = with_extension((), Leg(100, 1e-4))
    assert once == ("100: 0.0001",)
    assert with_extension(once, Leg(150, 0.5, "linear")) == ("100: 0.0001", "150: 0.5 linear")
    assert with_extension(("100: 0.1", "150: 0.5"), Leg(100, 0.2)) == ("100: 0.2",)


def test_an_extension_may_have_a_schedule_of_its_own() -> None:
    curve = curve_of(extended("100: 0.5 linear", schedule="cosine"), 200)
    assert [learning_rate(curve, step) for step in (50, 100, 150)] == pytest.approx([0.5, 0.5, 0.25])
