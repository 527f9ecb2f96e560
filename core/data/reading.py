"""Files to samples: every file recognised by itself, every bad row named."""

import codecs
import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.data.folders import left_out_problem, list_folder
from core.data.formats import DataFile, detect_named, read_rows
from core.data.json_document import cut_off
from core.data.order import seed_number
from core.data.packed import BrokenFileError, byte_chunks, unreadable
from core.data.repairs import RowRepairs
from core.data.samples import to_sample
from core.data.shapes import ROWS_JUDGED, recognise
from core.data.source import read_head, utf8_chunks
from core.data.text_rows import TextCut
from core.data.types import Row, Sample, Shape
from core.errors import Problem, Severity, UserError, error, warning
from core.facts.types import FileFacts
from core.spec.sections import DataSpec

T = TypeVar("T")

_MOST_ALIKE = 3
"""How many rows are named that one change of a setting would mend, such as the encoding of the whole file."""

MOST_NAMED = 20
"""How many bad rows are named one by one; the rest is counted."""


@dataclass(frozen=True, slots=True)
class FileSamples:
    """What one file gave.

    Attributes:
        facts: the file itself; its rows are those that could be used.
        shape: how its rows were understood.
        samples: the rows, in the order of the file.
        skipped: how many rows could not be used.
        problems: the unusable rows as warnings, the first ones by name.
        cut: what a row of a text file was.
        fallback: the encoding of lines that are no UTF-8; empty where there are none.
        repaired: how many rows each repair changed or left out.
    """

    facts: FileFacts
    shape: Shape
    samples: tuple[Sample, ...]
    skipped: int
    problems: tuple[Problem, ...]
    cut: TextCut = field(default_factory=TextCut)
    fallback: str = ""
    repaired: Mapping[str, int] = field(default_factory=dict)


class Progress:
    """Turns bytes read and rows encoded into one count of rows, estimating the total while files are being read."""

    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self._tell = tell
        self._bytes = self._bytes_before = self._bytes_total = 0
        self._read = self._encoded = 0

    def expect(self, total_bytes: int) -> None:
        """How many bytes all files have together."""
        self._bytes_total = total_bytes

    def file_done(self, size: int) -> None:
        """One file has been read to its end."""
        self._bytes_before += size
        self._bytes = 0
        self._report()

    def bytes_read(self, count: int) -> None:
        """How far the file at work has been read; every chunk says so."""
        self._bytes = count
        self._report()

    def row_read(self) -> None:
        """One more row is known."""
        self._read += 1

    def alive(self) -> None:
        """Nothing more is known, but the work goes on; whoever listens may want to end it."""
        self._report()

    def encoded(self, rows: int) -> None:
        """So many more rows are tokens."""
        self._encoded += rows
        self._report()

    def finish(self, rows: int) -> None:
        """All is done."""
        if self._tell:
            self._tell(rows, rows)

    def _report(self) -> None:
        if self._tell and not self._read:
            self._tell(0, 0)
        elif self._tell:
            seen = self._bytes_before + self._bytes
            total = self._read if seen >= self._bytes_total else self._read * self._bytes_total // max(1, seen)
            self._tell(min(self._encoded, total), total)


def collect_samples(
    spec: DataSpec, progress: Progress, on_sample: Callable[[Sample], None] | None = None
) -> tuple[list[FileSamples], list[FileSamples]]:
    """Reads all training and validation files, and tells of each row as soon as it is read.

    Raises:
        UserError: with the problems of every file: unusable ones, and bad rows where the spec says to stop.
    """
    problems: list[Problem] = []
    files: list[DataFile | None] = []
    for name in (*spec.train, *spec.validation):
        try:
            files.append(detect_named(name, spec))
        except UserError as failure:
            problems.extend(failure.problems)
            files.append(None)
    progress.expect(sum(file.bytes for file in files if file))
    found: list[FileSamples] = []
    for file in files:
        if file is None:
            continue
        try:
            found.append(_read_file(file, spec, progress, None if problems else on_sample))
        except UserError as failure:
            problems.extend(problem for problem in failure.problems if problem not in problems)
    if problems:
        raise UserError(*problems)
    return found[: len(spec.train)], found[len(spec.train) :]


def _read_file(
    file: DataFile, spec: DataSpec, progress: Progress, on_sample: Callable[[Sample], None] | None
) -> FileSamples:
    """One file.

    Raises:
        UserError: the file cannot be used, or rows cannot and the spec says to stop then.
    """
    bad = _BadRows()
    repairs = RowRepairs(spec.repairs)
    before = _state(file)
    if spec.bad_rows == "stop":
        _require_whole(file, progress)
    try:
        shape, samples = _understand(file, spec, progress, bad, repairs, on_sample)
    except UserError as failure:
        raise UserError(*bad.listed(), *failure.problems) from failure
    if bad.count and spec.bad_rows == "stop":
        raise UserError(*bad.listed())
    facts = FileFacts(file.name, file.format, len(samples), file.bytes, file_hash(file, progress.alive))
    if _state(file) != before:
        message = "The file changed while it was read, so nobody knows which rows these are."
        raise UserError(error(file.name, message, "Read it again when nothing writes to it any more."))
    progress.file_done(file.bytes)
    problems = [*as_warnings(bad.listed()), *shape.notes]
    if file.left_out:
        problems.append(left_out_problem(file.path, list_folder(file.path)))
    cut = file.cut if file.format == "text" else TextCut()
    fallback = _used_fallback(file, progress)
    return FileSamples(facts, shape, tuple(samples), bad.count, tuple(problems), cut, fallback, repairs.counts)


