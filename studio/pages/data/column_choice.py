"""The parts of columns, chosen by a click on a heading of the table or in the fields above it."""

from collections.abc import Mapping

from PySide6.QtCore import QObject, QPoint, Qt
from PySide6.QtWidgets import QMenu

from core.data.mapping import assigned, current, forgotten, is_complete, mapping_edits, parts_of
from core.data.shapes import ANSWERS_OF_PAIR
from core.data.types import Shape
from studio.pages.data.columns import ColumnsEditor
from studio.pages.data.rows import RowsReader
from studio.pages.data.rows_table import RowsView, part_title
from studio.state.desk import Desk
from studio.words import tr


class ColumnChoice(QObject):
    """Opens the menu of a column and the fields, and puts what was chosen into the spec."""

    def __init__(self, desk: Desk, reader: RowsReader, table: RowsView, fields: ColumnsEditor) -> None:
        """``reader`` knows the file on show, ``table`` shows its rows, ``fields`` are its columns' parts."""
        super().__init__(table)
        self._desk, self._reader, self._table, self._fields = desk, reader, table, fields
        table.column_asked.connect(self._show_menu)
        fields.closed.connect(self._closed)

    def menu(self, section: int) -> QMenu:
        """The parts that a column can play, and the ways to the fields and back."""
        menu = QMenu(self._table)
        column = self._table.rows.column_name(section)
        now = self._table.rows.part_of(column)
        data = self._desk.session.spec.data
        for part in parts_of(data, self._shape()):
            entry = menu.addAction(part_title(part))
            entry.setCheckable(True)
            entry.setChecked(part == now)
            entry.setData(part)
            entry.triggered.connect(lambda _checked=False, part=part: self.assign(part, column))
        menu.addSeparator()
        menu.addAction(tr("Combine columns…")).triggered.connect(lambda _checked=False: self.begin())
        if data.mapping or data.format != "auto":
            back = menu.addAction(tr("Recognise by itself"))
            back.triggered.connect(lambda _checked=False: self._desk.session.apply(forgotten()))
        return menu

    def assign(self, part: str, column: str) -> None:
        """Lets a column play a part. A part that needs another one beside it is asked for in the fields."""
        session, shape = self._desk.session, self._shape()
        mapping = assigned(session.spec.data, shape, part, column)
        if is_complete(mapping, pairs=self._wants_pairs()):
            session.apply(mapping_edits(session.spec.data, shape, mapping))
        else:
            self._open(mapping)

    def begin(self) -> None:
        """Opens the fields on what counts now."""
        self._open(current(self._desk.session.spec.data, self._shape()))

    def show_row(self) -> None:
        """Shows in the fields what the chosen row gives for each part."""
        chosen = self._table.rows.row_at(self._table.currentIndex().row())
        self._fields.show_row(chosen.row if chosen is not None else None)

    def _show_menu(self, section: int, at: QPoint) -> None:
        file = self._reader.file
        if file is None or not file.preview.columns:
            return
        menu = self.menu(section)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(at)

    def _open(self, mapping: Mapping[str, str]) -> None:
        file = self._reader.file
        if file is None:
            return
        self._fields.begin(file.preview.columns, file.preview.shape, mapping)
        self.show_row()
        is_pair = self._wants_pairs() or bool({*ANSWERS_OF_PAIR} & {*mapping})
        needed = ANSWERS_OF_PAIR if is_pair else ("prompt", "completion")
        missing = next((part for part in needed if part not in mapping), "")
        is_half = is_pair or bool({*needed} & {*mapping})
        first = missing if is_half and missing else next(iter(mapping), "prompt")
        self._fields.fields[first].setFocus(Qt.FocusReason.OtherFocusReason)

    def _closed(self) -> None:
        self._fields.hide()
        self._table.setFocus(Qt.FocusReason.OtherFocusReason)

    def _wants_pairs(self) -> bool:
        return self._desk.session.spec.data.train_on == "preferences"

    def _shape(self) -> Shape | None:
        return self._reader.file.preview.shape if self._reader.file is not None else None
