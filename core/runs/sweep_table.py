"""What a sweep has found out so far: one row for each run, and which of them is the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import UserError
from core.events.run_state import RunState, fold
from core.events.tail import EventTail
from core.runs.history import RunSummary, summarise
from core.runs.store import load_plan
from core.runs.sweep_groups import Group, Member

LAST_STEPS = 10
"""Runs without validation are compared by the mean training loss of so many last steps: one step alone is noise."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One run of a sweep in numbers; None where there is none yet.

    Attributes:
        values: the settings in which it differs from the others.
        trainable: how many parameters are trained.
        loss: the mean training loss of the last steps.
        tokens_per_second: over all steps, prompts included.
        memory_bytes: the highest peak of any step.
        seconds: how long engines have worked on it.
    """

    run: RunSummary
    values: Mapping[str, Any]
    state: RunState
    trainable: int | None
    loss: float | None
    validation_loss: float | None
    best_validation_loss: float | None
    tokens_per_second: float | None
    memory_bytes: int | None
    seconds: float | None

    @property
    def score(self) -> float | None:
        """What it is compared by: the best validation loss, else the training loss; None where that is no number."""
        value = self.best_validation_loss if self.best_validation_loss is not None else self.loss
        return value if value is not None and math.isfinite(value) else None


def read_rows(group: Group) -> tuple[SweepRow, ...]:
    """A row for each run of a sweep that is still there, in the order of the grid.

    Raises:
        OSError: an event log is there and cannot be read.
    """
    return tuple(_row(member) for member in group.members if member.path.is_dir())


def best_row(rows: Sequence[SweepRow]) -> SweepRow | None:
    """The run with the lowest loss, among those with a validation loss where any has one; None while none has any."""
    validated = [row for row in rows if row.best_validation_loss is not None and row.score is not None]
    scored = validated or [row for row in rows if row.score is not None]
    return min(scored, key=lambda row: row.score or 0.0, default=None)


def _row(member: Member) -> SweepRow:
    folder = member.folder
    state = fold(EventTail(folder.events()).read())
    return SweepRow(
        run=summarise(folder),
        values=member.values,
        state=state,
        trainable=_trainable(member, state),
        loss=_last_loss(state),
        validation_loss=state.validation_loss,
        best_validation_loss=state.best_validation_loss,
        tokens_per_second=_speed(state),
        memory_bytes=state.memory_peak or None,
        seconds=state.seconds if state.first_time else None,
    )


def _trainable(member: Member, state: RunState) -> int | None:
    if state.started is not None:
        return state.started.trainable
    try:
        parameters = load_plan(member.folder).parameters
    except UserError:  # the row's status says that the folder is damaged
        return None
    return parameters.trainable if parameters is not None else None


def _last_loss(state: RunState) -> float | None:
    losses = state.history.column("loss", max(0, len(state.history) - LAST_STEPS))
    return sum(losses) / len(losses) if losses else None


def _speed(state: RunState) -> float | None:
    seconds = sum(state.history.column("seconds"))
    return sum(state.history.column("tokens")) / seconds if seconds > 0 else None
