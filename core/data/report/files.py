"""The rows of data files with their numbers, once and again."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.data.formats import DataFile, detect_named, read_rows
from core.data.json_rows import read_some_json_lines
from core.data.packed import BrokenFileError, OnBytes
from core.data.samples import to_sample
from core.data.shapes import ROWS_JUDGED, recognise
from core.data.types import Row, Sample, Shape
from core.errors import Problem, UserError, error
from core.spec.sections import DataSpec


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row of a file.

    Attributes:
        number: counted from 0, unreadable rows included.
        line: where it begins; 0 where nobody can tell.
        part: the file of a folder that it stands in; empty for a file.
        sample: what it is understood as, or why it is not.
    """

    number: int
    line: int
    part: str
    sample: Sample | Problem


def open_files(spec: DataSpec) -> list[DataFile]:
    """The training files, and behind them the validation files.

    Raises:
        UserError: with what is wrong with each file that cannot be opened.
    """
    files: list[DataFile] = []
    problems: list[Problem] = []
    for name in (*spec.train, *spec.validation):
        try:
            files.append(detect_named(name, spec))
        except UserError as failure:
            problems.extend(failure.problems)
    if problems:
        raise UserError(*problems)
    return files


def shape_of(file: DataFile, spec: DataSpec) -> Shape:
    """What the rows of a file are, by the first of them.

    Raises:
        UserError: the file cannot be read, or nobody can tell.
    """
    first = list(itertools.islice((row for row in _whole_rows(file, None) if isinstance(row, Row)), ROWS_JUDGED))
    if not first:
        raise UserError(error(file.name, "No row of the file can be used.", "Mend the file or choose another one."))
    return recognise(first, spec.format, spec.mapping, pairs=spec.train_on == "preferences")


def numbered_rows(file: DataFile, shape: Shape, *, on_bytes: OnBytes | None = None) -> Iterator[NumberedRow]:
    """Every row of a file. Where it is damaged from some place on, that is one more row which cannot be used.

    Raises:
        UserError: the file cannot be read, or not even its first row.
    """
    for number, row in enumerate(_whole_rows(file, on_bytes)):
        yield _understood(file, shape, number, row)


def some_rows(file: DataFile, shape: Shape, numbers: Sequence[int]) -> Iterator[NumberedRow]:
    """The rows with these numbers, which ascend; those that are no longer there are left out.

    Raises:
        UserError: the file cannot be read.
    """
    if file.format == "jsonl" and not file.parts:
        for number, row in read_some_json_lines(file.source, numbers):
            yield _understood(file, shape, number, row)
        return
    wanted = iter(numbers)
    next_one = next(wanted, None)
    for number, row in enumerate(_whole_rows(file, None)):
        if next_one is None:
            return
        if number == next_one:
            yield _understood(file, shape, number, row)
            next_one = next(wanted, None)


def _understood(file: DataFile, shape: Shape, number: int, row: Row | Problem) -> NumberedRow:
    if isinstance(row, Problem):
        path, _, line = row.path.rpartition(":")
        return NumberedRow(number, int(line) if line.isdecimal() else 0, path if file.parts else "", row)
    return NumberedRow(number, row.line, row.path if file.parts else "", to_sample(row, shape))


def _whole_rows(file: DataFile, on_bytes: OnBytes | None) -> Iterator[Row | Problem]:
    count = 0
    try:
        for row in read_rows(file, on_bytes=on_bytes):
            count += 1
            yield row
    except BrokenFileError as failure:
        if not count:
            raise
        yield from (error(problem.path, problem.message, problem.advice) for problem in failure.problems)
