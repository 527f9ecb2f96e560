"""A look into a data file before anything is trained: its format, its first rows as they stand and as understood.

Only the beginning is read, within a budget of bytes and of time, so that a file of gigabytes opens as fast as a small
one. What is shown is made by the functions that the training itself reads with.
"""

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.data.column_rows import count_parquet
from core.data.folders import left_out_problem, list_folder
from core.data.formats import DataFile, detect_named, read_rows
from core.data.reading import as_warnings
from core.data.samples import to_sample
from core.data.shapes import ROWS_JUDGED, recognise
from core.data.source import MAX_LINE_BYTES, read_head
from core.data.types import Message, Row, Sample, Shape
from core.errors import Problem, UserError, error
from core.spec.sections import DataSpec
from core.units import MIB, format_bytes

PREVIEW_ROWS = 500
BUDGET_BYTES = MAX_LINE_BYTES + 32 * MIB  # enough to tell that a line is too long, and to show rows behind it
BUDGET_SECONDS = 0.7
DOCUMENT_BYTES = 8 * MIB
_COUNTED_BYTES = MIB


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One row of a file.

    Attributes:
        line: where it begins, counted from 1; in a Parquet file its number.
        value: its columns; None for a row that cannot be read.
        sample: what it is understood as; None where it cannot be.
        problem: why not.
    """

    line: int
    value: Mapping[str, Any] | None
    sample: Sample | None
    problem: Problem | None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The row as a conversation; empty for running text, which is `Sample.completion` then."""
        if self.sample is None or self.sample.messages or not self.sample.prompt:
            return self.sample.messages if self.sample is not None else ()
        return Message("user", self.sample.prompt), Message("assistant", self.sample.completion)


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a data file.

    Attributes:
        file: what kind of file it is.
        shape: what its rows are and why; None where they fit no format, and `problems` says so.
        columns: the names of the columns, in order.
        rows: the first rows, those that cannot be used included.
        problems: what is wrong with the file or with these rows, each with its ``file:line``.
        total_rows: how many rows the file has; None where nobody can tell without reading it.
        is_exact: whether `total_rows` was counted and not estimated by size.
        is_whole: whether `rows` are all there are.
    """

    file: DataFile
    shape: Shape | None
    columns: tuple[str, ...]
    rows: tuple[PreviewRow, ...]
    problems: tuple[Problem, ...]
    total_rows: int | None
    is_exact: bool
    is_whole: bool


class _EnoughError(Exception):
    """The budget is spent; what has been read so far is the preview."""


class _Budget:
    """Ends the reading after so many bytes or so much time."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + BUDGET_SECONDS
        self.read = 0

    def __call__(self, read: int) -> None:
        self.read = read
        if read > BUDGET_BYTES or time.monotonic() > self._ends:
            raise _EnoughError


@dataclass(slots=True)
class _Head:
    """What was read, how far, and what ended it."""

    rows: list[Row | Problem]
    bytes: int = 0
    ended: bool = False
    spent: bool = False
    failure: UserError | None = None


def open_preview(path: Path | str, spec: DataSpec, limit: int = PREVIEW_ROWS) -> Preview:
    """Looks into a data file. Takes about a second at most, whatever the file.

    Args:
        path: the file, or the name of a data set of the hub.
        spec: the section ``data`` of the spec: format, mapping, and what happens to rows that cannot be read.
        limit: how many rows to show.

    Raises:
        UserError: the file cannot be read, is of a kind that holds no rows, or has none.
    """
    file = detect_named(str(path), spec)
    limit = max(1, limit)
    head = _read(file, max(limit, ROWS_JUDGED))
    if not head.rows:
        raise UserError(_no_rows(file, head))
    good = [row for row in head.rows if isinstance(row, Row)]
    problems: list[Problem] = []
    shape = _shape(file, good[:ROWS_JUDGED], spec, problems)
    rows = tuple(as_preview_row(row, shape) for row in head.rows[:limit])
    bad = [row.problem for row in rows if row.problem is not None]
    problems += as_warnings(bad) if spec.bad_rows == "skip" else bad
    problems += shape.notes if shape is not None else ()
    problems += head.failure.problems if head.failure is not None else ()
    if file.left_out:
        problems.append(left_out_problem(file.path, list_folder(file.path)))
    total = _total(file, head)
    return Preview(
        file=file,
        shape=shape,
        columns=tuple(dict.fromkeys(str(name) for row in good for name in row.value)),
        rows=rows,
        problems=tuple(problems),
        total_rows=total,
        is_exact=total is not None and (head.ended or file.format == "parquet"),
        is_whole=head.ended and len(head.rows) <= limit,
    )


