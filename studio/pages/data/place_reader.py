"""A row read from its file by where it stands, in the background."""

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from core.data.preview import Preview, PreviewRow, RowPages, open_preview
from core.data.report.types import RowPlace
from core.errors import Problem, UserError, error
from core.spec.sections import DataSpec
from studio.pages.data.rows import table_row
from studio.pages.data.rows_table import TableRow
from studio.workers.task import Report, Task, start_task

_SKIPPED_AT_ONCE = 1000


@dataclass(slots=True)
class _Open:
    """A file in the midst of being read on; ``position`` is the row that comes next."""

    file: str
    data: DataSpec
    preview: Preview
    pages: RowPages
    position: int = 0


class PlaceReader(QObject):
    """Reads one row at a time. A newer wish replaces one that waits; a file is read on where it was left.

    Attributes:
        found: the `RowPlace` and its `TableRow`.
        refused: the `RowPlace` and the `Problem` why its row cannot be read.
    """

    found = Signal(object, object)
    refused = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task: Task | None = None
        self._at: RowPlace | None = None
        self._next: tuple[RowPlace, DataSpec] | None = None
        self._open: _Open | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a row is on its way."""
        return self._task is not None

    def read(self, place: RowPlace, data: DataSpec) -> None:
        """Reads the row at a place of a file that is read as ``data`` says."""
        at = self._at
        if self._task is not None and at is not None:
            if at.file == place.file and at.row <= place.row:
                self._next = place, data  # on its way there
                return
            self.close()
        self._start(place, data)

    def close(self) -> None:
        """Reads no further and lets go of the file."""
        task, held = self._task, self._open
        self._task, self._open, self._at, self._next = None, None, None, None
        if task is not None:
            task.cancel()  # it may be inside the pages still, and closes them by being thrown away
        elif held is not None:
            held.pages.close()

    def _start(self, place: RowPlace, data: DataSpec) -> None:
        held, self._open, self._at = self._open, None, place
        if held is not None and (held.file != place.file or held.data != data):
            held.pages.close()
            held = None
        self._task = start_task(
            lambda report: _row_at(place, data, held, report),
            on_done=self._arrived,
            on_failed=self._failed,
            parent=self,
        )

    def _arrived(self, result: tuple[_Open, TableRow | Problem]) -> None:
        place, following = self._at, self._next
        self._task, self._at, self._next = None, None, None
        self._open, found = result
        if following is not None:
            self._start(*following)
        elif isinstance(found, Problem):
            self.refused.emit(place, found)
        else:
            self.found.emit(place, found)

    def _failed(self, failure: Exception) -> None:
        place, following = self._at, self._next
        self._task, self._at, self._next = None, None, None
        if not isinstance(failure, UserError):
            raise failure
        if following is not None:
            self._start(*following)
        else:
            self.refused.emit(place, failure.problems[0])


def _row_at(place: RowPlace, data: DataSpec, held: _Open | None, report: Report) -> tuple[_Open, TableRow | Problem]:
    """The row at a place; files of many rows are read on in steps, between which the reading can be ended."""
    if held is None:
        preview = open_preview(place.file, data)
        held = _Open(place.file, data, preview, RowPages(preview))
    if place.row >= len(held.preview.rows):
        first = held.position if held.position <= place.row else 0
        for start in range(first, place.row, _SKIPPED_AT_ONCE):
            report.check()
            held.pages.page(start, 0)
        held.position = place.row + 1
    rows: tuple[PreviewRow, ...] = held.pages.page(place.row, 1)
    if not rows:
        message = "The file has fewer rows than when it was looked through."
        return held, error(place.file, message, "Look through the rows again.")
    return held, table_row(rows[0])
