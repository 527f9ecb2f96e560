"""Ways to make it fit: the cheapest set on one button, then single changes with their new peak and their cost."""

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from core.errors import Edit
from core.plan.solve import Offer, Solution
from core.units import format_bytes
from studio.look import tokens
from studio.widgets.basics import Card, IconLabel, button, label, row
from studio.words import say, tr

_TIMES = 1.6
"""From this factor on “times” is easier to grasp than a percentage."""


def speed_words(offer: Offer) -> str:
    """What a change costs in speed."""
    if abs(offer.slower - 1) < 0.03:
        return tr("as fast")
    if offer.slower < 1:
        faster = 1 / offer.slower
        if faster >= _TIMES:
            return tr("about {n} times as fast", n=f"{faster:.2g}")
        return tr("{n} % faster", n=round(100 * (faster - 1)))
    if offer.slower >= _TIMES:
        return tr("takes about {n} times as long", n=f"{offer.slower:.2g}")
    return tr("{n} % slower", n=round(100 * (offer.slower - 1)))


class OffersCard(Card):
    """The solver's answer.

    Attributes:
        taken: the edits of the change that the user wants.
    """

    taken = Signal(object)

    def __init__(self) -> None:
        super().__init__(tr("Ways to make it fit"))
        self.setObjectName("fit-offers")
        self._shown: Solution | None = None
        self._icon = IconLabel("circle-question-mark")
        self._words = label("", wrap=True)
        self._words.setObjectName("fit-sentence")
        top = row(self._icon, self._words)
        top.setAlignment(self._icon, Qt.AlignmentFlag.AlignTop)
        top.setStretch(1, 1)
        self.add(top)
        self.best = button(
            tr("Make it fit"), self._take_best, role="primary", icon_name="wand-sparkles", name="fit-best"
        )
        self._best_words = label("", "muted", wrap=True)
        beside = row(self.best, self._best_words, spacing=tokens.SPACE_3)
        beside.setStretch(1, 1)
        self.add(beside)
        self._rows = QWidget()
        self.add(self._rows)

    def show_solution(self, solution: Solution) -> None:
        """Shows another answer; rows are made anew only when something is offered otherwise."""
        if solution == self._shown:
            return
        self._shown = solution
        self._icon.set_icon(*_icon(solution))
        self._words.setText(say(solution.sentence) if solution.sentence else _plain_words(solution))
        best = solution.best
        self.best.setVisible(best is not None)
        self._best_words.setVisible(best is not None)
        if best is not None:
            self._best_words.setText(
                tr(
                    "about {peak} · {speed} · quality: {quality}",
                    peak=format_bytes(best.peak_bytes),
                    speed=speed_words(best),
                    quality=say(best.quality),
                )
            )
        old = self._rows
        self._rows = self._table(solution)
        self._rows.setVisible(bool(solution.offers))
        self.body.replaceWidget(old, self._rows)
        old.hide()
        old.deleteLater()

    def _take_best(self) -> None:
        if self._shown is not None and self._shown.best is not None:
            self.taken.emit(self._shown.best.edits)

    def _table(self, solution: Solution) -> QWidget:
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, tokens.SPACE_1, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_3)
        grid.setColumnStretch(1, 1)
        for number, offer in enumerate(solution.offers):
            self._add(grid, number, offer)
        return holder

    def _add(self, grid: QGridLayout, number: int, offer: Offer) -> None:
        top = Qt.AlignmentFlag.AlignTop
        mark = IconLabel("check", "good") if offer.fits else IconLabel("arrow-right", "muted")
        mark.setToolTip(tr("Fits") if offer.fits else tr("Helps, but is not enough alone"))
        title = label(say(offer.title), "strong", wrap=True)
        cost = tr(
            "about {peak} · {speed} · quality: {quality}",
            peak=format_bytes(offer.peak_bytes),
            speed=speed_words(offer),
            quality=say(offer.quality),
        )
        texts = QGridLayout()
        texts.setContentsMargins(0, 0, 0, 0)
        texts.setVerticalSpacing(2)
        texts.addWidget(title, 0, 0)
        texts.addWidget(label(cost, "", wrap=True), 1, 0)
        if offer.reason:
            texts.addWidget(label(say(offer.reason), "muted", wrap=True), 2, 0)
        take = button(tr("Apply"), partial(self._take, offer.edits), name=f"fit-offer-{number}")
        take.setAccessibleName(tr("Apply: {change}", change=say(offer.title)))
        grid.addWidget(mark, number, 0, top)
        grid.addLayout(texts, number, 1)
        grid.addWidget(take, number, 2, top)

    def _take(self, edits: tuple[Edit, ...]) -> None:
        self.taken.emit(edits)


def _icon(solution: Solution) -> tuple[str, str]:
    if solution.fits:
        return "circle-check", "good"
    return ("triangle-alert", "warn") if solution.best is not None else ("octagon-x", "bad")


def _plain_words(solution: Solution) -> str:
    if solution.fits:
        return tr("The run fits as it is.")
    return tr("The run does not fit as it is.")
