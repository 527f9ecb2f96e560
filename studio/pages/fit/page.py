"""What fits: the planner's answers to “what can I change, how far can I go, which GPU would do, and which disk?”."""

from collections.abc import Sequence

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from core.errors import Edit
from studio.look import tokens
from studio.pages.fit.answers import Answers, answer
from studio.pages.fit.cards_card import CardsCard
from studio.pages.fit.disk_card import DiskCard
from studio.pages.fit.limits_card import LimitsCard
from studio.pages.fit.offers_card import OffersCard
from studio.pages.page import Page
from studio.state.desk import Action, Desk
from studio.widgets.basics import Empty, button
from studio.words import tr
from studio.workers.task import Task, start_task

_SETTLE_MS = 200


class FitPage(Page):
    """Asks the planner whenever the plan has changed and the page is in front."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            tr("What fits"),
            tr("Ways to make a run fit, how far each setting can go, and what other GPUs would make of it."),
        )
        self._asking: Task | None = None
        self._is_in_front = False
        self._is_stale = True
        self.offers, self.limits, self.cards = OffersCard(), LimitsCard(), CardsCard(desk)
        self.disk = DiskCard()
        self.answers = QWidget()
        box = QVBoxLayout(self.answers)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_4)
        for card in (self.offers, self.limits, self.cards, self.disk):
            box.addWidget(card)
        box.addStretch(1)
        go = button(tr("Choose a base model"), lambda: desk.go("model"), role="primary", name="fit-go-model")
        text = tr("What a run needs depends on the base model first of all.")
        self._stack = QStackedWidget()
        self._stack.addWidget(Empty("memory-stick", tr("No base model yet"), text, go))
        self._stack.addWidget(self.answers)
        self.add(self._stack, 1)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        self.offers.taken.connect(self._take)
        self.limits.taken.connect(self._take)
        self.cards.asked.connect(self._plan_changed)
        desk.session.plan_changed.connect(self._plan_changed)

    def shown(self) -> None:
        """Catches up with the plan."""
        self._is_in_front = True
        if self._is_stale:
            self._ask()

    def hidden(self) -> None:
        """From now on nothing is asked."""
        self._is_in_front = False

    def close_page(self) -> None:
        """Ends the asking."""
        self._settle.stop()
        if self._asking is not None:
            self._asking.cancel()

    @property
    def is_settled(self) -> bool:
        """Whether what is shown is what the present plan comes to."""
        return not self._is_stale and self._asking is None and not self._settle.isActive()

    def _plan_changed(self) -> None:
        self._is_stale = True
        if self._is_in_front:
            self._settle.start()

    def _ask(self) -> None:
        session = self.desk.session
        facts, plan = session.facts, session.plan
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._is_stale = False
        known = facts is not None and facts.model is not None and plan is not None and plan.memory is not None
        self._stack.setCurrentIndex(1 if known and plan is not None and plan.parameters is not None else 0)
        if facts is None or self._stack.currentIndex() == 0:
            return
        self.disk.show_disk(plan.disk if plan is not None else None)
        spec, cards = session.spec, self.cards.wanted()
        self._asking = start_task(
            lambda report: answer(spec, facts, cards, report),
            on_done=self._answered,
            on_failed=self._failed,
            parent=self,
        )

    def _answered(self, answers: Answers) -> None:
        self._asking = None
        self.offers.show_solution(answers.solution)
        self.limits.show_limits(answers.limits)
        self.cards.show_plans(answers.cards, answers.smallest)

    def _failed(self, failure: Exception) -> None:
        self._asking = None
        raise failure

    def _take(self, edits: Sequence[Edit]) -> None:
        session = self.desk.session
        session.apply(edits)
        self.desk.tell(tr("Changed as offered."), actions=(Action(tr("Undo"), lambda: _undo(self.desk)),))


def _undo(desk: Desk) -> None:
    desk.session.undo()
