"""Rows from tables: comma- or tab-separated text, and Parquet."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.data.source import MAX_LINE_BYTES, Line, OnBytes, decode, elide, lines, too_long
from core.data.types import Row
from core.errors import Problem, UserError, error

_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_RECORDS = 20
_PARQUET_BATCH = 256


def sniff_delimiter(sample: str, *, preferred: str) -> str:
    """The character that separates the columns of a table, judged by its first records.

    Args:
        sample: the beginning of the file; its last, perhaps incomplete line is not judged.
        preferred: what to take where several fit equally, or none.
    """
    first, _, _ = sample.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == len("sep=") + 1:
        return first.strip()[-1]
    whole = sample.splitlines(keepends=True)
    whole = whole[:-1] if len(whole) > 1 and not sample.endswith(("\n", "\r")) else whole
    candidates = sorted(_DELIMITERS, key=lambda item: item != preferred)
    shapes = {delimiter: _first_records(whole, delimiter) for delimiter in candidates}
    even = [delimiter for delimiter in candidates if len(set(shapes[delimiter])) == 1]
    for group in (even, candidates):
        best = max(group, key=lambda item: shapes[item][:1], default=preferred)
        if shapes[best][:1] > [1]:
            return best
    return preferred


def _first_records(sample: Sequence[str], delimiter: str) -> list[int]:
    """How many columns each of the first records has, the header first; up to the first broken one."""
    counts: list[int] = []
    try:
        for record in csv.reader(sample, delimiter=delimiter):
            if record:
                counts.append(len(record))
            if len(counts) == _SNIFFED_RECORDS:
                break
    except csv.Error:
        return counts
    return counts


def read_table(
    path: Path, *, delimiter: str, compressed: bool, on_bytes: OnBytes | None = None
) -> Iterator[Row | Problem]:
    """The rows of a table whose first record names the columns. A cell may hold line breaks inside quotation marks.

    Raises:
        UserError: the file cannot be read, or its first record is no list of column names.
    """
    feed = _Feed(path, compressed=compressed, on_bytes=on_bytes)
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        reader = csv.reader(feed, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            feed.start_record()
            try:
                record = next(reader, None)
            except csv.Error as failure:
                yield _record_problem(path, feed.record_line, failure)
                if feed.ended:
                    return
                continue
            if record is None:
                return
            if feed.problem:
                if header is None:
                    raise UserError(feed.problem)
                yield feed.problem
            elif header is None:
                header = (
                    None if feed.record_line == 1 and _is_separator_line(record, delimiter) else _header(path, record)
                )
            elif record:
                yield _table_row(path, feed.record_line, header, record)
    finally:
        csv.field_size_limit(limit)


class _Feed:
    """Lines for the csv module, which remembers the first line of the record at work and the first bad byte in it."""

    def __init__(self, path: Path, *, compressed: bool, on_bytes: OnBytes | None) -> None:
        self._path = path
        self._lines = lines(path, compressed=compressed, on_bytes=on_bytes)
        self._last = 0
        self.record_line = 1
        self.problem: Problem | None = None
        self.ended = False

    def start_record(self) -> None:
        self.record_line = self._last + 1
        self.problem = None

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self._last = line.number
        return self._text(line)

    def _text(self, line: Line) -> str:
        found = too_long(self._path, line.number, "line") if line.too_long else decode(self._path, line)
        if isinstance(found, str):
            return found
        self.problem = self.problem or found
        return "\n" if line.too_long else line.data.replace(b"\0", b"").decode("utf-8", "replace")


def _is_separator_line(record: Sequence[str], delimiter: str) -> bool:
    """Whether a record is a spreadsheet's first line ``sep=;``, which names the delimiter."""
    return "".join(record).strip().lower() == "sep=" or delimiter.join(record).strip().lower() == f"sep={delimiter}"


def _header(path: Path, record: Sequence[str]) -> list[str]:
    names = [name.strip() for name in record]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        message = "The first line must name the columns, and at least one name is missing."
        raise UserError(error(f"{path}:1", message, "Write a first line such as prompt,completion."))
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        message = f"The first line names the column “{double[0]}” twice."
        raise UserError(error(f"{path}:1", message, "Give every column its own name."))
    return names


def _table_row(path: Path, line: int, header: Sequence[str], record: Sequence[str]) -> Row | Problem:
    cells = list(record)
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()
    if len(cells) == len(header):
        return Row(str(path), line, dict(zip(header, cells, strict=True)))
    message = (
        f"The row has {len(cells)} cells, but the first line names {len(header)} column{'s' * (len(header) != 1)}. "
        f"It begins with “{elide(cells[0] if cells else '')}”."
    )
    return error(f"{path}:{line}", message, "Put cells that contain the separator between quotation marks.")


def _record_problem(path: Path, line: int, failure: csv.Error) -> Problem:
    reason = str(failure)
    if "unexpected end" in reason:
        message = "A quotation mark that opens in this row is never closed."
    elif "expected after" in reason:
        message = "A cell goes on after its closing quotation mark."
    elif "field larger" in reason:
        message = "A cell is far too long; most likely a quotation mark that opens in this row is never closed."
    elif "new-line character" in reason:
        message = "A line ends with a bare carriage return."
    else:
        message = f"The row cannot be taken apart: {reason}."
    return error(f"{path}:{line}", message, 'Write a quotation mark inside a cell twice (""), or save the table again.')


def read_parquet(path: Path, *, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """The rows of a Parquet file, a batch at a time; a row's line is its number, counted from 1.

    Raises:
        UserError: the file is damaged or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names)
            total, size, number = max(1, table.metadata.num_rows), path.stat().st_size, 0
            for batch in table.iter_batches(batch_size=_PARQUET_BATCH):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(str(path), number, value)
                if on_bytes:
                    on_bytes(size * number // total)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as failure:
        message = f"The Parquet file cannot be read: {elide(str(failure), 160)}."
        raise UserError(error(str(path), message, "Write or download the file again.")) from failure


def _check_columns(path: Path, names: Sequence[Any]) -> None:
    if len(set(names)) != len(names):
        raise UserError(error(str(path), "Two columns have the same name.", "Give every column its own name."))
