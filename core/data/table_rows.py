"""Rows from tables: text whose cells are separated by commas, tabs and the like."""

import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data.packed import OnBytes
from core.data.source import MAX_LINE_BYTES, Line, Source, decode, elide, lines, too_long
from core.data.types import Row
from core.errors import Problem, UserError, error

_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_RECORDS = 20
_MOST_REWINDS = 20
_EMPTY = (b"\n", b"\r\n")
_LONGEST_NAME = 500
"""A longer text in the first line is no name but the first row of a table without names."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written: what separates its cells, what stands around them, what announces a plain character.

    Attributes:
        quote: around cells that hold separators or line breaks; inside such a cell it stands twice.
        escape: before a quotation mark inside a cell, where a program writes it so; empty as a rule.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""


def sniff_dialect(sample: str, *, preferred: str) -> Dialect:
    """How a table is written, judged by its first records.

    Args:
        sample: the beginning of the file; its last, perhaps incomplete line is not judged.
        preferred: the delimiter to take where several fit equally, or none.
    """
    if '"' not in sample and sample.lstrip("\r\n")[:1] == "'":
        plain = sniff_delimiter(sample.replace("'", '"'), preferred=preferred)
        return Dialect(plain, "'")
    delimiter = sniff_delimiter(sample, preferred=preferred)
    if '\\"' in sample and not _reads_well(sample, Dialect(delimiter)):
        escaped = Dialect(delimiter, escape="\\")
        return escaped if _reads_well(sample, escaped) else Dialect(delimiter)
    return Dialect(delimiter)


def _reads_well(sample: str, dialect: Dialect) -> bool:
    """Whether the first records are whole and all as wide as the first; the one that the sample cuts does not count."""
    widths: list[int] = []
    try:
        for record in _reader(sample.splitlines(keepends=True)[:-1], dialect):
            widths.append(len(record))
            if len(widths) == _SNIFFED_RECORDS:
                break
    except csv.Error as failure:
        return "unexpected end" in str(failure) and len(set(widths)) == 1
    return len(set(widths)) == 1


def _reader(rows: Iterable[str], dialect: Dialect) -> "Iterator[list[str]]":
    return csv.reader(
        rows,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape or None,
        doublequote=not dialect.escape,
        strict=True,
    )


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


def read_table(source: Source, dialect: Dialect, *, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """The rows of a table whose first record names the columns. A cell may hold line breaks inside quotation marks.

    Where a quotation mark is never closed, only the line it stands in is lost: the lines behind it are read again.

    Raises:
        UserError: the file cannot be read, or its first record is no list of column names.
    """
    path = source.path
    feed = _Feed(source, on_bytes=on_bytes)
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        reader = _reader(feed, dialect)
        header: list[str] | None = None
        while True:
            feed.start_record()
            try:
                record = next(reader, None)
            except csv.Error as failure:
                yield _record_problem(path, feed.record_line, failure, dialect)
                if not feed.rewind() and feed.ended:
                    return
                reader = _reader(feed, dialect)
                continue
            if record is None:
                return
            if feed.problem:
                if header is None:
                    raise UserError(feed.problem)
                yield feed.problem
            elif header is None:
                separator = feed.record_line == 1 and _is_separator_line(record, dialect.delimiter)
                header = None if separator else _header(path, record)
            elif record:
                yield _table_row(path, feed.record_line, header, record)
    finally:
        csv.field_size_limit(limit)


class _Feed:
    """Lines for the csv module, which remembers the lines of the record at work and the first bad byte in it."""

    def __init__(self, source: Source, *, on_bytes: OnBytes | None) -> None:
        self._source = source
        self._lines = lines(source, on_bytes=on_bytes)
        self._again: deque[Line] = deque()
        self._held: list[Line] = []
        self._rewinds = 0
        self.record_line = 1
        self.problem: Problem | None = None
        self.ended = False

    def start_record(self) -> None:
        if self._held:
            self.record_line = self._held[-1].number + 1
        self._held.clear()
        self.problem = None

    def rewind(self) -> bool:
        """Gives the lines of the record at work again, all but its first; False where there are none, or no more."""
        again = self._held[1:]
        if not again or self._rewinds == _MOST_REWINDS:
            return False
        self._rewinds += 1
        self._again.extendleft(reversed(again))
        del self._held[1:]
        self.ended = False
        return True

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._next_line()
        # The csv module would give each empty line as a record without cells; a file may have millions of them.
        while self.record_line > 1 and line.data in _EMPTY and not self._held:
            self.record_line = line.number + 1
            line = self._next_line()
        self._held.append(line)
        return self._text(line)

    def _next_line(self) -> Line:
        if self._again:
            return self._again.popleft()
        try:
            return next(self._lines)
        except StopIteration:
            self.ended = True
            raise

    def _text(self, line: Line) -> str:
        path = self._source.path
        found = too_long(path, line.number, "line") if line.too_long else decode(self._source, line)
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
    longest = max(map(len, names))
    if longest > _LONGEST_NAME:
        message = f"The first line must name the columns, but it holds a text of {longest} characters."
        raise UserError(error(f"{path}:1", message, "Write a first line such as prompt,completion."))
    double = min((name for name, count in Counter(names).items() if count > 1), default=None)
    if double is not None:
        message = f"The first line names the column “{elide(double)}” twice."
        raise UserError(error(f"{path}:1", message, "Give every column its own name."))
    return names


def _table_row(path: Path, line: int, header: Sequence[str], record: Sequence[str]) -> Row | Problem:
    cells = list(record)
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()
    if len(cells) == len(header):
        return Row(str(path), line, dict(zip(header, cells, strict=True)))
    begins = f"It begins with “{elide(cells[0] if cells else '')}”."
    message = f"The row has {len(cells)} cells, but the first line has {len(header)}. {begins}"
    if len(cells) == 1:
        message = f"The row has a single cell, but the first line has {len(header)}. {begins}"
    return error(f"{path}:{line}", message, "Put cells that contain the separator between quotation marks.")


def _record_problem(path: Path, line: int, failure: csv.Error, dialect: Dialect) -> Problem:
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
    twice = dialect.escape + dialect.quote if dialect.escape else dialect.quote * 2
    advice = f"Write a quotation mark inside a cell as {twice}, or save the table again."
    return error(f"{path}:{line}", message, advice)
