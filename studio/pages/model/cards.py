"""A list of cards: what a model is called, its numbers, where it lies. Arrows move; Enter, Space and clicks choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QPainter, QPen, QShowEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look

_DATA = Qt.ItemDataRole.UserRole
_ICON = 18
_LOWEST = 260


@dataclass(frozen=True, slots=True)
class CardData:
    """What a card shows.

    Attributes:
        key: identifies it.
        numbers: the line below the title; `place` the one below that.
        icon: of where it comes from.
        mark: a word at the right end of the numbers, such as a warning; `tone` its colour.
        chosen: it is the one in use; `shown`: it is only looked at.
        tip: what stands under the mouse, by default the place.
    """

    key: str
    title: str
    numbers: str
    place: str
    icon: str
    mark: str = ""
    tone: str = "muted"
    chosen: bool = False
    shown: bool = False
    tip: str = ""

    @property
    def spoken(self) -> str:
        """All of it, for screen readers."""
        return ", ".join(part for part in (self.title, self.mark, self.numbers, self.place) if part)


class CardModel(QAbstractListModel):
    """The cards; rows that only change keep their place."""

    def __init__(self) -> None:
        super().__init__()
        self.cards: tuple[CardData, ...] = ()

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """How many cards."""
        return 0 if parent is not None and parent.isValid() else len(self.cards)

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The card, or its words."""
        if not index.isValid() or index.row() >= len(self.cards):
            return None
        card = self.cards[index.row()]
        if role == _DATA:
            return card
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return card.spoken
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"<p>{escape(card.tip or card.place)}</p>"
        return None

    def show(self, cards: Sequence[CardData]) -> None:
        """Shows other cards."""
        fresh = tuple(cards)
        if fresh == self.cards:
            return
        if [card.key for card in fresh] == [card.key for card in self.cards]:
            self.cards = fresh
            self.dataChanged.emit(self.index(0), self.index(len(fresh) - 1))
            return
        self.beginResetModel()
        self.cards = fresh
        self.endResetModel()


class CardDelegate(QStyledItemDelegate):
    """Paints a card."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: QModelIndex | QPersistentModelIndex) -> QSize:  # noqa: N802 (Qt's name)
        """Three lines and a margin."""
        return QSize(look().px(200), 3 * _line_height(option.font) + 22)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Background, icon, three lines, and the mark of the chosen one."""
        card: CardData = index.data(_DATA)
        c = look().colors
        state: QStyle.StateFlag = option.state
        box: QRect = option.rect.adjusted(4, 2, -4, -2)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        focused = bool(state & QStyle.StateFlag.State_HasFocus)
        hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        if card.chosen or card.shown or focused or hovered:
            painter.setPen(QPen(QColor(c.accent), 2) if focused else QPen(Qt.PenStyle.NoPen))
            painter.setBrush(QColor(c.accent_soft if card.chosen or card.shown else c.hover if hovered else c.panel))
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), tokens.RADIUS, tokens.RADIUS)
        self._write(painter, option.font, box.adjusted(12, 9, -12, -7), card)
        painter.restore()

    def _write(self, painter: QPainter, font: QFont, box: QRect, card: CardData) -> None:
        c = look().colors
        ratio = painter.device().devicePixelRatio()
        step = _line_height(font)
        lower = max(0, (step - _ICON) // 2)
        painter.drawPixmap(box.topLeft() + QPoint(0, lower), pixmap(card.icon, "muted", _ICON, ratio))
        left = box.left() + _ICON + 10
        right = box.right()
        if card.chosen:
            painter.drawPixmap(right - _ICON, box.top() + lower, pixmap("check", "accent", _ICON, ratio))
            right -= _ICON + 6
        small = QFont(font)
        small.setPixelSize(look().px(tokens.SMALL))
        bold = QFont(font)
        bold.setWeight(QFont.Weight.DemiBold)
        middle, end = Qt.TextElideMode.ElideMiddle, Qt.TextElideMode.ElideRight
        _line(painter, bold, c.text, QRect(left, box.top(), right - left, step), card.title, middle)
        wide = box.right() - left
        used = QFontMetrics(small).horizontalAdvance(card.mark) + 10 if card.mark else 0
        marked = QRect(box.right() - used, box.top() + step, used, step)
        _line(painter, small, getattr(c, card.tone), marked, card.mark, end, Qt.AlignmentFlag.AlignRight)
        _line(painter, small, c.muted, QRect(left, box.top() + step, wide - used, step), card.numbers, end)
        _line(painter, small, c.muted, QRect(left, box.top() + 2 * step, wide, step), card.place, middle)


class CardView(QListView):
    """The list.

    Attributes:
        picked: the key of the card that the user chose with a click, Enter or Space.
    """

    picked = Signal(str)

    def __init__(self, name: str, object_name: str) -> None:
        """``name`` is what screen readers call the list."""
        super().__init__()
        self.cards = CardModel()
        self.setModel(self.cards)
        self.setItemDelegate(CardDelegate(self))
        self.setAccessibleName(name)
        self.setObjectName(object_name)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setTabKeyNavigation(False)
        self.clicked.connect(self._pick)

    def show_cards(self, cards: Sequence[CardData]) -> None:
        """Shows other cards; the one with the cursor keeps it."""
        current = self.currentIndex().row()
        key = self.cards.cards[current].key if 0 <= current < len(self.cards.cards) else ""
        self.cards.show(cards)
        self._fit_height()
        if not self.currentIndex().isValid():
            wanted = key or next((card.key for card in cards if card.chosen or card.shown), "")
            self.move_to(wanted)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Begins at the card with the cursor, which had no place to be scrolled to before."""
        super().showEvent(event)
        QTimer.singleShot(0, self, self._centre)

    def _centre(self) -> None:
        self.scrollTo(self.currentIndex(), QAbstractItemView.ScrollHint.PositionAtCenter)

    def _fit_height(self) -> None:
        """No taller than its cards, and at least as tall as a few of them."""
        content = self.sizeHintForRow(0) * len(self.cards.cards) + 2 * self.frameWidth() + 8
        self.setMaximumHeight(content)
        self.setMinimumHeight(min(content, look().px(_LOWEST)))

    def move_to(self, key: str) -> None:
        """Puts the cursor on a card, by default on the first; chooses nothing."""
        row = next((row for row, card in enumerate(self.cards.cards) if card.key == key), 0)
        if self.cards.cards:
            self.setCurrentIndex(self.cards.index(row))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter and Space choose."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._pick(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _pick(self, index: QModelIndex) -> None:
        card = index.data(_DATA) if index.isValid() else None
        if isinstance(card, CardData):
            self.picked.emit(card.key)


def _line_height(font: QFont) -> int:
    return QFontMetrics(font).height() + 3


def _line(
    painter: QPainter,
    font: QFont,
    color: str,
    box: QRect,
    text: str,
    mode: Qt.TextElideMode,
    side: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> None:
    painter.setFont(font)
    painter.setPen(QColor(color))
    shown = QFontMetrics(font).elidedText(text, mode, box.width())
    painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | side, shown)
