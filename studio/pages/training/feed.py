"""Carries a run's numbers into the plots: only what is new, and never so much at once that the window stutters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from core.events.history import StepTable
from core.events.run_state import RunState
from core.units import GIB
from studio.widgets.plots.curve_plot import CurvePlot
from studio.widgets.plots.ready import is_ready, when_ready
from studio.widgets.plots.smoothing import Smoother
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array

RAW, SMOOTH, VALIDATION = "raw", "smooth", "validation"
_ROWS_AT_ONCE = 10_000
_NEXT_MS = 8
_MOST_RESERVED = 4_000_000
_SMOOTH_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots to fill: the loss, and the small ones, whose curve is called "value"."""

    loss: CurvePlot
    rate: CurvePlot
    norm: CurvePlot
    speed: CurvePlot
    memory: CurvePlot

    @property
    def small(self) -> tuple[CurvePlot, ...]:
        """All but the loss."""
        return (self.rate, self.norm, self.speed, self.memory)

    @property
    def all(self) -> tuple[CurvePlot, ...]:
        """All of them."""
        return (self.loss, *self.small)


class Feed(QObject):
    """Follows one run after another.

    Attributes:
        caught_up: everything of the newest state is in the plots.
    """

    caught_up = Signal()

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
        self._smoother: Smoother | None = None
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
        for plot in self._plots.all:
            plot.clear()
        self._restart_smoothing()

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
        history = self._state.history
        end = min(len(history), self._rows + _ROWS_AT_ONCE)
        if end > self._rows:
            self._append(history, self._rows, end)
            self._rows = end
        if self._task is None:
            self._smooth_on()
        measured = self._state.evaluations
        if len(measured) != self._measured:
            self._measured = len(measured)
            steps, losses = [float(item.step) for item in measured], [item.loss for item in measured]
            self._plots.loss.set_data(VALIDATION, steps, losses)
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
            self._plots.loss.append(RAW, (), (), keep)
            self._rows = keep
            self._restart_smoothing()

    def _reserve(self) -> None:
        steps = min(self._state.steps, _MOST_RESERVED)
        if steps > self._reserved:
            self._reserved = steps
            for plot in self._plots.small:
                plot.reserve("value", steps)
            for key in (RAW, SMOOTH):
                self._plots.loss.reserve(key, steps)

    def _append(self, history: StepTable, start: int, end: int) -> None:
        import numpy as np

        steps = np.asarray(history.column("step", start, end))
        tokens, seconds = (np.asarray(history.column(name, start, end)) for name in ("tokens", "seconds"))
        speed = np.divide(tokens, seconds, out=np.full(len(steps), np.nan), where=seconds > 0)
        plots = self._plots
        plots.loss.append(RAW, steps, np.asarray(history.column("loss", start, end)))
        plots.rate.append("value", steps, np.asarray(history.column("learning_rate", start, end)))
        plots.norm.append("value", steps, np.asarray(history.column("grad_norm", start, end)))
        plots.speed.append("value", steps, speed)
        plots.memory.append("value", steps, np.asarray(history.column("memory_bytes", start, end)) / GIB)

    # --- smoothing

    def _restart_smoothing(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._smoothed, self._smoother = 0, None

    def _smooth_on(self) -> None:
        """Smooths what is new: a little here, much in a thread."""
        history, end = self._state.history, self._rows
        if self._smoother is None:
            self._smoother = Smoother(self._smoother_weight)
            self._plots.loss.set_data(SMOOTH, (), ())
        if end - self._smoothed > _SMOOTH_AT_ONCE:
            self._smooth_in_thread(history, self._smoother, self._smoothed, end)
        elif end > self._smoothed:
            steps = history.column("step", self._smoothed, end)
            self._plots.loss.append(SMOOTH, steps, self._smoother.extend(history.column("loss", self._smoothed, end)))
            self._smoothed = end

    def _smooth_in_thread(self, history: StepTable, smoother: Smoother, start: int, end: int) -> None:
        def work(_report: object) -> "tuple[Array, Array]":
            import numpy as np

            return np.asarray(history.column("step", start, end)), smoother.extend(history.column("loss", start, end))

        def done(found: "tuple[Array, Array]") -> None:
            self._task = None
            self._plots.loss.append(SMOOTH, *found)
            self._smoothed = end
            self._more()

        self._task = start_task(work, on_done=done, on_failed=_raise, parent=self)


def _raise(failure: Exception) -> None:
    raise failure
