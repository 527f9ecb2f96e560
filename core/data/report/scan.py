"""Goes through all rows of a data set once, keeping of each no more than some numbers."""

from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from core.data.drafts import Draft, make_drafts
from core.data.flaws import one_line
from core.data.formats import DataFile
from core.data.labels import finish_drafts, tokenize_drafts
from core.data.near import NearIndex, text_of
from core.data.reading import Progress
from core.data.repairs import RowRepairs
from core.data.report.checks import CHECKS, TURN_CHECKS, opening
from core.data.report.files import NumberedRow, numbered_rows, open_files, shape_of, some_rows
from core.data.report.languages import NAMES, language_of, text_to_judge
from core.data.report.rows import Refused, RowTable, Seen
from core.data.split import content_key
from core.data.splitting import Splitter
from core.data.templates import ChatTemplate
from core.data.tokenizer import EncodedTexts, Tokenizer
from core.data.types import Encoded, Sample, Shape
from core.errors import Fix, Problem
from core.spec.sections import DataSpec

_ROWS, _CHARACTERS = 512, 500_000
"""Rows are worked on in groups of at most so many rows and so much text."""

LANGUAGES = tuple(NAMES)


@dataclass(slots=True)
class _Batch:
    """Rows on their way to tokens: their places in the table, and the pieces that are trained of each."""

    samples: list[Sample] = field(default_factory=list)
    size: int = 0
    rows: list[int] = field(default_factory=list)
    drafts: list[Draft | Problem] = field(default_factory=list)
    found: "Future[tuple[EncodedTexts, EncodedTexts]] | None" = None

    def add(self, sample: Sample, size: int) -> None:
        self.samples.append(sample)
        self.size += size

    @property
    def is_full(self) -> bool:
        return len(self.samples) >= _ROWS or self.size >= _CHARACTERS


@dataclass(slots=True)
class MorePieces:
    """What splitting made of long rows beyond their first pieces, which the table holds."""

    rows: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    supervised: "array[int]" = field(default_factory=lambda: array("I"))


