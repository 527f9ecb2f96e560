"""The same run on other GPUs: a table that is searched by name or size, and the smallest card that fits."""

from html import escape
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QTableView

from core.errors import UserError
from core.plan.cards import CARDS, Card, find_cards
from core.plan.what_if import CardPlan
from core.units import format_bytes, format_duration
from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import Card as CardFrame
from studio.widgets.basics import label, row
from studio.widgets.verdicts import VERDICT_MARKS, verdict_word
from studio.words import say, tr

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("card", "memory", "verdict", "peak", "weights", "recomputed", "time", "energy")
SORT_ROLE = Qt.ItemDataRole.UserRole + 1
_LEAST_IMPORTANT = (("energy", 860), ("recomputed", 800), ("memory", 660), ("weights", 560))
"""Columns that go first where the table is narrow, and the width below which each goes."""
_VERDICT_ORDER = ("fits", "tight", "does_not_fit", "unknown")
_OBSTACLE = ("octagon-x", "bad")
_MOST_ROWS = 14
_TYPED = "fit cards"


class CardsModel(QAbstractTableModel):
    """What the run would come to, one row for each card."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: tuple[CardPlan, ...] = ()
        self._titles = {
            "card": tr("GPU"),
            "memory": tr("Memory"),
            "verdict": tr("Verdict"),
            "peak": tr("Needs"),
            "weights": tr("Weights"),
            "recomputed": tr("Recomputed"),
            "time": tr("Time"),
            "energy": tr("Energy"),
        }

    def show_plans(self, plans: tuple[CardPlan, ...]) -> None:
        """Takes other plans; where the same cards are in them, only cells change, so that a selection stays."""
        if [plan.card for plan in plans] == [plan.card for plan in self.plans]:
            self.plans = plans
            if plans:
                self.dataChanged.emit(self.index(0, 0), self.index(len(plans) - 1, len(COLUMNS) - 1))
            return
        self.beginResetModel()
        self.plans = plans
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """One row for each card."""
        return 0 if parent is not None and parent.isValid() else len(self.plans)

    def columnCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """See `COLUMNS`."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 (Qt's name)
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The columns' titles."""
        if orientation is Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return self._titles[COLUMNS[section]]
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(COLUMNS[section])
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A cell."""
        plan, name = self.plans[index.row()], COLUMNS[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return cell(plan, name)
        if role == SORT_ROLE:
            return _sort_value(plan, name)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(name)
        if role == Qt.ItemDataRole.DecorationRole and name == "verdict":
            return icon(*(_OBSTACLE if plan.obstacle else VERDICT_MARKS[plan.verdict]))
        if role == Qt.ItemDataRole.ToolTipRole and plan.obstacle:
            return f"<p>{escape(say(plan.obstacle))}</p>"
        return None


def cell(plan: CardPlan, name: str) -> str:
    """What a cell says."""
    weights = {"none": tr("16 bits"), "nf4": tr("4 bits"), "int8": tr("8 bits")}
    duration = None if plan.verdict == "does_not_fit" else plan.duration  # a run that cannot be has no time
    if name == "time":
        return format_duration(duration.seconds) if duration is not None else "–"
    if name == "energy":
        return (
            tr("{n} Wh", n=f"{duration.watt_hours:,.0f}") if duration is not None and duration.watt_hours > 0 else "–"
        )
    return {
        "card": plan.card.name,
        "memory": format_bytes(plan.card.memory_bytes),
        "verdict": tr("Cannot run") if plan.obstacle else verdict_word(plan.verdict),
        "peak": format_bytes(plan.peak_bytes) if plan.peak_bytes else "–",
        "weights": weights[plan.quantization],
        "recomputed": f"{plan.checkpointed_layers:,}",
    }[name]


class CardsCard(CardFrame):
    """The card on the page.

    Attributes:
        asked: other cards are wanted.
    """

    asked = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("On other GPUs"), tr("This run as it would be planned for another card, with all of its memory free.")
        )
        self.setObjectName("fit-cards")
        self._desk = desk
        self.smallest = label("", wrap=True)
        self.smallest.setObjectName("fit-smallest")
        self.add(self.smallest)
        self.search = QLineEdit()
        self.search.setObjectName("fit-card-search")
        self.search.setPlaceholderText(tr("Names or sizes, such as “4090, L4, 16 GB”"))
        self.search.setAccessibleName(tr("GPUs to compare"))
        self.search.setClearButtonEnabled(True)
        self.search.addAction(icon("search", "muted"), QLineEdit.ActionPosition.LeadingPosition)
        self.search.setText(str(desk.memory.get(_TYPED, "")))
        self.search.textChanged.connect(self.asked)
        self.add(row(self.search))
        self.trouble = label("", "warn", wrap=True)
        self.trouble.setObjectName("fit-card-trouble")
        self.trouble.hide()
        self.add(self.trouble)
        self.model = CardsModel()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.model)
        self._sorted.setSortRole(SORT_ROLE)
        self._scrolled_for: Card | None = None
        self.table = self._make_table()
        self.add(self.table)

    def wanted(self) -> tuple[Card, ...]:
        """The cards that the search names; all of them while it names none."""
        names = [part.strip() for part in self.search.text().split(",") if part.strip()]
        self.trouble.hide()
        found: dict[str, Card] = {}
        for name in names:
            try:
                found.update((card.name, card) for card in find_cards(name))
            except UserError as refusal:
                self.trouble.setText(say(refusal.problems[0].message))
                self.trouble.show()
        return tuple(found.values()) or CARDS

    def show_plans(self, plans: tuple[CardPlan, ...], smallest: Card | None) -> None:
        """Shows other plans."""
        self._desk.memory[_TYPED] = self.search.text()
        self.model.show_plans(plans)
        if smallest is None:
            self.smallest.setText(tr("No single card of the list is large enough for this run."))
        else:
            words = tr("The smallest card that fits: {card}, {size}.", card=smallest.name,
                       size=format_bytes(smallest.memory_bytes))  # fmt: skip
            self.smallest.setText(words)
        self._fit_height()
        self._scroll_to(smallest)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Leaves columns out that have no room."""
        super().resizeEvent(event)
        for name, least in _LEAST_IMPORTANT:
            self.table.setColumnHidden(COLUMNS.index(name), self.width() < look().px(least))

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setObjectName("fit-table")
        table.setAccessibleName(tr("This run on other GPUs"))
        table.setModel(self._sorted)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.setSortingEnabled(True)
        table.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # as the list of cards has them
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(look().px(tokens.CONTROL))
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(COLUMNS.index("card"), QHeaderView.ResizeMode.Stretch)
        return table

    def _scroll_to(self, smallest: Card | None) -> None:
        """Shows the first card that fits, with a few that do not above it, wherever the list is long."""
        shown, self._scrolled_for = self._scrolled_for, smallest
        if smallest == shown:
            return  # where the user has scrolled to since
        names = [plan.card for plan in self.model.plans]
        if smallest is None or smallest not in names:
            self.table.scrollToTop()
            return
        at = self._sorted.mapFromSource(self.model.index(names.index(smallest), 0))
        self.table.scrollTo(at, QAbstractItemView.ScrollHint.PositionAtCenter)

    def _fit_height(self) -> None:
        """As many rows as there are, up to a screenful; more scroll."""
        count = min(max(1, self.model.rowCount()), _MOST_ROWS)
        height = count * self.table.verticalHeader().defaultSectionSize()
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + height + 4)


def _alignment(name: str) -> Qt.AlignmentFlag:
    left = name in ("card", "verdict", "weights")
    return (Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight) | Qt.AlignmentFlag.AlignVCenter


def _sort_value(plan: CardPlan, name: str) -> Any:
    unknown = float("inf")
    values: dict[str, Any] = {
        "card": plan.card.name,
        "memory": plan.card.memory_bytes,
        "verdict": len(_VERDICT_ORDER) if plan.obstacle else _VERDICT_ORDER.index(plan.verdict),
        "peak": plan.peak_bytes or unknown,
        "weights": plan.quantization,
        "recomputed": plan.checkpointed_layers,
        "time": plan.duration.seconds if plan.duration is not None else unknown,
        "energy": plan.duration.watt_hours if plan.duration is not None else unknown,
    }
    return values[name]
