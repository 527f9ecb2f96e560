"""Rows of one file on their way into the table: opened and read on in background threads, a few hundred at a time."""

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from core.data.preview import PREVIEW_ROWS, Preview, PreviewRow, RowPages
from core.errors import UserError
from core.spec.sections import DataSpec
from studio.pages.data.rows_table import TableRow, cell_text
from studio.workers.task import Report, Task, start_task

_CHECK_EVERY = 50


@dataclass(slots=True)
class OpenFile:
    """A file that is being looked at: its beginning, and the pages behind it."""

    path: str
    preview: Preview
    pages: RowPages


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that came together, and whether the file goes on behind them."""

    file: OpenFile
    rows: tuple[TableRow, ...]
    has_more: bool


def table_row(row: PreviewRow) -> TableRow:
    """A row as the table shows it."""
    cells = {str(name): cell_text(value) for name, value in (row.value or {}).items()}
    return TableRow(row.line, cells, row)


class RowsReader(QObject):
    """Opens one file after another and reads rows when they are wanted; one piece of work at a time.

    Attributes:
        opened: an `OpenFile`, before its first rows.
        grew: a `Batch` of further rows.
        refused: the problems of a file that cannot be read (on).
    """

    opened = Signal(object)
    grew = Signal(object)
    refused = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task: Task | None = None
        self._known = 0
        self.file: OpenFile | None = None

    @property
    def is_busy(self) -> bool:
        """Whether rows are on their way."""
        return self._task is not None

    def open(self, path: str, data: DataSpec) -> None:
        """Leaves the file before and opens another; an empty path opens none."""
        self.close()
        if path:
            self._task = start_task(
                lambda report: _first(path, data, report), on_done=self._arrived, on_failed=self._failed, parent=self
            )

    def more(self) -> None:
        """Reads on, if nothing is being read already."""
        file, known = self.file, self._known
        if file is not None and self._task is None:
            self._task = start_task(
                lambda report: _next(file, known, report), on_done=self._arrived, on_failed=self._failed, parent=self
            )

    def close(self) -> None:
        """Reads no further and lets go of the file."""
        task, file = self._task, self.file
        self._task, self.file, self._known = None, None, 0
        if task is not None:
            task.cancel()  # it may be inside the pages still, and closes them by being thrown away
        elif file is not None:
            file.pages.close()

    def _arrived(self, batch: Batch) -> None:
        self._task = None
        if batch.file is not self.file:
            self.file = batch.file
            self.opened.emit(batch.file)
        self._known += len(batch.rows)
        self.grew.emit(batch)

    def _failed(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self.refused.emit(failure.problems)


def _first(path: str, data: DataSpec, report: Report) -> Batch:
    from core.data.preview import open_preview

    preview = open_preview(path, data)
    rows = _shown(preview.rows, report)
    return Batch(OpenFile(path, preview, RowPages(preview)), rows, not preview.is_whole)


def _next(file: OpenFile, start: int, report: Report) -> Batch:
    rows = _shown(file.pages.page(start, PREVIEW_ROWS), report)
    return Batch(file, rows, len(rows) == PREVIEW_ROWS)


def _shown(rows: tuple[PreviewRow, ...], report: Report) -> tuple[TableRow, ...]:
    shown = []
    for number, row in enumerate(rows):
        if number % _CHECK_EVERY == 0:
            report.check()
        shown.append(table_row(row))
    return tuple(shown)
