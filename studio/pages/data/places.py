"""The rows that a finding is about, as a list: where each stands, and the words that it is about."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from core.data.report.types import RowPlace
from studio.look import tokens
from studio.look.theme import look
from studio.widgets.tables import as_list
from studio.words import tr

_TIP_LETTERS = 400
_WIDEST_PLACE, _LEAST_EXCERPT = 150, 160
_CELL_PADDING = 24
_Index = QModelIndex | QPersistentModelIndex
_Role = Qt.ItemDataRole


def place_words(place: RowPlace) -> str:
    """Where a row stands, as editors write it; its number in files that have no lines."""
    name = Path(place.part or place.file).name
    if place.line is None:
        return tr("{file}, row {n}", file=name, n=f"{place.row + 1:,}")
    return f"{name}:{place.line}"


class PlacesModel(QAbstractTableModel):
    """Places and excerpts."""

    def __init__(self) -> None:
        super().__init__()
        self.places: tuple[RowPlace, ...] = ()
        self._metrics: QFontMetrics | None = None
        self._room = 0

    def fit_places(self, metrics: QFontMetrics, room: int) -> None:
        """How wide places may be: of longer ones the name is shortened, never the number behind it."""
        self._metrics, self._room = metrics, room

    def _shortened(self, place: RowPlace) -> str:
        words = place_words(place)
        if self._metrics is None or self._metrics.horizontalAdvance(words) <= self._room:
            return words
        name = Path(place.part or place.file).name
        number = words.removeprefix(name)
        room = self._room - self._metrics.horizontalAdvance(number)
        return self._metrics.elidedText(name, Qt.TextElideMode.ElideRight, max(0, room)) + number

    def show_places(self, places: Sequence[RowPlace]) -> None:
        """Lists other rows."""
        self.beginResetModel()
        self.places = tuple(places)
        self.endResetModel()

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """One line a row."""
        return 0 if parent is not None and parent.isValid() else len(self.places)

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """Place and excerpt."""
        return 0 if parent is not None and parent.isValid() else 2

    def data(self, index: _Index, role: int = _Role.DisplayRole) -> Any:
        """Text, tip and colour."""
        place = self.places[index.row()]
        is_place = index.column() == 0
        if role == _Role.DisplayRole and is_place:
            return self._shortened(place)
        if role in (_Role.DisplayRole, _Role.AccessibleTextRole):
            return place_words(place) if is_place else place.excerpt
        if role == _Role.ToolTipRole:
            return f"{place.file}\n{place.part}".strip() if is_place else place.excerpt[:_TIP_LETTERS]
        if role == _Role.ForegroundRole and is_place:
            return QColor(look().colors.muted)
        return None


class PlacesView(QTableView):
    """The list; arrow keys go along it.

    Attributes:
        chosen: the `RowPlace` that became the current one.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._model = PlacesModel()
        self.setModel(self._model)
        self.setObjectName("finding-rows")
        self.setAccessibleName(tr("Rows that this is about"))
        as_list(self)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.horizontalHeader().hide()
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setMinimumSectionSize(1)
        lines = self.verticalHeader()
        lines.hide()
        lines.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        lines.setDefaultSectionSize(look().px(tokens.CONTROL))
        self.selectionModel().currentRowChanged.connect(self._moved)

    def show_places(self, places: Sequence[RowPlace], current: RowPlace | None = None) -> None:
        """Lists other rows, and makes one of them the current one: the one asked for, or else the first."""
        self._model.show_places(places)
        self._share_width()
        if places:
            self.selectRow(places.index(current) if current in places else 0)

    @property
    def places(self) -> tuple[RowPlace, ...]:
        """What is listed."""
        return self._model.places

    @property
    def current(self) -> RowPlace | None:
        """The row that is chosen."""
        place = self.currentIndex().row()
        return self.places[place] if 0 <= place < len(self.places) else None

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Nine rows."""
        return QSize(look().px(320), look().px(9 * tokens.CONTROL))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Shares the width anew."""
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        """Places are as wide as their words, within reason: what the rows say is worth more."""
        metrics = QFontMetrics(self.font())
        widest = max((metrics.horizontalAdvance(place_words(place)) for place in self.places), default=0) + 2
        most = max(look().px(60), min(look().px(_WIDEST_PLACE), self.viewport().width() - look().px(_LEAST_EXCERPT)))
        room = min(widest, most)
        self._model.fit_places(metrics, room)
        self.setColumnWidth(0, room + _CELL_PADDING)

    def _moved(self, current: QModelIndex, _before: QModelIndex) -> None:
        if current.isValid():
            self.chosen.emit(self.places[current.row()])
