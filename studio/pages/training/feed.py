"""Carries a run's numbers into the plots: only what is new, and never so much at once that the window stutters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from core.events.history import Column, StepTable
from core.events.run_state import RunState
from core.units import GIB
from studio.widgets.plots.curve_plot import CurvePlot
from studio.widgets.plots.ready import is_ready, when_ready
from studio.widgets.plots.smoothing import Smoother
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array

    _Smoothed = tuple[Array, Mapping[Column, Array]]

RAW, SMOOTH, VALIDATION = "raw", "smooth", "validation"
_ROWS_AT_ONCE = 10_000
_NEXT_MS = 8
_MOST_RESERVED = 4_000_000
_SMOOTH_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots to fill: the loss, those of pairs of answers, and the small ones, whose curve is called "value"."""

    loss: CurvePlot
    preferred: CurvePlot
    margin: CurvePlot
    rate: CurvePlot
    norm: CurvePlot
    speed: CurvePlot
    memory: CurvePlot

    @property
    def small(self) -> tuple[CurvePlot, ...]:
        """Those of any run but the loss."""
        return (self.rate, self.norm, self.speed, self.memory)

    @property
    def pairs(self) -> tuple[CurvePlot, ...]:
        """Those that only a run with pairs of answers fills."""
        return (self.preferred, self.margin)

    @property
    def all(self) -> tuple[CurvePlot, ...]:
        """All of them."""
        return (self.loss, *self.pairs, *self.small)

    def judged(self, *, pairs: bool) -> Mapping[Column, CurvePlot]:
        """Those that say how well a run learns, by what they show: raw, smoothed, and of validation rows."""
        found: dict[Column, CurvePlot] = {"loss": self.loss}
        return found | ({"preferred": self.preferred, "margin": self.margin} if pairs else {})


