"""What stands in the plan panel's place while a run is live, on every page: progress, loss, time left, Pause, Stop."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QBoxLayout, QGridLayout, QHBoxLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from core.runs.layout import Request
from core.units import format_bytes, format_count, format_duration
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.state.runs import WatchedRun
from studio.widgets.basics import Elided, button, label, row
from studio.words import say, tr

_PATIENCE_SECONDS = 5.0


def progress_of(run: WatchedRun) -> tuple[str, float | None]:
    """What the run does now, and how far it is (0 to 1; None while unknown)."""
    state = run.state
    if "stop" in run.asked:
        return tr("Stopping: the run saves its state first…"), None
    if "pause" in run.asked:
        return tr("Pausing after this step…"), None
    if state.steps and state.phase in ("train", "evaluate", "sample", "save", None):
        words = tr("Step {step} of {steps}", step=f"{state.step:,}", steps=f"{state.steps:,}")
        return words, state.step / state.steps
    progress = state.progress
    share = progress.done / progress.total if progress is not None and progress.total else None
    return say(state.phase_message) if state.phase_message else tr("Starting the engine…"), share


def ask_run(desk: Desk, run: WatchedRun, name: Request) -> None:
    """Passes a request on; a disk that takes no request is told to the user."""
    try:
        run.request(name)
    except OSError as failure:
        desk.complain(
            tr("The request could not be placed: {reason}.", reason=failure.strerror or str(failure)),
            tr("Check that the disk of the run’s folder is not full."),
        )


class RunPanel(QWidget):
    """Progress of the live run, upright as a panel or flat as a strip.

    Attributes:
        show_asked: the user wants to see the Training page.
    """

    show_asked = Signal()

    def __init__(self, desk: Desk, *, flat: bool) -> None:
        super().__init__()
        self._desk = desk
        self._flat = flat
        self._name = Elided("", "section")
        self._doing = label("", "help", wrap=not flat)
        self._doing.setObjectName("run-progress-words")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Progress of the run"))
        self._loss = label("–", "big" if not flat else "strong")
        self._loss.setObjectName("run-loss")
        self._values = {name: label("–", "strong") for name in ("validation", "left", "elapsed", "speed", "memory")}
        self.pause = button(tr("Pause"), self._pause, icon_name="pause", name="pause")
        self.stop = button(tr("Stop"), self._stop, role="danger", icon_name="square", name="stop")
        self._show = button(tr("Show"), self.show_asked.emit, name="show-run")
        self._queue = button(tr("Queue"), lambda: desk.go("queue"), icon_name="list", name="show-queue")
        if flat:
            self._lay_flat()
        else:
            self._lay_upright()
        runs = desk.runs
        runs.current_changed.connect(self.refresh)
        runs.current_moved.connect(self.refresh)
        runs.current_ended.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows the run as it is now."""
        run = self._desk.runs.current
        if run is None or not run.is_live:
            return
        state = run.state
        words, share = progress_of(run)
        self._name.set_text(run.name)
        self._doing.setText(words)
        self._bar.setRange(0, 0 if share is None else 1000)
        if share is not None:
            self._bar.setValue(round(share * 1000))
        self._loss.setText(f"{state.loss:.3f}" if state.loss is not None else "–")
        left, validation, speed = state.seconds_left, state.validation_loss, state.speed
        self._values["left"].setText(format_duration(left) if left is not None else "–")
        self._values["elapsed"].setText(format_duration(state.seconds) if state.seconds else "–")
        self._values["validation"].setText(f"{validation:.3f}" if validation is not None else "–")
        self._values["speed"].setText(tr("{n} tokens/s", n=format_count(speed)) if speed else "–")
        self._values["memory"].setText(format_bytes(state.memory_peak) if state.memory_peak else "–")
        self.pause.setEnabled(not run.asked & {"stop", "pause"})
        self.stop.setText(tr("Stop now") if "stop" in run.asked else tr("Stop"))

    def _pause(self) -> None:
        run = self._desk.runs.current
        if run is not None and run.is_live:
            ask_run(self._desk, run, "pause")

    def _stop(self) -> None:
        run = self._desk.runs.current
        if run is None or not run.is_live:
            return
        # the second press is for somebody who does not want to wait
        run.stop(_PATIENCE_SECONDS if "stop" in run.asked else None)

    def _lay_upright(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_4, tokens.SPACE_4, tokens.SPACE_4, tokens.SPACE_4)
        box.setSpacing(tokens.SPACE_2)
        grid = QGridLayout()
        grid.setVerticalSpacing(tokens.SPACE_1)
        grid.setColumnStretch(0, 1)
        titles = {
            "validation": tr("Validation loss"),
            "left": tr("Time left"),
            "elapsed": tr("So far"),
            "speed": tr("Speed"),
            "memory": tr("Memory peak"),
        }
        for number, (name, title) in enumerate(titles.items()):
            grid.addWidget(label(title, "help"), number, 0)
            grid.addWidget(self._values[name], number, 1, Qt.AlignmentFlag.AlignRight)
        buttons = QHBoxLayout()
        buttons.setSpacing(tokens.SPACE_2)
        for made in (self.pause, self.stop):
            made.setMinimumHeight(look().px(tokens.START))
            buttons.addWidget(made, 1)
        for item in (label(tr("RUN"), "caption"), self._name, self._doing, self._bar, label(tr("Loss"), "help")):
            box.addWidget(item)
        box.addWidget(self._loss)
        box.addLayout(grid)
        box.addStretch(1)
        box.addLayout(row(self._show, self._queue))
        box.addLayout(buttons)

    def _lay_flat(self) -> None:
        box = QHBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_4, tokens.SPACE_2, tokens.SPACE_4, tokens.SPACE_2)
        box.setSpacing(tokens.SPACE_3)
        middle = QVBoxLayout()
        middle.setSpacing(tokens.SPACE_1)
        middle.addLayout(_side_by_side(self._name, self._doing))
        middle.addWidget(self._bar)
        box.addLayout(middle, 1)
        for title, value in ((tr("Loss"), self._loss), (tr("Time left"), self._values["left"])):
            pair = QVBoxLayout()
            pair.setSpacing(0)
            pair.addWidget(label(title, "muted"))
            pair.addWidget(value)
            box.addLayout(pair)
        for made in (self.pause, self.stop):
            box.addWidget(made)
        for made in (self._show, self._queue):
            made.setParent(self)
            made.hide()


def _side_by_side(first: QLabel, second: QLabel) -> QBoxLayout:
    box = QHBoxLayout()
    box.setSpacing(tokens.SPACE_3)
    box.addWidget(first, 1)
    box.addWidget(second)
    return box
