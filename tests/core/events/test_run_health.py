"""Health notes say what a curve shows, and stay silent about what noise could have drawn."""

import math
import random
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events.health import Note, health, warmup_rows
from core.events.run_state import RunState, fold
from core.events.trend import blocks, trend
from core.events.types import (
    Body,
    Completed,
    Evaluated,
    Event,
    Heartbeat,
    Hello,
    PhaseFinished,
    PhaseStarted,
    Started,
    Step,
)
from core.units import GIB

HELLO = Hello(1, "0.1.0", "train", 4321, "3.11.9")
WARMUP = 5


def started(steps: int, dtype: str = "bf16") -> Started:
    return Started(0, steps, 1000, 50, 1000, 100_000, "none", dtype, "sdpa", "chunked", 0, 2048)


def rate(number: int) -> float:
    return 1e-4 * min(1.0, number / WARMUP) * (1 if number <= WARMUP else math.exp(-0.001 * (number - WARMUP)))


def steps(losses: Sequence[float], **columns: Callable[[int], float]) -> list[Body]:
    def value(name: str, number: int, usual: float) -> float:
        return columns[name](number) if name in columns else usual

    return [
        Step(
            step=number,
            epoch=number / 100,
            loss=loss,
            learning_rate=rate(number),
            grad_norm=value("norm", number, 0.6),
            tokens=round(value("tokens", number, 1000)),
            supervised_tokens=400,
            seconds=value("seconds", number, 0.5),
            memory_bytes=round(value("memory", number, GIB)),
            applied=bool(value("applied", number, math.isfinite(loss))),
        )
        for number, loss in enumerate(losses, 1)
    ]


def state_of(*bodies: Body, planned: int = 0, dtype: str = "bf16", bare: bool = False) -> RunState:
    opening = [] if bare else [HELLO, started(planned or len(bodies), dtype)]
    return fold(Event(number, 1000.0 + number, 0, body) for number, body in enumerate([*opening, *bodies]))


def noisy(level: Callable[[int], float], count: int, *, noise: float = 0.25, seed: int = 0) -> list[float]:
    source = random.Random(seed)
    return [max(0.01, level(number) + source.gauss(0, noise)) for number in range(count)]


def falling(number: int) -> float:
    return 1.8 + 1.4 * math.exp(-number / 60)


def codes(state: RunState, **about: float) -> list[str]:
    return [note.code for note in health(state, **about)]  # type: ignore[arg-type]


def loss_codes(losses: Sequence[float], planned: int = 0) -> set[str]:
    return {code for code in codes(state_of(*steps(losses), planned=planned)) if code.startswith("loss")}


# ---------------------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("count", [60, 100, 200])
def test_a_falling_loss_is_seen_through_the_noise(count: int) -> None:
    seen = [loss_codes(noisy(falling, count, seed=seed)) for seed in range(40)]
    assert sum(found == {"loss_falling"} for found in seen) >= 38
    (note,) = health(state_of(*steps(noisy(falling, count))))
    assert note.level == "good"
    assert "% less" in note.message


def test_a_loss_that_fell_long_ago_has_settled() -> None:
    seen = [loss_codes(noisy(falling, 5000, seed=seed)) for seed in range(40)]
    assert sum(found == {"loss_settled"} for found in seen) >= 38


@pytest.mark.parametrize(("count", "noise"), [(60, 0.2), (300, 0.2), (300, 0.8), (4000, 0.5)])
def test_noise_alone_is_never_called_a_movement(count: int, noise: float) -> None:
    seen = [loss_codes(noisy(lambda _: 2.5, count, noise=noise, seed=seed)) for seed in range(100)]
    assert sum(bool(found - {"loss_flat"}) for found in seen) <= 2


def test_a_flat_loss_is_called_flat_once_that_is_certain() -> None:
    seen = [loss_codes(noisy(lambda _: 2.5, 800, noise=0.15, seed=seed)) for seed in range(30)]
    assert sum(found == {"loss_flat"} for found in seen) >= 24
    assert loss_codes(noisy(lambda _: 2.5, 30, noise=0.1)) == set()
    assert loss_codes(noisy(lambda _: 2.5, 100, noise=0.02), planned=10_000) == set()
    assert loss_codes(noisy(lambda _: 2.5, 60, noise=1.5)) == set()


