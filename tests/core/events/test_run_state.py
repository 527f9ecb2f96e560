"""RunState is a fold: the same events give the same state, however they arrive."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.run_state import RunState, fold
from core.events.types import (
    Body,
    CheckpointSaved,
    Completed,
    Evaluated,
    Event,
    Failed,
    Heartbeat,
    Hello,
    MemoryMeasured,
    Notice,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Sampled,
    Started,
    Step,
    Stopped,
    Unknown,
)

HELLO = Hello(1, "0.1.0", "train", 4321, "3.11.9")


def started(step: int = 0, steps: int = 10) -> Started:
    return Started(step, steps, 100, 5, 1000, 100_000, "none", "fp32", "sdpa", "chunked", 0, 2048)


def step(number: int, loss: float = 2.0, *, seconds: float = 0.5, memory: int = 1000) -> Step:
    return Step(number, number / 5, loss, 1e-4, 0.5, 100, 40, seconds, memory)


def events(*bodies: Body, start: float = 1000.0, gap: float = 1.0) -> list[Event]:
    return [Event(index, start + index * gap, 0, body) for index, body in enumerate(bodies)]


def test_nothing_has_happened_yet() -> None:
    state = fold([])
    assert state == RunState()
    assert (state.loss, state.validation_loss, state.speed, state.seconds_left, state.seconds) == (
        None, None, None, None, 0.0,
    )  # fmt: skip


def test_a_whole_run() -> None:
    state = fold(
        events(
            HELLO,
            PhaseStarted("load", "Loading the base model."),
            Progress("load", 3, 10, "tensors"),
            PhaseFinished("load", 1.0),
            started(),
            Evaluated(0, 3.0, 500, 0.1),
            Sampled(0, 0, "Hi", "…", 3, 0.1, "base"),
            *(step(n, 3.0 / n, memory=1000 + n % 3) for n in range(1, 6)),
            Evaluated(5, 2.0, 500, 0.1, best=True),
            CheckpointSaved(5, "checkpoints/step-00000005", 99, 0.2, "time"),
            Notice("warning", "slow", "The disk is slow."),
            Sampled(5, 0, "Hi", "Hello", 3, 0.1),
            Completed(5, 12.0, "Done.", {"adapter": "adapter"}),
        )
    )
    assert (state.step, state.steps, state.epoch, state.attempt) == (5, 10, 1.0, 1)
    assert list(state.history.column("loss")) == [3.0, 1.5, 1.0, 0.75, 0.6]
    assert list(state.history.column("step", 2, 4)) == [3.0, 4.0]
    assert state.loss == 0.6
    assert (state.validation_loss, state.best_validation_loss) == (2.0, 2.0)
    assert [item.variant for item in state.samples] == ["base", "tuned"]
    assert state.checkpoints[-1].path == "checkpoints/step-00000005"
    assert state.notices[0].code == "slow"
    assert state.memory_peak == 1002
    assert (state.speed, state.supervised_speed) == (200.0, 80.0)
    assert isinstance(state.ended, Completed)
    assert (state.phases, state.progress, state.seconds_left) == ((), None, None)
    assert state.seconds == 16.0


def test_phases_nest_and_close() -> None:
    state = fold(events(PhaseStarted("train", "Training."), PhaseStarted("evaluate", "Measuring.")))
    assert (state.phase, state.phase_message) == ("evaluate", "Measuring.")
    state = fold(events(PhaseFinished("evaluate", 1.0)), state)
    assert (state.phase, state.phase_message) == ("train", "Training.")
    state = fold(events(PhaseStarted("save", "Saving."), PhaseFinished("train", 1.0)), state)
    assert state.phase is None
    assert fold(events(PhaseFinished("data", 1.0)), state).phase is None


def test_progress_belongs_to_the_phase_that_is_open() -> None:
    state = fold(events(PhaseStarted("data", "Reading."), Progress("data", 1, 2, "rows")))
    assert state.progress == Progress("data", 1, 2, "rows")
    assert fold(events(PhaseFinished("data", 1.0)), state).progress is None


def test_the_remaining_time_counts_what_happens_between_steps() -> None:
    """Ten seconds pass from step to step, of which the step itself takes one."""
    state = fold(events(HELLO, started(steps=14), *(step(n, seconds=1.0) for n in range(1, 5)), gap=10.0))
    assert state.seconds_left == pytest.approx(10 * (30 + 1) / 4)
    assert state.speed == 100.0


def test_the_remaining_time_is_unknown_before_the_first_step_and_without_a_goal() -> None:
    assert fold(events(HELLO, started())).seconds_left is None
    assert fold(events(HELLO, step(1))).seconds_left is None


def test_a_resumed_run_replaces_what_it_does_again() -> None:
    first = events(
        HELLO, started(), *(step(n, 2.0) for n in range(1, 7)), Evaluated(3, 2.5, 9, 1.0), Evaluated(6, 2.4, 9, 1.0),
        CheckpointSaved(4, "a", 1, 1.0, "time"), CheckpointSaved(6, "b", 1, 1.0, "time"),
        Sampled(0, 0, "p", "base", 1, 1.0, "base"), Sampled(3, 0, "p", "x", 1, 1.0), Sampled(6, 0, "p", "y", 1, 1.0),
        Stopped(6, "stop", True),
    )  # fmt: skip
    again = events(HELLO, started(step=4), step(5, 1.0), step(6, 1.1), Evaluated(6, 1.9, 9, 1.0), start=9000.0)
    before = fold(first)
    state = fold(again, before)
    assert (state.step, state.attempt, state.ended) == (6, 2, None)
    assert list(state.history.column("loss")) == [2.0, 2.0, 2.0, 2.0, 1.0, 1.1]
    assert list(state.history.column("step")) == [1, 2, 3, 4, 5, 6]
    assert [(item.step, item.loss) for item in state.evaluations] == [(3, 2.5), (6, 1.9)]
    assert [item.path for item in state.checkpoints] == ["a"]
    assert [item.text for item in state.samples] == ["base", "x"]
    assert state.attempt_row == 4
    assert state.seconds == (len(first) - 1) + (len(again) - 1)
    # The older state is a value of its own: it did not change.
    assert list(before.history.column("loss")) == [2.0] * 6
    assert isinstance(before.ended, Stopped)


def test_repeated_steps_without_a_word_of_resuming_replace_as_well() -> None:
    state = fold(events(step(1), step(2), step(3), step(2, 1.0), Evaluated(2, 5.0, 1, 1.0), Evaluated(2, 4.0, 1, 1.0)))
    assert list(state.history.column("step")) == [1, 2]
    assert state.loss == 1.0
    assert [item.loss for item in state.evaluations] == [4.0]


def test_an_answer_given_again_replaces_the_first() -> None:
    answers = [Sampled(2, 0, "p", "old", 1, 1.0), Sampled(2, 1, "q", "old", 1, 1.0), Sampled(2, 0, "p", "new", 1, 1.0)]
    assert [item.text for item in fold(events(*answers)).samples] == ["new"]


def test_two_states_may_grow_from_one() -> None:
    root = fold(events(step(1), step(2)))
    left = root.apply(Event(9, 5000.0, 0, step(3, 1.0)))
    right = root.apply(Event(9, 5000.0, 0, step(3, 9.0)))
    assert (left.loss, right.loss, root.loss) == (1.0, 9.0, 2.0)
    assert list(left.history.column("loss")) == [2.0, 2.0, 1.0]


def test_skipped_steps_keep_their_nan() -> None:
    state = fold(events(step(1, math.nan), Evaluated(1, math.nan, 1, 1.0), Evaluated(2, 3.0, 1, 1.0)))
    assert state.loss is not None
    assert math.isnan(state.loss)
    assert state.best_validation_loss == 3.0


def test_failures_heartbeats_and_strangers() -> None:
    failed = Failed("out_of_memory", "Memory ran out.", "Use a shorter row.", step=3)
    state = fold(events(HELLO, Heartbeat(42.0), Unknown("later", {}), failed))
    assert (state.ended, state.step, state.idle_seconds) == (failed, 3, 42.0)
    assert [item.type for item in state.unknown] == ["later"]


def test_the_newest_measurement_of_memory_counts() -> None:
    first = MemoryMeasured(3, "AMD EPYC", 1000, 900, {"step": 900})
    last = MemoryMeasured(9, "AMD EPYC", 1000, 1100, {"step": 1000, "evaluation": 1100})
    assert fold(events(HELLO, started())).memory is None
    assert fold(events(HELLO, started(), first, step(4))).memory == first
    assert fold(events(HELLO, started(), first, step(9), last, HELLO, started(step=9))).memory == last


def test_clocks_never_run_backwards() -> None:
    state = fold([Event(0, 1000.0, 0, HELLO), Event(1, 900.0, 0, Heartbeat(0.0))])
    assert (state.first_time, state.last_time, state.seconds) == (1000.0, 1000.0, 0.0)


BODIES: Sequence[Body] = (
    HELLO, started(), started(step=2), step(1), step(2, 1.0), step(3, 0.5), Evaluated(2, 1.0, 1, 1.0),
    CheckpointSaved(2, "c", 1, 1.0, "time"), Sampled(1, 0, "p", "t", 1, 1.0), Notice("info", "a", "b"),
    MemoryMeasured(2, "d", 2, 1, {"step": 1}),
    PhaseStarted("train", "Training."), PhaseFinished("train", 1.0), Heartbeat(2.0), Stopped(3, "stop", True),
)  # fmt: skip


@given(bodies=st.lists(st.sampled_from(BODIES)), cut=st.integers(0, 60))
def test_one_by_one_and_all_at_once_are_the_same(bodies: list[Body], cut: int) -> None:
    log = events(*bodies)
    at_once = fold(log)
    one_by_one = RunState()
    for event in log:
        one_by_one = one_by_one.apply(event)
    assert at_once == one_by_one == fold(log[cut:], fold(log[:cut]))
    steps = list(at_once.history.column("step"))
    assert steps == sorted(set(steps))


def test_a_long_run_folds_without_copying_its_history() -> None:
    state = fold(events(HELLO, started(steps=60_000)))
    for number in range(1, 60_001):
        state = state.apply(Event(number, 1000.0 + number, 0, step(number)))
    assert len(state.history) == 60_000
