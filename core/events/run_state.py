"""What a run looks like now: a pure fold over its events. Pages, commands and charts hold no other state of a run."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from core.events.history import Column, Log, StepTable
from core.events.types import (
    ChatAnswer,
    ChatPiece,
    ChatReady,
    ChatVoice,
    CheckpointSaved,
    Completed,
    Evaluated,
    Event,
    Failed,
    Heartbeat,
    Hello,
    MemoryMeasured,
    Notice,
    Phase,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Sampled,
    Started,
    Step,
    Stopped,
    Unknown,
)

SPEED_STEPS = 20
"""How many steps the shown speed is averaged over."""
REMAINING_STEPS = 200
"""How many steps the remaining time is judged by; more than `SPEED_STEPS`, so that evaluations even out."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A run (or short job) as told by its events so far. Every change makes a new one.

    A resumed run appends to the same log: its `Hello` begins another attempt, and what it does again replaces what an
    earlier attempt did after the saved state.

    Attributes:
        hello: who answers; None before the first event.
        attempt: how many engine processes have worked on this run.
        phases: the phases that are open, outermost first, with their sentences.
        progress: how far the current phase is, where that is known.
        started: what is really in use, as the engine observed it.
        step: optimizer steps done; `steps`: how many there will be, 0 while unknown.
        history: every step's numbers, by column.
        memory_peak: the highest peak of any step, in bytes.
        memory: the newest measurement of memory beside the plan's prediction.
        ended: the terminal event of the current attempt.
        idle_seconds: age of the last real progress according to the last heartbeat.
        first_time, last_time: Unix time of the first and the newest event.
        attempt_time, attempt_row: when the current attempt began, and the first row of `history` that is its own.
        earlier_seconds: how long the attempts before it took together.
    """

    hello: Hello | None = None
    attempt: int = 0
    phases: tuple[PhaseStarted, ...] = ()
    progress: Progress | None = None
    started: Started | None = None
    step: int = 0
    steps: int = 0
    epoch: float = 0.0
    history: StepTable = field(default_factory=StepTable)
    evaluations: Log[Evaluated] = field(default_factory=Log)
    samples: Log[Sampled] = field(default_factory=Log)
    checkpoints: Log[CheckpointSaved] = field(default_factory=Log)
    notices: Log[Notice] = field(default_factory=Log)
    unknown: Log[Unknown] = field(default_factory=Log)
    memory_peak: int = 0
    memory: MemoryMeasured | None = None
    ended: Stopped | Failed | Completed | None = None
    idle_seconds: float = 0.0
    first_time: float = 0.0
    last_time: float = 0.0
    attempt_time: float = 0.0
    attempt_row: int = 0
    earlier_seconds: float = 0.0

    def apply(self, event: Event) -> "RunState":
        """The state after one more event."""
        return fold((event,), self)

    @property
    def phase(self) -> Phase | None:
        """The innermost open phase."""
        return self.phases[-1].phase if self.phases else None

    @property
    def phase_message(self) -> str:
        """What the innermost open phase says about itself; empty outside of any."""
        return self.phases[-1].message if self.phases else ""

    @property
    def loss(self) -> float | None:
        """Training loss of the newest step."""
        return self.history.last("loss") if len(self.history) else None

    @property
    def preferred(self) -> float | None:
        """Of the newest step's pairs, the share whose chosen answer is preferred; None for other rows."""
        return self._told("preferred")

    @property
    def margin(self) -> float | None:
        """By how much on average; None for other rows."""
        return self._told("margin")

    @property
    def validation_loss(self) -> float | None:
        """The newest validation loss."""
        return self.evaluations[-1].loss if self.evaluations else None

    @property
    def best_validation_loss(self) -> float | None:
        """The lowest validation loss that is a number."""
        return min((item.loss for item in self.evaluations if item.loss == item.loss), default=None)

    @property
    def seconds(self) -> float:
        """How long engines have worked on this run; pauses between attempts do not count."""
        return self.earlier_seconds + max(0.0, self.last_time - self.attempt_time)

    @property
    def speed(self) -> float | None:
        """Tokens a second over the newest steps of this attempt, prompts included."""
        return self._rate("tokens")

    @property
    def supervised_speed(self) -> float | None:
        """Tokens a second that carry loss, over the newest steps of this attempt."""
        return self._rate("supervised_tokens")

    @property
    def seconds_left(self) -> float | None:
        """Time until the last step at the pace of the newest ones, evaluations and saves included; None if unknown."""
        if self.ended is not None or self.steps <= 0:
            return None
        start = max(self.attempt_row, len(self.history) - REMAINING_STEPS)
        times = self.history.column("time", start)
        if not times:
            return None
        first_seconds = self.history.column("seconds", start, start + 1)[0]
        pace = max(0.0, times[-1] - times[0] + first_seconds) / len(times)
        return pace * max(0, self.steps - self.step)

    def _told(self, column: Column) -> float | None:
        value = self.history.last(column) if len(self.history) else math.nan
        return None if math.isnan(value) else value

    def _rate(self, column: Any) -> float | None:
        start = max(self.attempt_row, len(self.history) - SPEED_STEPS)
        seconds = sum(self.history.column("seconds", start))
        return sum(self.history.column(column, start)) / seconds if seconds > 0 else None


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state after all ``events``, in order, starting from ``state`` or from nothing.

    Steps that follow each other are taken together, so that a million of them take seconds.
    """
    state = state or RunState()
    for cls, group in groupby(events, key=lambda event: type(event.body)):
        if cls is Step:
            state = _steps(state, list(group))
            continue
        for event in group:
            state = _clocked(_HANDLERS[cls](state, event.body), event.time, event.time)
    return state


def _clocked(state: RunState, first: float, last: float) -> RunState:
    """The state with its clocks set to events between two Unix times; they never run backwards."""
    return replace(
        state,
        first_time=state.first_time or first,
        last_time=max(state.last_time, last),
        attempt_time=state.attempt_time or first,
    )


def _steps(state: RunState, events: list[Event]) -> RunState:
    steps = [event.body for event in events if isinstance(event.body, Step)]
    history = state.history.extend((event.time, step) for event, step in zip(events, steps, strict=True))
    moved = replace(
        state,
        history=history,
        attempt_row=min(state.attempt_row, len(history.before(min(step.step for step in steps)))),
        step=steps[-1].step,
        epoch=steps[-1].epoch,
        memory_peak=max(state.memory_peak, *(step.memory_bytes for step in steps)),
        idle_seconds=0.0,
    )
    return _clocked(moved, events[0].time, max(event.time for event in events))


def _hello(state: RunState, hello: Hello) -> RunState:
    return replace(
        state,
        hello=hello,
        attempt=state.attempt + 1,
        earlier_seconds=state.seconds,
        attempt_time=0.0,
        attempt_row=len(state.history),
        phases=(),
        progress=None,
        ended=None,
        idle_seconds=0.0,
    )


def _phase_started(state: RunState, body: PhaseStarted) -> RunState:
    return replace(state, phases=(*_outside(state.phases, body.phase), body), progress=None)


def _phase_finished(state: RunState, body: PhaseFinished) -> RunState:
    return replace(state, phases=_outside(state.phases, body.phase), progress=None)


def _outside(phases: tuple[PhaseStarted, ...], phase: Phase) -> tuple[PhaseStarted, ...]:
    """The open phases around ``phase``; all of them when it is not open."""
    for index, item in enumerate(phases):
        if item.phase == phase:
            return phases[:index]
    return phases


def _progress(state: RunState, body: Progress) -> RunState:
    return replace(state, progress=body, idle_seconds=0.0)


def _started(state: RunState, body: Started) -> RunState:
    """What an earlier attempt did after the state that this one starts from never happened."""
    history = state.history.before(body.step + 1)
    return replace(
        state,
        started=body,
        step=body.step,
        steps=body.steps,
        epoch=history.last("epoch") if len(history) else 0.0,
        history=history,
        attempt_row=len(history),
        evaluations=_until(state.evaluations, body.step),
        samples=_until(state.samples, body.step),
        checkpoints=_until(state.checkpoints, body.step),
    )


def _memory_measured(state: RunState, body: MemoryMeasured) -> RunState:
    return replace(state, memory=body)


def _until(log: Log[Any], step: int) -> Log[Any]:
    """The items up to and including ``step``; steps rise along a log, so only its end is looked at."""
    length = len(log)
    while length and log[length - 1].step > step:
        length -= 1
    return log.first(length)


def _evaluated(state: RunState, body: Evaluated) -> RunState:
    return replace(state, evaluations=_until(state.evaluations, body.step - 1).append(body), idle_seconds=0.0)


def _checkpoint_saved(state: RunState, body: CheckpointSaved) -> RunState:
    return replace(state, checkpoints=_until(state.checkpoints, body.step - 1).append(body))


def _sampled(state: RunState, body: Sampled) -> RunState:
    """An answer to the same prompt at the same step replaces the one before, with those that came after it."""
    log = _until(state.samples, body.step)
    length = len(log)
    while length and log[length - 1].step == body.step:
        length -= 1
        if (log[length].index, log[length].variant) == (body.index, body.variant):
            return replace(state, samples=log.first(length).append(body))
    return replace(state, samples=log.append(body))


def _chatted(state: RunState, _body: ChatReady | ChatVoice | ChatPiece | ChatAnswer) -> RunState:
    """A conversation is kept by those who hold it (`core.runs.chat`), and may go on for days."""
    return replace(state, idle_seconds=0.0)


def _notice(state: RunState, body: Notice) -> RunState:
    return replace(state, notices=state.notices.append(body))


def _heartbeat(state: RunState, body: Heartbeat) -> RunState:
    return replace(state, idle_seconds=body.idle_seconds)


def _ended(state: RunState, body: Stopped | Failed | Completed) -> RunState:
    return replace(state, ended=body, phases=(), progress=None, step=max(state.step, body.step))


def _unknown(state: RunState, body: Unknown) -> RunState:
    return replace(state, unknown=state.unknown.append(body))


_HANDLERS: dict[type, Callable[[RunState, Any], RunState]] = {
    Hello: _hello,
    PhaseStarted: _phase_started,
    PhaseFinished: _phase_finished,
    Progress: _progress,
    Started: _started,
    MemoryMeasured: _memory_measured,
    Evaluated: _evaluated,
    CheckpointSaved: _checkpoint_saved,
    Sampled: _sampled,
    ChatReady: _chatted,
    ChatVoice: _chatted,
    ChatPiece: _chatted,
    ChatAnswer: _chatted,
    Notice: _notice,
    Heartbeat: _heartbeat,
    Stopped: _ended,
    Failed: _ended,
    Completed: _ended,
    Unknown: _unknown,
}