def _require_whole(file: DataFile, progress: Progress) -> None:
    """Finds out what makes a file useless as a whole before its rows become tokens, which takes far longer.

    Raises:
        UserError: an archive is damaged or swells without end, or a JSON document is cut off.
    """
    if file.format in ("parquet", "arrow"):
        return
    for path in file.parts or (file.path,):
        packing = read_head(path)[1] if file.parts else file.packing
        if packing:
            for _ in byte_chunks(path, packing):
                progress.alive()
        elif file.format == "json":
            problem = cut_off(replace(file.source, path=path))
            if problem is not None:
                raise UserError(problem)


def _state(file: DataFile) -> list[tuple[int, int]]:
    """What changes when somebody writes to a file: its size and its time.

    Raises:
        UserError: it is gone.
    """
    states = []
    for path in file.parts or (file.path,):
        try:
            found = path.stat()
        except OSError as failure:
            raise UserError(unreadable(path, failure)) from failure
        states.append((found.st_size, found.st_mtime_ns))
    return states


def _understand(
    file: DataFile,
    spec: DataSpec,
    progress: Progress,
    bad: "_BadRows",
    repairs: RowRepairs,
    on_sample: Callable[[Sample], None] | None,
) -> tuple[Shape, list[Sample]]:
    rows = bad.without(_up_to_a_break(read_rows(file, on_bytes=progress.bytes_read), spec))
    first = list(itertools.islice(rows, ROWS_JUDGED))
    if not first:
        message = "No row of the file can be used." if bad.count else "The file has no rows."
        raise UserError(error(file.name, message, "Mend the file or choose another one."))
    shape = recognise(first, spec.format, spec.mapping, pairs=spec.train_on == "preferences")
    samples: list[Sample] = []
    stops = spec.bad_rows == "stop"
    for row in itertools.chain(first, rows):
        sample = to_sample(row, shape)
        if isinstance(sample, Problem):
            bad.add(sample)
            continue
        mended = repairs.mend(sample)
        if mended is None:
            continue
        samples.append(mended)
        progress.row_read()
        if on_sample is not None and not (bad.count and stops):  # then nothing will be trained
            on_sample(mended)
    return shape, samples


def _up_to_a_break(rows: Iterator[Row | Problem], spec: DataSpec) -> Iterator[Row | Problem]:
    """The rows; where the file is damaged behind some of them, that is one more bad row if the spec skips such.

    Raises:
        UserError: the file cannot be read on, or is damaged and the spec says to stop then, or before its first row.
    """
    count = 0
    try:
        for row in rows:
            count += 1
            yield row
    except BrokenFileError as failure:
        if not count or spec.bad_rows == "stop":
            raise
        for problem in failure.problems:
            message = f"{problem.message} The {count} rows before that place are used."
            yield error(problem.path, message, problem.advice)


class _BadRows:
    """Counts rows that cannot be used and keeps the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self._named: list[Problem] = []

    def without(self, rows: Iterable[Row | Problem]) -> Iterator[Row]:
        """The rows alone; the problems among them are counted."""
        for row in rows:
            if isinstance(row, Problem):
                self.add(row)
            else:
                yield row

    def add(self, problem: Problem) -> None:
        self.count += 1
        repeated = problem.fixes and sum(named.fixes == problem.fixes for named in self._named) >= _MOST_ALIKE
        if len(self._named) < MOST_NAMED and not repeated:
            self._named.append(problem)

    def listed(self) -> list[Problem]:
        return capped(self._named, self.count)


def capped(problems: Sequence[Problem], count: int) -> list[Problem]:
    """The first problems, and one that counts the rest."""
    named = list(problems[:MOST_NAMED])
    if count > len(named):
        path = named[0].path.rpartition(":")[0]
        rest = count - len(named)
        message = f"{rest} more {'row' if rest == 1 else 'rows'} cannot be used; {count} in all."
        advice = "Set data.bad_rows to “skip” to train without them."
        named.append(error(path, message, advice))
    return named


def as_warnings(problems: Iterable[Problem]) -> list[Problem]:
    """The same problems where they block nothing, because the rows are skipped."""
    return [
        problem if problem.severity is not Severity.ERROR else warning(problem.path, problem.message, "It is skipped.")
        for problem in problems
    ]


def keep_some(samples: list[T], most: int, seed: int) -> list[T]:
    """At most so many rows, chosen by the seed, in their own order; 0 keeps all."""
    if most <= 0 or most >= len(samples):
        return samples
    source = random.Random(seed_number("rows", seed))  # noqa: S311 (a choice, not a secret)
    ranked = sorted((source.random(), index) for index in range(len(samples)))
    return [samples[index] for index in sorted(index for _, index in ranked[:most])]


def _used_fallback(file: DataFile, progress: Progress) -> str:
    """The encoding stated or found for what is no UTF-8; empty where all of it is, so that nothing hangs on it."""
    if not file.fallback or file.format in ("parquet", "arrow"):
        return ""
    for path in file.parts or (file.path,):
        source = replace(file.source, path=path, packing=read_head(path)[1] if file.parts else file.packing)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for piece in utf8_chunks(source):
                decoder.decode(piece)
                progress.alive()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return file.fallback
        except UserError:  # damaged from some place on, which whoever read its rows has said already
            continue
    return ""


def file_hash(file: DataFile, alive: Callable[[], None]) -> str:
    """The hash of a file's bytes; of a folder, of the hashes of its files in their order."""
    hashes = []
    for path in file.parts or (file.path,):
        digest = hashlib.sha256()
        for piece in byte_chunks(path, ""):
            digest.update(piece)
            alive()
        hashes.append(digest.hexdigest())
    return hashes[0] if not file.parts else hashlib.sha256("\n".join(hashes).encode("ascii")).hexdigest()