def test_a_slow_fall_is_called_slow() -> None:
    assert loss_codes(noisy(lambda n: 2.5 - 0.09 * n / 2000, 2000, noise=0.05)) == {"loss_slow"}


def test_a_rising_loss_is_bad_news() -> None:
    losses = noisy(lambda n: 2.0 + 2.0 * n / 200, 200)
    (note,) = health(state_of(*steps(losses)))
    assert (note.level, note.code) == ("bad", "loss_diverging")
    assert "learning rate" in note.advice


def test_a_loss_that_turns_is_noticed_before_it_is_back_at_the_start() -> None:
    losses = noisy(lambda n: 3.0 - n / 100 if n < 150 else 1.5 + (n - 150) / 200, 300, noise=0.05)
    assert loss_codes(losses) == {"loss_rising"}


def test_wild_values_do_not_move_the_verdict() -> None:
    losses = noisy(falling, 300)
    for spike in (40, 170, 250, 295):
        losses[spike] = 60.0
    assert loss_codes(losses) == {"loss_falling"}


def test_a_loss_of_zero_is_an_alarm() -> None:
    (note,) = health(state_of(*steps([2.0, 1.0, 0.0, 0.0, 0.0])))
    assert (note.level, note.code) == ("bad", "loss_zero")


def test_the_warm_up_is_no_time_for_a_verdict() -> None:
    assert codes(state_of(*steps([2.0] * (WARMUP - 1)), planned=200)) == ["warming_up"]
    assert codes(state_of(*steps([2.0] * (WARMUP + 3)), planned=200)) == ["too_early"]
    assert codes(state_of(*steps([2.0]), planned=200)) == ["too_early"]


@pytest.mark.parametrize("count", range(1, 12))
def test_the_warm_up_is_found_in_the_learning_rate(count: int) -> None:
    found = warmup_rows(state_of(*steps([2.0] * count)))
    assert found == (0 if count == 1 else count if count <= WARMUP else WARMUP - 1)


# ------------------------------------------------------------------------------------------- gradients and bad numbers


def test_steps_in_a_row_that_are_not_finite_are_bad() -> None:
    state = state_of(*steps([2.0] * 20 + [math.nan] * 3))
    assert health(state)[0].code == "not_finite"
    assert "3 steps" in health(state)[0].message
    assert "skipped_steps" in codes(state_of(*steps([2.0] * 20 + [math.nan] + [2.0] * 5)))


def test_float16_may_skip_a_few_steps() -> None:
    losses = [2.0, math.inf, math.inf, *noisy(falling, 200)]
    assert "scale_skips" in codes(state_of(*steps(losses), dtype="fp16"))
    assert "skipped_steps" in codes(state_of(*steps(losses), dtype="bf16"))
    often = [math.nan if number % 3 == 0 else loss for number, loss in enumerate(noisy(falling, 200))]
    assert "skipped_steps" in codes(state_of(*steps(often), dtype="fp16"))


def test_gradients_that_are_zero_or_explode_or_are_always_cut() -> None:
    losses = noisy(falling, 200)
    assert codes(state_of(*steps(losses, norm=lambda _: 0.0)))[0] == "gradients_zero"
    assert "gradients_exploding" in codes(state_of(*steps(losses, norm=lambda _: 300.0)))
    assert "gradients_exploding" in codes(state_of(*steps(losses, norm=lambda n: 0.5 if n < 170 else 9.0)))
    long = state_of(*steps(losses, norm=lambda _: 4.0))
    assert "always_clipped" in codes(long, max_grad_norm=1.0)
    assert codes(long) == ["loss_falling"]
    assert codes(state_of(*steps(losses)), max_grad_norm=1.0) == ["loss_falling"]


# --------------------------------------------------------------------------------------------------------- validation


