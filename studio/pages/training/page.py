"""The page “Training”: settings on one side, the run on the other."""

from PySide6.QtCore import QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from studio.pages.page import Page
from studio.pages.training.memory import View, memory_of
from studio.pages.training.run_view import RunView
from studio.pages.training.setup_view import SetupView
from studio.state.desk import Desk
from studio.state.runs import WatchedRun
from studio.widgets.basics import Empty, button
from studio.widgets.controls import Segments
from studio.widgets.plots.ready import when_ready
from studio.words import tr

_LEAST_MS = 100


class TrainingPage(Page):
    """“Set up” and “This run”; a run that begins brings its side to the front."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, tr("Training"), tr("How the model learns, and how it is getting on."))
        is_first = "training" not in desk.memory
        self._memory = memory_of(desk)
        self._seen: WatchedRun | None = None
        self._front: QWidget | None = None
        self.sides = Segments([("setup", tr("Set up")), ("run", tr("This run"))], name="training-side")
        self.sides.chosen.connect(self._side_chosen)
        self.head.addWidget(self.sides)
        self.setup = SetupView(desk)
        self.run = RunView(desk)
        self.run.settings_asked.connect(self._show_setup)
        self.nothing = Empty(
            "activity",
            tr("No run yet"),
            tr("Start a training, and its curves, samples and log appear here."),
            button(tr("Set up a run"), self._show_setup, name="to-setup"),
        )
        # no stack: its hidden pages would go on asking for their width and height
        for item in (self.setup, self.run, self.nothing):
            item.hide()
            self.add(item, 1)
        self._pace = QTimer(self)
        self._pace.setSingleShot(True)
        self._pace.setInterval(_LEAST_MS)
        self._pace.timeout.connect(self._paced)
        self._late = False
        self._second = QTimer(self)
        self._second.setInterval(1000)
        self._second.timeout.connect(self._tick)
        runs = desk.runs
        runs.current_changed.connect(self._run_changed)
        runs.current_moved.connect(self._moved)
        runs.current_ended.connect(self._refresh)
        self._seen = runs.current
        if is_first and runs.current is not None:
            self._memory.view = "run"
        self._show(self._memory.view)

    def shown(self) -> None:
        """Catches up with the run."""
        self._second.start()
        when_ready(self._refresh, self)  # what the curves compute with is loaded before a run needs it
        self._refresh()

    def hidden(self) -> None:
        """Nothing is drawn while the page is behind."""
        self._second.stop()

    def close_page(self) -> None:
        """The run goes on without the page."""
        self._second.stop()
        self._pace.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Lays both sides out for the width there is."""
        super().resizeEvent(event)
        self.setup.schedule.arrange(self.width())
        self.run.arrange(self.width())

    def show_side(self, side: View) -> None:
        """Shows "setup" or "run"."""
        self._memory.view = side
        self._show(side)

    # --- what changed

    def _run_changed(self) -> None:
        run = self.desk.runs.current
        if run is not None and run is not self._seen:
            self._memory.view = "run"
        self._seen = run
        self._show(self._memory.view)

    def _moved(self) -> None:
        """At once, but at most ten times a second; what comes in between is shown with the next."""
        if self._pace.isActive():
            self._late = True
        else:
            self._refresh()
            self._pace.start()

    def _paced(self) -> None:
        if self._late:
            self._late = False
            self._refresh()
            self._pace.start()

    def _refresh(self) -> None:
        if self._front is self.run:
            run = self.desk.runs.current
            if run is not None:
                self.run.follow(run)

    def _tick(self) -> None:
        if self.desk.runs.is_live:
            self._refresh()

    def _show(self, side: View) -> None:
        self.sides.choose(side)
        target: QWidget = self.setup
        if side == "run":
            target = self.run if self.desk.runs.current is not None else self.nothing
        self._front = target
        for item in (self.setup, self.run, self.nothing):
            item.setVisible(item is target)
        self._refresh()

    def _side_chosen(self, side: str) -> None:
        self.show_side("run" if side == "run" else "setup")

    def _show_setup(self) -> None:
        self.show_side("setup")
