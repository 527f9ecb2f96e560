"""The file on show: what it was recognised as, its rows on the left, one row on the right."""

from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.data.types import Sample, Shape
from core.errors import Problem
from core.spec.hub_data import is_hub_data, short_name
from core.spec.run_spec import field_at
from core.units import format_bytes, format_share
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.column_choice import ColumnChoice
from studio.pages.data.columns import ColumnsEditor
from studio.pages.data.rows import Batch, OpenFile, RowsReader
from studio.pages.data.rows_table import RowsModel, RowsView, TableRow
from studio.pages.data.sample import SampleReader
from studio.pages.data.sample_view import SampleFacts, SampleView
from studio.state.desk import Desk
from studio.widgets.basics import Card, Elided, Pill, button, label, row
from studio.widgets.split import Split
from studio.words import say, tr, tr_count

_SETTLE_MS = 200
_HEIGHT = 380
_MORE_FOR_PAIRS = 100
_LEAST_WIDTH, _NARROW = 300, 600
_READ_BY = frozenset(
    ("data.format", "data.mapping", "data.bad_rows", "data.encoding", "data.text_rows", "data.text_separator")
)
"""The settings that decide how a file is read and understood."""

_FORMATS = {
    "jsonl": "JSON Lines", "json": "JSON", "csv": "CSV", "tsv": "TSV", "parquet": "Parquet", "text": "Plain text file"
}  # fmt: skip