def measured(pairs: Sequence[tuple[int, float]]) -> list[Body]:
    return [Evaluated(step, loss, 1000, 1.0) for step, loss in pairs]


def with_evaluations(losses: Sequence[float], pairs: Sequence[tuple[int, float]]) -> RunState:
    """Steps and evaluations as they really follow each other."""
    taken = steps(losses)
    bodies: list[Body] = []
    due = list(measured(pairs))
    for number in range(len(taken) + 1):
        bodies += [taken[number - 1]] if number else []
        bodies += [body for body in due if isinstance(body, Evaluated) and body.step == number]
    return state_of(*bodies, planned=len(taken))


def test_overfitting_is_seen_with_its_best_step() -> None:
    losses = noisy(lambda n: 2.5 * math.exp(-n / 150) + 0.2, 300, noise=0.05)
    state = with_evaluations(losses, [(0, 2.6), (60, 2.0), (120, 1.9), (180, 2.0), (240, 2.2), (300, 2.5)])
    notes = {note.code: note for note in health(state)}
    assert notes["overfitting"].level == "warning"
    assert "since step 120" in notes["overfitting"].message
    assert "1.9" in notes["overfitting"].message
    assert "2.5" in notes["overfitting"].message


def test_validation_that_wavers_is_not_overfitting() -> None:
    losses = noisy(falling, 300)
    assert not {"overfitting", "validation_rising"} & set(
        codes(with_evaluations(losses, [(0, 2.6), (60, 2.0), (120, 1.90), (180, 1.91), (240, 1.905)]))
    )
    assert "overfitting" not in codes(with_evaluations(losses, [(0, 2.6), (60, 2.0), (120, 1.90), (180, 2.0)]))


def test_validation_at_its_best_is_good_news() -> None:
    state = with_evaluations(noisy(falling, 300), [(0, 3.3), (100, 2.4), (200, 2.0), (300, 1.9)])
    assert codes(state) == ["validation_falling", "loss_falling"]


def test_validation_that_only_got_worse() -> None:
    state = with_evaluations(noisy(lambda _: 2.5, 300), [(0, 2.0), (100, 2.4), (200, 2.6)])
    assert "validation_worse" in codes(state)
    assert "validation_not_finite" in codes(with_evaluations([2.0] * 10, [(0, 2.0), (10, math.nan)]))


def test_a_gap_that_grew_is_told_from_one_that_was_there() -> None:
    losses = noisy(lambda n: 2.5 * math.exp(-n / 100) + 0.2, 300, noise=0.05)
    assert "validation_far" in codes(with_evaluations(losses, [(0, 2.7), (150, 2.2), (300, 2.19)]))
    flat = noisy(lambda n: 1.0, 300, noise=0.05)
    assert "validation_differs" in codes(with_evaluations(flat, [(0, 3.0), (300, 2.99)]))


# ------------------------------------------------------------------------------------------ speed, memory and silence


def test_a_run_that_slows_down() -> None:
    losses = noisy(falling, 300)
    assert "slower" in codes(state_of(*steps(losses, seconds=lambda n: 0.5 if n < 200 else 2.0), planned=400))
    longer = {"tokens": lambda n: 1000 if n < 200 else 4000, "seconds": lambda n: 0.5 if n < 200 else 2.0}
    assert "slower" not in codes(state_of(*steps(losses, **longer), planned=400))


def test_memory_that_runs_out() -> None:
    losses = noisy(falling, 300)
    full = state_of(*steps(losses, memory=lambda _: 9.5 * GIB), planned=400)
    assert "memory_tight" in codes(full, memory_limit=10 * GIB)
    assert "memory_tight" not in codes(full, memory_limit=20 * GIB)
    assert codes(full) == ["loss_falling"]
    spilled = codes(full, memory_limit=9 * GIB)
    assert "memory_spilled" in spilled
    assert "memory_tight" not in spilled
    growing = state_of(*steps(losses, memory=lambda n: GIB * (2 + n / 100)), planned=2000)
    assert "memory_growing" in codes(growing, memory_limit=10 * GIB)
    settled = state_of(*steps(losses, memory=lambda n: GIB * min(3, 2 + n / 20)), planned=2000)
    assert "memory_growing" not in codes(settled, memory_limit=10 * GIB)