def as_preview_row(row: Row | Problem, shape: Shape | None) -> PreviewRow:
    """A row as read, and as understood where its file's shape is known."""
    if isinstance(row, Problem):
        line = row.path.rpartition(":")[2]
        return PreviewRow(int(line) if line.isdecimal() else 0, None, None, row)
    found = to_sample(row, shape) if shape is not None else None
    if isinstance(found, Problem):
        return PreviewRow(row.line, row.value, None, found)
    return PreviewRow(row.line, row.value, found, None)


def _is_long_document(file: DataFile) -> bool:
    """Whether the first list of an object is taken for its rows; what is packed may be of any length."""
    return file.format == "json" and (file.compressed or file.bytes > DOCUMENT_BYTES)


def _read(file: DataFile, most: int) -> _Head:
    head = _Head([])
    budget = _Budget()
    wanted = most + 1
    try:
        rows = read_rows(file, first_list=_is_long_document(file), on_bytes=budget)
        for row in itertools.islice(rows, wanted):
            head.rows.append(row)
        head.ended = len(head.rows) < wanted
        head.bytes = budget.read
    except _EnoughError:
        head.spent = True
        head.bytes = budget.read
    except UserError as failure:
        head.failure = failure
    return head


def _no_rows(file: DataFile, head: _Head) -> Problem:
    if head.failure is not None:
        return head.failure.problems[0]
    if head.spent:
        message = f"The first row does not end within the first {format_bytes(head.bytes)} of the file."
        advice = "Check that every row ends with a line break; JSONL has one object a line."
        return error(f"{file.path}:1", message, advice)
    return error(file.name, "The file has no rows.", "Mend the file or choose another one.")


def _shape(file: DataFile, rows: Sequence[Row], spec: DataSpec, problems: list[Problem]) -> Shape | None:
    if not rows:
        message = "No row of the file can be used."
        problems.append(error(file.name, message, "Mend the file or choose another one."))
        return None
    try:
        return recognise(rows, spec.format, spec.mapping, pairs=spec.train_on == "preferences")
    except UserError as failure:
        problems.extend(failure.problems)
        return None


def _total(file: DataFile, head: _Head) -> int | None:
    """How many rows there are: counted where that is cheap, else judged by the share of the file that was read."""
    if head.ended:
        return len(head.rows)
    if head.failure is not None or file.compressed:
        return None
    if file.parts:
        return max(len(head.rows), round(len(head.rows) * file.bytes / max(1, head.bytes)))
    if file.format == "parquet":
        return count_parquet(file.source)
    if file.format in ("json", "arrow"):
        return max(len(head.rows), round(len(head.rows) * file.bytes / max(1, _bytes_of(file, head))))
    beginning, _ = read_head(file.path, _COUNTED_BYTES)
    lines = beginning.count(b"\n") * file.bytes / max(1, len(beginning))
    last = as_preview_row(head.rows[-1], None).line
    return max(len(head.rows), round(lines * len(head.rows) / max(1, last)))


def _bytes_of(file: DataFile, head: _Head) -> int:
    """How many bytes the rows read take. What was read ahead of them does not count: a document is read in pieces."""
    if file.format != "json":
        return head.bytes
    return sum(len(json.dumps(row.value, ensure_ascii=False).encode()) + 2 for row in head.rows if isinstance(row, Row))


class RowPages:
    """The rows behind a preview, page by page. Going forward reads on; going back begins again.

    Use it as a context manager, or close it: it holds the file open. It is for one thread.
    """

    def __init__(self, preview: Preview) -> None:
        """Opens nothing yet."""
        self._preview = preview
        self._rows: Iterator[Row | Problem] | None = None
        self._position = 0

    def page(self, start: int, count: int) -> tuple[PreviewRow, ...]:
        """The rows from number ``start`` (counted from 0) on, at most ``count``; fewer at the end of the file.

        Raises:
            UserError: the file cannot be read any more.
        """
        preview = self._preview
        if start + count <= len(preview.rows) or preview.is_whole:
            return preview.rows[start : start + count]
        if self._rows is None or start < self._position:
            self.close()
            self._rows = read_rows(preview.file, first_list=_is_long_document(preview.file))
            self._position = 0
        skipped = sum(1 for _ in itertools.islice(self._rows, start - self._position))
        found = list(itertools.islice(self._rows, count))
        self._position += skipped + len(found)
        return tuple(as_preview_row(row, preview.shape) for row in found)

    def close(self) -> None:
        """Lets go of the file."""
        close = getattr(self._rows, "close", None)
        if close is not None:
            close()
        self._rows = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