class RowsCard(Card):
    """Rows of the chosen file and the chosen row.

    Attributes:
        problems_changed: `problems` are others.
    """

    problems_changed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Rows"))
        self._desk = desk
        self._path = ""
        self._wanted_line = 0
        self._wants_pairs = False
        self.problems: tuple[Problem, ...] = ()
        self.reader = RowsReader(self)
        self.samples = SampleReader(desk, self)
        self.model = RowsModel()
        self.table = RowsView(self.model)
        self.sample = SampleView(desk)
        self._name = Elided("", "muted", mode=Qt.TextElideMode.ElideMiddle)
        self._read = Elided("", "muted")
        self._format, self._shape = Pill(), Pill("", "accent")
        self.head.insertWidget(1, self._name, 1)
        self.head.setStretch(2, 0)  # the path gets the room that stands empty otherwise
        self.head.addWidget(self._format)
        self.head.addWidget(self._shape)
        self._reason = label("", "help", wrap=True)
        self.columns = ColumnsEditor(desk)
        self.choice = ColumnChoice(desk, self.reader, self.table, self.columns)
        self.change = button(tr("Change columns…"), self.choice.begin, role="quiet", name="change-columns")
        self.change.hide()
        top = row(self._reason, self.change)
        top.setStretch(0, 1)
        self.add(top)
        self.add(self.columns)
        self.splitter = self._make_rows()
        self.add(self.splitter)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._open)
        self.reader.opened.connect(self._opened)
        self.reader.grew.connect(self._grew)
        self.reader.refused.connect(self._refused)
        self.samples.ready.connect(self._sample_ready)
        self.model.wanted.connect(self.reader.more)
        self.table.chosen.connect(self._row_chosen)
        desk.session.spec_changed.connect(self._spec_changed)
        desk.session.facts_changed.connect(self._facts_changed)

    def _make_rows(self) -> Split:
        """The table on the left, the chosen row on the right."""
        left = QWidget()
        left_box = QVBoxLayout(left)
        left_box.setContentsMargins(0, 0, 0, 0)
        left_box.setSpacing(tokens.SPACE_2)
        left_box.addWidget(self.table, 1)
        left_box.addWidget(self._read)
        made = Split(left, self.sample)
        # narrower than both halves: then they go below each other
        made.setMinimumWidth(look().px(_LEAST_WIDTH))
        return made

    def show_file(self, path: str) -> None:
        """Shows another file; none for an empty path."""
        self._path = path
        self._wanted_line = 0
        self.setVisible(bool(path))
        self._open()

    def show_line(self, line: int) -> None:
        """Makes the row at a line the current one, reading up to it where that is needed."""
        self._wanted_line = line
        self._seek()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Puts the row below the table where both do not fit side by side."""
        super().resizeEvent(event)
        self._stand()

    def _stand(self) -> None:
        narrow = self.width() < look().px(_NARROW)
        more = _MORE_FOR_PAIRS if self._wants_pairs else 0  # two answers are longer than one
        self.splitter.stand(upright=narrow)
        self.splitter.setMinimumHeight(look().px(_HEIGHT) * (2 if narrow else 1) + look().px(more))

    def close_file(self) -> None:
        """Reads no further."""
        self.reader.close()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        wants_pairs = self._desk.session.spec.data.train_on == "preferences"
        if paths & _READ_BY or ("data.train_on" in paths and wants_pairs is not self._wants_pairs):
            self._timer.start()
        if paths & {"data.max_length", "data.train_on", "data.template", "data.repairs"}:
            self._read_sample()

    def _facts_changed(self, name: str) -> None:
        if name == "model":
            self._read_sample()

    def _open(self) -> None:
        self.model.begin((), {})
        self.sample.clear()
        self.samples.forget()
        self._set_problems(())
        self._name.set_text(short_name(self._path) if is_hub_data(self._path) else self._path)
        self._format.hide()
        self._shape.hide()
        self.columns.ask(())
        self.change.hide()
        self._reason.setText(tr("Reading the file…") if self._path else "")
        self._reason.show()
        self._read.set_text("")
        data = self._desk.session.spec.data
        self._wants_pairs = data.train_on == "preferences"
        self._stand()
        self.reader.open(self._path, data)

    def _opened(self, file: OpenFile) -> None:
        preview = file.preview
        self.model.begin(preview.columns, preview.shape.columns if preview.shape is not None else {})
        kind = _FORMATS.get(preview.file.format, preview.file.format)
        self._format.show_text(tr("{kind}, gzip", kind=kind) if preview.file.compressed else kind, "muted")
        self._format.setToolTip(format_bytes(preview.file.bytes))
        self._format.show()
        self._shape.setVisible(preview.shape is not None)
        self.columns.ask(preview.columns if preview.shape is None else ())
        if preview.shape is not None:
            self._shape.show_text(_shape_title(preview.shape.name), "accent")
        self._reason.setText(_reason_words(preview.shape) if preview.shape is not None else "")
        self._reason.setVisible(preview.shape is not None)
        self.change.setVisible(preview.shape is not None and bool(preview.columns))
        self._set_problems(preview.problems)

    def _grew(self, batch: Batch) -> None:
        first = self.model.rowCount() == 0
        self.model.extend(batch.rows, has_more=batch.has_more)
        fresh = tuple(item.problem for item in batch.rows if item.problem is not None and not first)
        if fresh:
            self._set_problems((*self.problems, *fresh))
        self._read.set_text(self._read_words(batch))
        if self._wanted_line:
            self._seek()
        elif first and batch.rows:
            usable = next((place for place, item in enumerate(batch.rows) if item.problem is None), 0)
            self.table.choose(usable)

    def _read_words(self, batch: Batch) -> str:
        """How many of the file's rows are in the table."""
        count, preview = self.model.rowCount(), batch.file.preview
        total = preview.total_rows
        if not batch.has_more:
            return tr_count(count, "One row", "{n} rows")
        if total is None or total <= count:
            return tr("The first {n} rows; scroll for more", n=f"{count:,}")
        if preview.is_exact:
            return tr("{n} of {total} rows; scroll for more", n=f"{count:,}", total=f"{total:,}")
        return tr("{n} of about {total} rows; scroll for more", n=f"{count:,}", total=f"{_rounded(total):,}")

    def _refused(self, problems: tuple[Problem, ...]) -> None:
        self._reason.hide()
        self._set_problems((*self.problems, *problems))

    def _set_problems(self, problems: tuple[Problem, ...]) -> None:
        if problems != self.problems:
            self.problems = problems
            self.problems_changed.emit()

    def _seek(self) -> None:
        place = self.model.place_of(self._wanted_line)
        if place >= 0:
            self._wanted_line = 0
            self.table.choose(place)
            self.table.setFocus(Qt.FocusReason.OtherFocusReason)
        elif self.model.has_more and not self.reader.is_busy:
            self.reader.more()

    def current(self) -> tuple[Sample | None, str]:
        """The chosen row as it is understood, and where it stands; nothing where no row is chosen."""
        chosen = self.model.row_at(self.table.currentIndex().row())
        if chosen is None or chosen.row.sample is None:
            return None, ""
        return chosen.row.sample, self._place(chosen)

    def _place(self, chosen: TableRow) -> str:
        return tr("Line {line} of {file}", line=f"{chosen.line:,}", file=Path(self._path).name)

    def _row_chosen(self, _place: int) -> None:
        self.choice.show_row()
        self._read_sample()

    def _read_sample(self) -> None:
        chosen = self.model.row_at(self.table.currentIndex().row())
        if chosen is not None:
            self.samples.read(chosen)

    def _sample_ready(self, chosen: TableRow, facts: SampleFacts) -> None:
        self.sample.show_sample(facts, self._place(chosen))


def _reason_words(shape: Shape) -> str:
    """Why the rows are taken for what they are, and how many of them that makes sense of."""
    share = tr("It makes sense of {share} of the rows that were looked at.", share=format_share(shape.confidence))
    return f"{say(shape.reason)} {share}"


def _rounded(count: int) -> int:
    """Two digits that count: more would claim to know."""
    return int(float(f"{count:.2g}"))


def _shape_title(name: str) -> str:
    choices = field_at("data.format").setting.choices
    return next((say(choice.title) for choice in choices if choice.value == name), name)