class Feed(QObject):
    """Follows one run after another.

    Attributes:
        caught_up: everything of the newest state is in the plots.
        pairs_found: whether the run learns from pairs of answers; False when another run begins.
    """

    caught_up = Signal()
    pairs_found = Signal(bool)

    def __init__(self, plots: Plots, weight: float) -> None:
        super().__init__()
        self._plots = plots
        self._state = RunState()
        self._rows = 0
        self._smoothed = 0
        self._measured = 0
        self._reserved = 0
        self._attempt = (0, 0)
        self._smoother_weight = weight
        self._smoothers: dict[Column, Smoother] = {}
        self._has_pairs = False
        self._task: Task | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_NEXT_MS)
        self._timer.timeout.connect(self._more)

    def forget(self) -> None:
        """Begins another run with empty plots."""
        self._timer.stop()
        self._state = RunState()
        self._rows = self._measured = 0
        self._attempt = (0, 0)
        self._has_pairs = False
        for plot in self._plots.all:
            plot.clear()
        self._restart_smoothing()
        self.pairs_found.emit(False)  # noqa: FBT003 (Qt takes no names)

    def take(self, state: RunState) -> None:
        """Brings the plots up to a state, at once or, where much is missing, step by step."""
        self._state = state
        if not is_ready():
            when_ready(self._more, self)
        elif not self._timer.isActive():
            self._more()

    def set_weight(self, weight: float) -> None:
        """Smooths the loss with another weight of the past."""
        if weight != self._smoother_weight:
            self._smoother_weight = weight
            self._restart_smoothing()
            if is_ready():
                self._smooth_on()

    @property
    def is_behind(self) -> bool:
        """Whether something of the newest state is still missing in the plots."""
        return self._rows < len(self._state.history) or self._smoothed < self._rows

    def _more(self) -> None:
        self._agree()
        self._reserve()
        self._measure()
        history = self._state.history
        end = min(len(history), self._rows + _ROWS_AT_ONCE)
        if end > self._rows:
            self._append(history, self._rows, end)
            self._rows = end
        if self._task is None:
            self._smooth_on()
        if self._rows < len(history):
            self._timer.start()
        elif not self.is_behind:
            self.caught_up.emit()

    def _agree(self) -> None:
        """Takes away what an earlier attempt did after the state that the present one began from."""
        state = self._state
        attempt = (state.attempt, state.attempt_row)
        keep = self._rows
        if attempt != self._attempt:
            keep = min(keep, state.attempt_row) if self._attempt != (0, 0) else keep
            self._attempt = attempt
            self._measured = -1
        keep = min(keep, len(state.history))
        if keep < self._rows:
            for plot in self._plots.small:
                plot.append("value", (), (), keep)
            for plot in self._judged().values():
                plot.append(RAW, (), (), keep)
            self._rows = keep
            self._restart_smoothing()

    def _measure(self) -> None:
        """Shows what has been measured on validation rows."""
        measured = self._state.evaluations
        if len(measured) == self._measured:
            return
        self._measured = len(measured)
        if any(item.preferred is not None for item in measured):
            self._find_pairs(self._rows)
        steps = [float(item.step) for item in measured]
        for name, plot in self._judged().items():
            plot.set_data(VALIDATION, steps, [_number(getattr(item, name)) for item in measured])

    def _reserve(self) -> None:
        steps = min(self._state.steps, _MOST_RESERVED)
        if steps > self._reserved:
            self._reserved = steps
            for plot in self._plots.small:
                plot.reserve("value", steps)
            for plot in self._judged().values():
                for key in (RAW, SMOOTH):
                    plot.reserve(key, steps)

    def _append(self, history: StepTable, start: int, end: int) -> None:
        import numpy as np

        steps = np.asarray(history.column("step", start, end))
        tokens, seconds = (np.asarray(history.column(name, start, end)) for name in ("tokens", "seconds"))
        speed = np.divide(tokens, seconds, out=np.full(len(steps), np.nan), where=seconds > 0)
        if np.isfinite(history.column("preferred", start, end)).any():
            self._find_pairs(start)
        for name, plot in self._judged().items():
            plot.append(RAW, steps, np.asarray(history.column(name, start, end)))
        plots = self._plots
        plots.rate.append("value", steps, np.asarray(history.column("learning_rate", start, end)))
        plots.norm.append("value", steps, np.asarray(history.column("grad_norm", start, end)))
        plots.speed.append("value", steps, speed)
        plots.memory.append("value", steps, np.asarray(history.column("memory_bytes", start, end)) / GIB)

    # --- pairs of answers

    def _judged(self) -> Mapping[Column, CurvePlot]:
        return self._plots.judged(pairs=self._has_pairs)

    def _find_pairs(self, start: int) -> None:
        """From here on the plots of pairs are filled; what stands before row ``start`` at once."""
        if self._has_pairs:
            return
        self._has_pairs = True
        history = self._state.history
        for name, plot in self._judged().items():
            if name != "loss":
                plot.append(RAW, history.column("step", 0, start), history.column(name, 0, start))
        self._restart_smoothing()
        self.pairs_found.emit(True)  # noqa: FBT003 (Qt takes no names)

    # --- smoothing

    def _restart_smoothing(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._smoothed, self._smoothers = 0, {}

    def _smooth_on(self) -> None:
        """Smooths what is new: a little here, much in a thread."""
        history, start, end = self._state.history, self._smoothed, self._rows
        if not self._smoothers:
            self._smoothers = {name: Smoother(self._smoother_weight) for name in self._judged()}
            for plot in self._judged().values():
                plot.set_data(SMOOTH, (), ())
        if end - start > _SMOOTH_AT_ONCE:
            smoothers = self._smoothers
            self._task = start_task(
                lambda _report: _smooth(history, smoothers, start, end),
                on_done=lambda found: self._smoothed_in_thread(found, end),
                on_failed=_raise,
                parent=self,
            )
        elif end > start:
            self._show_smoothed(_smooth(history, self._smoothers, start, end), end)

    def _smoothed_in_thread(self, found: "_Smoothed", end: int) -> None:
        self._task = None
        self._show_smoothed(found, end)
        self._more()

    def _show_smoothed(self, found: "_Smoothed", end: int) -> None:
        steps, curves = found
        for name, values in curves.items():
            self._judged()[name].append(SMOOTH, steps, values)
        self._smoothed = end


def _smooth(history: StepTable, smoothers: Mapping[Column, Smoother], start: int, end: int) -> "_Smoothed":
    """Steps and smoothed values from row ``start`` to row ``end``, by column."""
    import numpy as np

    steps = np.asarray(history.column("step", start, end))
    return steps, {name: smoother.extend(history.column(name, start, end)) for name, smoother in smoothers.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _raise(failure: Exception) -> None:
    raise failure
