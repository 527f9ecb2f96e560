"""A run, live or over: head, health, outcome, curves, and below (or beside) them samples, log, notices and facts."""

from PySide6.QtCore import Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QBoxLayout, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.pages.training.curves import Curves
from studio.pages.training.details import NoticesView, UsedView
from studio.pages.training.health_list import HealthList
from studio.pages.training.log_view import LogView
from studio.pages.training.memory import memory_of
from studio.pages.training.outcome_card import OutcomeCard
from studio.pages.training.run_facts import FactsReader
from studio.pages.training.run_head import RunHead
from studio.pages.training.samples_view import SamplesView
from studio.state.desk import Desk
from studio.state.runs import WatchedRun
from studio.widgets.basics import Card
from studio.widgets.controls import Segments
from studio.words import tr

_BESIDE = 1180


class RunView(QWidget):
    """Everything about the run that the desk shows.

    Attributes:
        settings_asked: the user wants the settings of a next run.
    """

    settings_asked = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._run: WatchedRun | None = None
        self._stale = True
        self.facts = FactsReader()
        self.facts.changed.connect(self._facts_changed)
        self.head = RunHead(desk)
        self.health = HealthList()
        self.outcome = OutcomeCard(desk)
        self.curves = Curves(desk)
        self.samples, self.log = SamplesView(), LogView(desk)
        self.notices, self.used = NoticesView(), UsedView()
        self.outcome.settings_asked.connect(self.settings_asked)
        self._lay_out()

    def follow(self, run: WatchedRun) -> None:
        """Shows a run, which may be another one than before."""
        if run is not self._run:
            same = self._run is not None and self._run.folder == run.folder
            self._run = run
            self.outcome.forget()
            self.health.forget()
            if not same:
                self.curves.begin(run.name)
            self.facts.read(run.folder)
            self.log.show_folder(run.folder)
        self.refresh()

    def refresh(self) -> None:
        """Shows the newest state, or remembers to do so when it is seen."""
        run = self._run
        if run is None:
            return
        if not self.isVisible():
            self._stale = True
            return
        self._stale = False
        state = run.state
        self.head.refresh(run)
        self.outcome.refresh(run)
        if state.hello is not None or not run.is_live:
            # a resumed run keeps its curves until its engine (or its log) has spoken
            self.curves.take(state)
        self.health.refresh(run, self.facts.now, at_once=not run.is_live)
        self.samples.take(state)
        count = self.notices.take(state)
        self._tabs.set_text("notices", tr("Notices ({n})", n=count) if count else tr("Notices"))
        self.used.take(state)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Catches up."""
        super().showEvent(event)
        if self._stale:
            self.refresh()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802 (Qt's name)
        """From now on nothing is drawn."""
        super().hideEvent(event)
        self._stale = True

    def arrange(self, width: int) -> None:
        """Puts samples and log beside the curves where the page has room for both."""
        wide = width >= look().px(_BESIDE)
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._split.direction() != direction:
            self._split.setDirection(direction)

    def show_tab(self, name: str) -> None:
        """Brings samples, log, notices or used to the front."""
        memory = memory_of(self._desk)
        for tab in ("samples", "log", "notices", "used"):
            if tab == name:
                memory.tab = tab
        self._tabs.choose(memory.tab)
        for key, page in self._pages.items():
            page.setVisible(key == memory.tab)

    def _lay_out(self) -> None:
        self._tabs = Segments(
            [
                ("samples", tr("Samples")),
                ("log", tr("Engine log")),
                ("notices", tr("Notices")),
                ("used", tr("In use")),
            ],
            name="run-tab",
        )
        self._tabs.chosen.connect(self.show_tab)
        self._pages = {"samples": self.samples, "log": self.log, "notices": self.notices, "used": self.used}
        below = Card()
        below.add(self._tabs)
        for page in self._pages.values():
            below.add(page, 1)
        self._split = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._split.setSpacing(tokens.SPACE_4)
        self._split.addWidget(self.curves, 3)
        self._split.addWidget(below, 2)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        for item in (self.head, self.outcome, self.health):
            box.addWidget(item)
        box.addLayout(self._split, 1)
        self.outcome.hide()
        self.show_tab(memory_of(self._desk).tab)

    def _facts_changed(self) -> None:
        if self._run is not None and self.isVisible():
            self.health.refresh(self._run, self.facts.now, at_once=True)