class Scan:
    """Reads files and remembers what it sees. Use it as a context manager, or close it: it holds temporary files.

    Attributes:
        table: every row that could be understood, those of training files first.
        trained: how many of them belong to training files.
        seen: what was found in which rows.
        refused: rows that cannot be read or understood.
        shapes: what the rows of each file are.
        repairs: those of single rows, with what they did.
        near: signatures of all rows.
        more: pieces of rows that were split.
        advised: what would make the template write rows that it refuses.
    """

    def __init__(self, spec: DataSpec, tokenizer: Tokenizer, template: ChatTemplate, progress: Progress) -> None:
        self.table, self.trained = RowTable(), 0
        self.seen: dict[str, Seen] = {}
        self.refused = Refused()
        self.shapes: list[Shape] = []
        self.repairs = RowRepairs(spec.repairs)
        self.near = NearIndex()
        self.more = MorePieces()
        self.advised: dict[Fix, None] = {}
        self._spec, self._tokenizer, self._template, self._progress = spec, tokenizer, template, progress
        self._splitter = Splitter(tokenizer, template, spec) if "split_long" in spec.repairs else None
        self._files: list[DataFile] = []
        self._stops: list[int] = []

    def read_all(self) -> None:
        """Goes through the training files, and then through the validation files.

        Raises:
            UserError: a file cannot be read, or nobody can tell what its rows are.
        """
        self._files = open_files(self._spec)
        self._progress.expect(sum(file.bytes for file in self._files))
        self.shapes = [shape_of(file, self._spec) for file in self._files]
        with ThreadPoolExecutor(1, "tokenizer") as pool:
            waiting: _Batch | None = None
            for batch in self._batches():
                batch.found = pool.submit(tokenize_drafts, batch.drafts, self._tokenizer)
                # While the library is at work on this batch, its words are looked at and the one before is counted.
                self._look(batch)
                if waiting is not None:
                    self._count(waiting)
                waiting = batch
            if waiting is not None:
                self._count(waiting)
        self._progress.alive()

    def again(self, wanted: Sequence[int]) -> Iterator[tuple[int, Sample]]:
        """The rows with these numbers in the table (ascending) once more, from their files and with their repairs."""
        repairs = RowRepairs(self._spec.repairs)
        place = 0
        for file, shape, stop in zip(self._files, self.shapes, self._stops, strict=True):
            first = place
            while place < len(wanted) and wanted[place] < stop:
                place += 1
            rows = {self.table.numbers[index]: index for index in wanted[first:place]}
            for row in some_rows(file, shape, list(rows)) if rows else ():
                sample = repairs.mend(row.sample) if isinstance(row.sample, Sample) else None
                if sample is not None:
                    yield rows[row.number], sample
                self._progress.alive()

    def _batches(self) -> Iterator[_Batch]:
        batch = _Batch()
        for file_number, (file, shape) in enumerate(zip(self._files, self.shapes, strict=True)):
            self.table.begin_file(file.name)
            for row in numbered_rows(file, shape, on_bytes=self._progress.bytes_read):
                sample = self._usable(file, row)
                if sample is None:
                    continue
                batch.rows.append(len(self.table))
                self.table.add(row.number, row.line, row.part, content_key(sample))
                self._progress.row_read()
                batch.add(sample, _size(sample))
                if batch.is_full:
                    yield self._drafted(batch)
                    batch = _Batch()
            self._progress.file_done(file.bytes)
            self._stops.append(len(self.table))
            if file_number + 1 == len(self._spec.train):
                self.trained = len(self.table)
        if batch.samples:
            yield self._drafted(batch)

    def _usable(self, file: DataFile, row: NumberedRow) -> Sample | None:
        if isinstance(row.sample, Problem):
            self.refused.add(file.name, row.number, row.line, row.part, row.sample.message)
            return None
        return self.repairs.mend(row.sample)

    def _drafted(self, batch: _Batch) -> _Batch:
        samples = batch.samples
        if self._splitter is not None:
            parts = [self._splitter.split(sample) for sample in samples]
            self.repairs.counts["split_long"] += sum(len(part) > 1 for part in parts)
            batch.rows = [row for row, part in zip(batch.rows, parts, strict=True) for _ in part]
            samples = [piece for part in parts for piece in part]
        batch.drafts = make_drafts(samples, self._template, self._spec.train_on)
        return batch

    def _look(self, batch: _Batch) -> None:
        """Everything that the words of the rows tell."""
        self.near.add([text_of(sample) for sample in batch.samples])
        for row, sample in zip(dict.fromkeys(batch.rows), batch.samples, strict=True):
            self.table.languages.append(LANGUAGES.index(language_of(text_to_judge(sample))))
            for name, check in CHECKS.items():
                excerpt = check(sample)
                if excerpt is not None:
                    self._see(name, row, excerpt)
            if sample.messages:
                for name, check in TURN_CHECKS.items():
                    excerpt = check(sample)
                    if excerpt is not None:
                        self._see(name, row, excerpt)
        self._progress.alive()

    def _count(self, batch: _Batch) -> None:
        """Everything that the tokens of the rows tell."""
        assert batch.found is not None, "a batch is counted when it has been tokenised"
        encoded = finish_drafts(batch.drafts, batch.found.result(), self._tokenizer)
        samples = dict(zip(dict.fromkeys(batch.rows), batch.samples, strict=True))
        before = -1
        for row, document in zip(batch.rows, encoded, strict=True):
            if isinstance(document, Problem):
                self._see("unwritable", row, one_line(document.message))
                self.advised.update(dict.fromkeys(document.fixes))
            else:
                self._count_one(row, document, samples[row], is_first=row != before)
            before = row
        self._progress.encoded(len(batch.samples))

    def _count_one(self, row: int, document: Encoded, sample: Sample, *, is_first: bool) -> None:
        limit = self._spec.max_length
        answer = document.supervised
        kept = answer if len(document) <= limit else document.marks.count(1, 0, limit)
        if not kept:
            self._see("masked_by_cut" if answer else "masked", row, opening(sample))
            return
        if len(document) > limit and is_first:
            self._see("cut", row, opening(sample))
        if is_first:
            self.table.lengths[row], self.table.supervised[row] = len(document), kept
            self.table.answers[row] = answer
        else:
            self.more.rows.append(row)
            self.more.lengths.append(len(document))
            self.more.supervised.append(kept)

    def _see(self, name: str, row: int, excerpt: str) -> None:
        self.seen.setdefault(name, Seen()).add(row, excerpt)

    def close(self) -> None:
        """Deletes the temporary files."""
        self.near.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _size(sample: Sample) -> int:
    return len(sample.prompt) + len(sample.completion) + sum(len(message.content) for message in sample.messages)
