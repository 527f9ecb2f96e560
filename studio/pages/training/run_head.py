"""The head of a run: its name and status, what it does now, its numbers, and the buttons that ask something of it."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QProgressBar, QWidget

from core.runs.layout import Request
from studio.look import tokens
from studio.look.theme import look
from studio.pages.training.run_words import doing_words, metrics_of, progress_of, status_of, waiting_words
from studio.state.desk import Desk
from studio.state.runs import WatchedRun
from studio.widgets.basics import Card, Elided, Pill, button, column, label, row
from studio.widgets.flow import FlowLayout
from studio.words import tr

_PATIENCE_SECONDS = 5.0
_COLUMNS = 4


class RunHead(Card):
    """One card on top of the page."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.name = Elided("", "section")
        self.name.setObjectName("run-name")
        self.pill = Pill()
        self.pill.setObjectName("run-status")
        self.doing = label("", "help", wrap=True)
        self.doing.setObjectName("run-doing")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Progress of the run"))
        self.waiting = label("", "muted", wrap=True)
        self.waiting.setObjectName("run-waiting")
        heading = row(self.name, self.pill, spacing=tokens.SPACE_3)
        heading.setStretch(0, 1)
        self.add(heading)
        self.waiting.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        words = row(self.doing, self.waiting, spacing=tokens.SPACE_4)
        words.setStretch(0, 3)
        words.setStretch(1, 2)
        self.add(words)
        self.add(self.bar)
        self._values: dict[str, QLabel] = {}
        self._captions: dict[str, QLabel] = {}
        self.add(self._make_metrics())
        self._make_buttons()
        self.add(self._live)

    def refresh(self, run: WatchedRun) -> None:
        """Shows the run as it is now."""
        self.name.set_text(run.name)
        self.pill.show_text(*status_of(run))
        words, live = doing_words(run), run.is_live
        self.doing.setText(words)
        self.doing.setVisible(bool(words))
        share = progress_of(run)
        self.bar.setVisible(live or (share is not None and share > 0))
        self.bar.setRange(0, 0 if share is None and live else 1000)
        if share is not None:
            self.bar.setValue(round(share * 1000))
        for key, (text, tip) in metrics_of(run).items():
            self._values[key].setText(text)
            self._values[key].setToolTip(tip)
            self._captions[key].setToolTip(tip)
            for shown in (self._values[key], self._captions[key]):  # pairs of answers alone have all of them
                shown.setVisible(bool(text))
        self._refresh_buttons(run)
        waiting = waiting_words(run)
        self.waiting.setText(waiting)
        self.waiting.setVisible(bool(waiting))

    def _make_metrics(self) -> QWidget:
        titles = {
            "loss": tr("Loss"),
            "validation": tr("Validation loss"),
            "step": tr("Step"),
            "epoch": tr("Epoch"),
            "speed": tr("Speed"),
            "elapsed": tr("So far"),
            "left": tr("Time left"),
            "memory": tr("Memory peak"),
            "preferred": tr("Preferred"),
            "margin": tr("Margin"),
        }
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_4)
        grid.setVerticalSpacing(tokens.SPACE_2)
        for index, (key, title) in enumerate(titles.items()):
            value = label("–", "strong", wrap=True, selectable=True)
            value.setObjectName(f"metric-{key}")
            caption = label(title, "muted")
            caption.setBuddy(value)
            self._captions[key] = caption
            grid.addLayout(column(caption, value, spacing=0), index // _COLUMNS, index % _COLUMNS)
            self._values[key] = value
        for place in range(_COLUMNS):
            grid.setColumnStretch(place, 1)
            grid.setColumnMinimumWidth(place, look().px(88))
        holder = QWidget()
        holder.setLayout(grid)
        return holder

    def _make_buttons(self) -> None:
        self.pause = button(tr("Pause"), self._pause, icon_name="pause", name="run-pause")
        self.stop = button(tr("Stop"), self._stop, role="danger", icon_name="square", name="run-stop")
        self.save = button(tr("Save now"), lambda: self._ask("save"), icon_name="save", name="run-save")
        self.sample = button(
            tr("Sample now"), lambda: self._ask("sample"), icon_name="message-square", name="run-sample"
        )
        self.pause.setToolTip(tr("Stops after this step, saves everything and frees the device; Resume goes on."))
        self.stop.setToolTip(tr("Ends the run after this step and saves its state; it can be resumed later."))
        self._live = QWidget()
        actions = FlowLayout(self._live)
        for made in (self.pause, self.stop, self.save, self.sample):
            actions.addWidget(made)

    def _refresh_buttons(self, run: WatchedRun) -> None:
        live, ending = run.is_live, bool(run.asked & {"stop", "pause"})
        training = run.state.started is not None
        self._live.setVisible(live)
        self.pause.setEnabled(not ending)
        self.stop.setText(tr("Stop now") if "stop" in run.asked else tr("Stop"))
        self.save.setEnabled(training and not ending and "save" not in run.asked)
        self.sample.setEnabled(training and not ending and "sample" not in run.asked)
        self.save.setToolTip("" if training else tr("Possible once the training has begun."))
        self.sample.setToolTip("" if training else tr("Possible once the training has begun."))

    # --- asking

    def _run(self) -> WatchedRun | None:
        run = self._desk.runs.current
        return run if run is not None and run.is_live else None

    def _ask(self, name: Request) -> None:
        run = self._run()
        if run is None:
            return
        try:
            run.request(name)
        except OSError as failure:
            self._desk.complain(
                tr("The request could not be placed: {reason}.", reason=failure.strerror or str(failure)),
                tr("Check that the disk of the run’s folder is not full."),
            )
        self.refresh(run)  # a press is answered at once, whatever the pace of the events

    def _pause(self) -> None:
        self._ask("pause")

    def _stop(self) -> None:
        run = self._run()
        if run is not None:
            # the second press is for somebody who does not want to wait
            run.stop(_PATIENCE_SECONDS if "stop" in run.asked else None)
            self.refresh(run)