def test_a_silent_engine_while_it_should_speak() -> None:
    running = state_of(*steps(noisy(falling, 50)), planned=100)
    assert "silent" in codes(running, idle_seconds=300)
    assert "silent" not in codes(running, idle_seconds=60)
    assert "silent" in codes(fold([Event(99, 2000.0, 0, Heartbeat(400.0))], running))
    slow = state_of(*steps(noisy(falling, 50), seconds=lambda _: 60.0), planned=100)
    assert "silent" not in codes(slow, idle_seconds=300)
    loading = state_of(HELLO, PhaseStarted("load", "Loading"), bare=True)
    assert codes(loading, idle_seconds=300) == []
    assert codes(loading, idle_seconds=900) == ["silent"]
    saved = (PhaseStarted("save", "Saving"), PhaseFinished("save", 1.0))
    saving = fold([Event(100 + number, 2000.0, 0, body) for number, body in enumerate(saved)], running)
    assert "silent" in codes(saving, idle_seconds=300)


def test_a_finished_run_is_only_judged_by_its_curve() -> None:
    bodies = [*steps(noisy(falling, 50, seed=1)), Completed(50, 100.0, "Done.", {})]
    assert codes(state_of(*bodies), idle_seconds=1e6, memory_limit=GIB) == ["loss_falling"]
    assert codes(state_of(*steps([2.0, 1.9]), Completed(2, 1.0, "Done.", {}))) == []


# ------------------------------------------------------------------------------------------------------- any history


def test_nothing_is_said_about_nothing() -> None:
    assert health(RunState()) == ()
    assert health(state_of(HELLO, bare=True)) == ()


WILD = st.one_of(st.floats(), st.floats(0, 10), st.sampled_from([0.0, math.nan, math.inf, -math.inf, 1e308, 1e-308]))


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 300), WILD, WILD, WILD, WILD, st.booleans()), max_size=150),
    evaluations=st.lists(st.tuples(st.integers(0, 300), WILD), max_size=8),
    count=st.integers(0, 10**12),
    about=st.tuples(WILD, st.integers(-5, 10**13), WILD),
    planned=st.integers(-1, 1000),
)
def test_no_history_makes_it_stumble(
    rows: list[tuple[int, float, float, float, float, bool]],
    evaluations: list[tuple[int, float]],
    count: int,
    about: tuple[float, int, float],
    planned: int,
) -> None:
    bodies: list[Body] = [started(planned)]
    for number, loss, learning, norm, seconds, applied in rows:
        bodies.append(Step(number, 0.1, loss, learning, norm, count, 40, seconds, count, 1, applied))
    bodies += measured(evaluations)
    for opening in ([HELLO], []):
        state = state_of(*opening, *bodies, bare=True)
        found = health(state, max_grad_norm=about[0], memory_limit=about[1], idle_seconds=about[2])
        assert all(isinstance(note, Note) and note.message.endswith(".") for note in found)
        assert len({note.code for note in found}) == len(found)


def test_a_million_steps_cost_no_more_than_thousands() -> None:
    state = state_of(*steps(noisy(falling, 200_000)))
    health(state)
    began = time.process_time()
    for _ in range(10):
        health(state, max_grad_norm=1.0, memory_limit=4 * GIB)
    assert (time.process_time() - began) / 10 < 0.05
    assert len(blocks(state.history, "loss")) == 60


def test_a_trend_needs_enough_to_stand_on() -> None:
    assert trend(state_of(*steps([1.0] * 9)).history, "loss") is None
    found = trend(state_of(*steps([float(number) for number in range(60)])).history, "loss")
    assert found is not None
    assert found.levels.error == 0
    assert found.fall == pytest.approx(-48)
    assert (found.whole.change, found.half.change) == pytest.approx((59, 29))
