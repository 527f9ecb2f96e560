"""The largest that fits: length of rows, rank, tokens a pass, with all else as it is."""

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from core.errors import Edit
from core.spec.run_spec import field_at
from studio.look import tokens
from studio.pages.fit.answers import Limit
from studio.widgets.basics import Card, button, label
from studio.words import say, tr


class LimitsCard(Card):
    """One row for each setting.

    Attributes:
        taken: the edits that set one to its largest value.
    """

    taken = Signal(object)

    def __init__(self) -> None:
        super().__init__(
            tr("The largest that fits"), tr("How far one setting can go on this computer, with all others as they are.")
        )
        self.setObjectName("fit-limits")
        self._shown: tuple[Limit, ...] = ()
        self._rows = QWidget()
        self.add(self._rows)

    def show_limits(self, limits: tuple[Limit, ...]) -> None:
        """Shows other values."""
        if limits == self._shown:
            return
        self._shown = limits
        old = self._rows
        self._rows = QWidget()
        grid = QGridLayout(self._rows)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_4)
        grid.setVerticalSpacing(tokens.SPACE_2)
        grid.setColumnStretch(0, 1)
        for number, limit in enumerate(limits):
            self._add(grid, number, limit)
        self.body.replaceWidget(old, self._rows)
        old.hide()
        old.deleteLater()

    def _add(self, grid: QGridLayout, number: int, limit: Limit) -> None:
        title = say(field_at(limit.path).setting.title)
        now = f"{limit.now:,}" if limit.now else tr("automatic")
        grid.addWidget(label(title), number, 0)
        grid.addWidget(label(tr("now {value}", value=now), "muted"), number, 1)
        name = limit.path.rpartition(".")[2]
        if limit.largest is None:
            words = label(tr("none fits"), "bad")
        else:
            words = label(tr("up to {value}", value=f"{limit.largest:,}"), "strong")
        words.setObjectName(f"fit-largest-{name}")
        grid.addWidget(words, number, 2)
        if limit.largest is not None and limit.largest != limit.now:
            take = button(tr("Take"), partial(self._take, limit.path, limit.largest), name=f"fit-take-{name}")
            take.setAccessibleName(tr("Set {setting} to {value}", setting=title, value=f"{limit.largest:,}"))
            grid.addWidget(take, number, 3)

    def _take(self, path: str, value: int) -> None:
        self.taken.emit((Edit(path, value),))
