"""The rows of a file as a table that reads on as one scrolls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from core.data.cells import find_column, is_template, template_columns
from core.data.preview import PreviewRow
from core.errors import Problem
from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.widgets.tables import as_list
from studio.words import say, tr

CELL_LETTERS = 240
_COLUMN_WIDTH, _WIDEST = 128, 240
_Index = QModelIndex | QPersistentModelIndex
_Role = Qt.ItemDataRole


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a file, ready to be shown.

    Attributes:
        line: where it begins in the file (the row's number in files without lines).
        cells: the beginning of each column's value, by column.
        row: the row itself.
    """

    line: int
    cells: Mapping[str, str]
    row: PreviewRow

    @property
    def problem(self) -> Problem | None:
        """Why the row cannot be used."""
        return self.row.problem


class RowsModel(QAbstractTableModel):
    """Rows that have been read so far; wants more while there are some.

    Attributes:
        wanted: the view has come to the end of what is there.
    """

    wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[TableRow] = []
        self._columns: list[str] = []
        self._parts: dict[str, str] = {}
        self._combined: dict[str, str] = {}
        self._is_asking = False
        self.has_more = False

    def begin(self, columns: Sequence[str], parts: Mapping[str, str]) -> None:
        """Empties the table; ``parts`` says which column, or which template of several, plays which part."""
        self.beginResetModel()
        self._rows, self._columns = [], list(columns)
        self._parts = {column: part for part, column in parts.items()}
        self._combined = _combined(columns, parts)
        self._is_asking, self.has_more = False, False
        self.endResetModel()

    def extend(self, rows: Sequence[TableRow], *, has_more: bool) -> None:
        """Puts further rows at the end."""
        self._is_asking, self.has_more = False, has_more
        fresh = [name for row in rows for name in row.cells]
        columns = [name for name in dict.fromkeys(fresh) if name not in self._columns]
        if columns or not self._columns:
            columns = columns or [tr("Content")]
            self.beginInsertColumns(QModelIndex(), len(self._columns), len(self._columns) + len(columns) - 1)
            self._columns += columns
            self.endInsertColumns()
        if rows:
            self.beginInsertRows(QModelIndex(), len(self._rows), len(self._rows) + len(rows) - 1)
            self._rows.extend(rows)
            self.endInsertRows()

    def row_at(self, index: int) -> TableRow | None:
        """A row by its place in the table."""
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def column_name(self, section: int) -> str:
        """The name of a column by its place."""
        return self._columns[section]

    def part_of(self, column: str) -> str:
        """The part that a column plays alone; empty for none."""
        return self._parts.get(column, "")

    def place_of(self, line: int) -> int:
        """The place of the row that begins at or before a line of the file; -1 if it has not been read yet."""
        import bisect

        if not self._rows or (line > self._rows[-1].line and self.has_more):
            return -1
        return bisect.bisect_right(self._rows, line, key=lambda row: row.line) - 1

    # --- what Qt asks

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """How many rows have been read."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """How many columns these rows have together."""
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def canFetchMore(self, parent: _Index) -> bool:  # noqa: N802 (Qt's name)
        """Whether the file goes on."""
        return not parent.isValid() and self.has_more and not self._is_asking

    def fetchMore(self, parent: _Index) -> None:  # noqa: N802 (Qt's name)
        """Asks for more; they arrive by `extend`."""
        if self.canFetchMore(parent):
            self._is_asking = True
            self.wanted.emit()

    def data(self, index: _Index, role: int = _Role.DisplayRole) -> Any:
        """A cell's text, tip, icon and colour."""
        row = self._rows[index.row()]
        if row.problem is not None and index.column() == 0:
            return self._broken(row.problem, role)
        if role in (_Role.DisplayRole, _Role.ToolTipRole):
            text = row.cells.get(self._columns[index.column()], "")
            return text if role == _Role.DisplayRole else text[:CELL_LETTERS]
        return None

    def _broken(self, problem: Problem, role: int) -> Any:
        if role in (_Role.DisplayRole, _Role.ToolTipRole, _Role.AccessibleTextRole):
            return say(problem.message)
        if role == _Role.DecorationRole:
            return icon("octagon-x", "bad", 16)
        if role == _Role.ForegroundRole:
            return QColor(look().colors.bad)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole) -> Any:  # noqa: N802 (Qt's name)
        """Column names with the part that each plays, and line numbers."""
        if orientation is Qt.Orientation.Vertical:
            if role == _Role.DisplayRole:
                return f"{self._rows[section].line:,}"
            if role == _Role.ForegroundRole and self._rows[section].problem is not None:
                return QColor(look().colors.bad)
            return None
        name = self._columns[section]
        part = self._parts.get(name) or self._combined.get(name, "")
        if role == _Role.DisplayRole:
            return name if not part or part == name else tr("{column} → {part}", column=name, part=part_title(part))
        if role == _Role.ToolTipRole:
            if not part:
                return tr("Click to say which part this column plays.")
            return tr("This column plays the part “{part}”. Click to change that.", part=part_title(part))
        if role == _Role.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return None


class RowsView(QTableView):
    """The table: one line a row, the row's line number in front, broken rows across all columns.

    Attributes:
        chosen: the place of the row that became the current one.
        column_asked: the place of a column whose heading was clicked, and where on the screen a menu may open.
    """

    chosen = Signal(int)
    column_asked = Signal(int, object)

    def __init__(self, model: RowsModel) -> None:
        super().__init__()
        self._model = model
        self.setModel(model)
        self.setObjectName("rows-table")
        self.setAccessibleName(tr("Rows of the file"))
        as_list(self)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setCornerButtonEnabled(False)
        self.setIconSize(QSize(16, 16))
        lines = self.verticalHeader()
        lines.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        lines.setDefaultSectionSize(look().px(tokens.CONTROL))
        lines.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        lines.setSectionsClickable(True)
        lines.setHighlightSections(False)
        names = self.horizontalHeader()
        names.setDefaultSectionSize(look().px(_COLUMN_WIDTH))
        names.setStretchLastSection(True)
        names.setHighlightSections(False)
        names.setTextElideMode(Qt.TextElideMode.ElideRight)
        names.setSectionsClickable(True)
        names.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        names.customContextMenuRequested.connect(lambda at: self._ask(names.logicalIndexAt(at)))
        names.sectionClicked.connect(self._ask)
        model.rowsInserted.connect(self._arrived)
        model.modelReset.connect(self._share_width)
        model.columnsInserted.connect(self._share_width)
        self.selectionModel().currentRowChanged.connect(self._moved)

    @property
    def rows(self) -> RowsModel:
        """What the table shows."""
        return self._model

    def choose(self, place: int) -> None:
        """Makes a row the current one and brings it into sight."""
        self.selectRow(place)
        self.scrollTo(self._model.index(place, 0), QAbstractItemView.ScrollHint.PositionAtCenter)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A dozen rows."""
        return QSize(look().px(320), look().px(320))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """The menu key, and Shift with F10, ask about the column of the current cell."""
        shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if event.key() == Qt.Key.Key_Menu or (event.key() == Qt.Key.Key_F10 and shifted):
            self._ask(max(0, self.currentIndex().column()))
            return
        super().keyPressEvent(event)

    def _ask(self, section: int) -> None:
        names = self.horizontalHeader()
        if 0 <= section < self._model.columnCount():
            at = QPoint(names.sectionViewportPosition(section), names.height())
            self.column_asked.emit(section, names.viewport().mapToGlobal(at))

    def _arrived(self, _parent: QModelIndex, first: int, last: int) -> None:
        columns = self._model.columnCount()
        for place in range(first, last + 1):
            row = self._model.row_at(place)
            if row is not None and row.problem is not None and columns > 1:
                self.setSpan(place, 0, 1, columns)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Shares the width anew."""
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        """Few columns fill the width, many keep one in which their heading can be read, and scroll."""
        count = max(1, self._model.columnCount())
        wide = max(look().px(_COLUMN_WIDTH), self.viewport().width() // count)
        names = self.horizontalHeader()
        for place in range(count):
            heading = min(names.sectionSizeHint(place), look().px(_WIDEST))
            self.setColumnWidth(place, max(wide, heading))

    def _moved(self, current: QModelIndex, _before: QModelIndex) -> None:
        if current.isValid():
            self.chosen.emit(current.row())


def part_title(part: str) -> str:
    """A part that a column plays, as people say it."""
    known = {
        "prompt": tr("Prompt"), "input": tr("Input"), "completion": tr("Answer"), "system": tr("System text"),
        "messages": tr("Conversation"), "text": tr("Running text"), "history": tr("Earlier turns"),
        "tools": tr("Tools"), "chosen": tr("Chosen answer"), "rejected": tr("Rejected answer"),
        "label": tr("Approval"),
    }  # fmt: skip
    return known.get(part, part)


def _combined(columns: Sequence[str], parts: Mapping[str, str]) -> dict[str, str]:
    """The columns that play a part together with others, each with the first part that names it."""
    found: dict[str, str] = {}
    for part, text in parts.items():
        if text not in columns and is_template(text):
            for name in template_columns(text):
                found.setdefault(find_column(columns, (name,)) or name, part)
    return found


def cell_text(value: object) -> str:
    """The beginning of a value on one line; turns of a conversation as “role: words”."""
    if isinstance(value, str):
        return _flat(value)
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return _flat(" · ".join(_turn(item) for item in value[:8]))
    return _plain(value)


def _turn(item: object) -> str:
    if isinstance(item, Mapping):
        role = item.get("role", item.get("from"))
        words = item.get("content", item.get("value"))
        if isinstance(role, str) and isinstance(words, str):
            return f"{role}: {words[:CELL_LETTERS]}"
    return _plain(item)


def _plain(value: object) -> str:
    import json

    if isinstance(value, str):
        return _flat(value)
    pieces, held = [], 0
    for piece in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        pieces.append(piece)
        held += len(piece)
        if held > CELL_LETTERS:
            break
    return _flat("".join(pieces))


def _flat(text: str) -> str:
    return " ".join(text[: 2 * CELL_LETTERS].split())[:CELL_LETTERS]
