"""Goes through all rows of a data set once, keeping of each no more than some numbers."""

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from core.data.batches import Done, TokenBatches
from core.data.flaws import one_line
from core.data.formats import DataFile
from core.data.near import NearIndex, text_of
from core.data.reading import Progress
from core.data.repairs import RowRepairs
from core.data.report.checks import find_flaws_of_pairs, opening
from core.data.report.files import NumberedRow, numbered_rows, open_files, shape_of, some_rows
from core.data.report.languages import NAMES, language_of, text_to_judge
from core.data.report.rows import Extremes, Refused, RowTable, Seen
from core.data.sides import sides_of
from core.data.split import content_key, side_key, worse_key
from core.data.splitting import Splitter, can_split
from core.data.templates import ChatTemplate
from core.data.token_cache import TokenCache, tokens_folder
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded, Sample, Shape
from core.errors import Fix, Problem
from core.spec.sections import DataSpec

_LOOKED_AT = 256
"""Rows whose words are looked at together."""

LANGUAGES = tuple(NAMES)


@dataclass(slots=True)
class MorePieces:
    """What splitting made of long rows beyond their first pieces, and the worse answers of pairs.

    The table holds the first pieces and the better answers.
    """

    rows: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    supervised: "array[int]" = field(default_factory=lambda: array("I"))


class Scan:
    """Reads files and remembers what it sees. Use it as a context manager, or close it: it holds temporary files.

    Attributes:
        table: every row that could be understood, those of training files first.
        trained: how many of them belong to training files.
        seen: what was found in which rows.
        extremes: the shortest and the longest answers of training rows.
        refused: rows that cannot be read or understood.
        files: what is read, training files first.
        stops: for each file the number of the row behind its last one.
        shapes: what the rows of each file are.
        repairs: those of single rows, with what they did.
        near: signatures of all rows.
        split_rows, more: rows that were split, and their pieces beyond the first.
        advised: what would make the template write rows that it refuses.
        splittable: how many rows that are too long can be split.
        hidden: tokens of the longest row whose answer lies behind the limit.
    """

    def __init__(self, spec: DataSpec, tokenizer: Tokenizer, template: ChatTemplate, progress: Progress) -> None:
        self.table, self.trained = RowTable(), 0
        self.seen: dict[str, Seen] = {}
        self.extremes = Extremes()
        self.refused = Refused()
        self.shapes: list[Shape] = []
        self.repairs = RowRepairs(spec.repairs)
        self.near = NearIndex()
        self.more, self.split_rows = MorePieces(), array("Q")
        self.advised: dict[Fix, None] = {}
        self.splittable = self.hidden = 0
        self._spec, self._progress = spec, progress
        self._splitter = Splitter(tokenizer, template, spec) if "split_long" in spec.repairs else None
        cache = TokenCache(tokens_folder())
        self._batches = TokenBatches(tokenizer, template, spec.train_on, alive=progress.alive, cache=cache)
        self._better: Done
        self._sent: deque[tuple[int, bool]] = deque()
        self.files: list[DataFile] = []
        self.stops: list[int] = []

    def read_all(self) -> None:
        """Goes through the training files, and then through the validation files.

        Raises:
            UserError: a file cannot be read, or nobody can tell what its rows are.
        """
        self.files = open_files(self._spec)
        self._progress.expect(sum(file.bytes for file in self.files))
        self.shapes = [shape_of(file, self._spec) for file in self.files]
        fresh: list[Sample] = []
        for sample in self._samples():
            fresh.append(sample)
            if len(fresh) == _LOOKED_AT:
                self._look(fresh)
                fresh = []
        self._look(fresh)
        for done in self._batches.flush():
            self._count(done)
        self._progress.alive()

    def again(self, wanted: Sequence[int]) -> Iterator[tuple[int, Sample]]:
        """The rows with these numbers in the table (ascending) once more, from their files and with their repairs."""
        repairs = RowRepairs(self._spec.repairs)
        place = 0
        for file, shape, stop in zip(self.files, self.shapes, self.stops, strict=True):
            first = place
            while place < len(wanted) and wanted[place] < stop:
                place += 1
            rows = {self.table.numbers[index]: index for index in wanted[first:place]}
            for row in some_rows(file, shape, list(rows)) if rows else ():
                sample = repairs.mend(row.sample) if isinstance(row.sample, Sample) else None
                if sample is not None:
                    yield rows[row.number], sample
                self._progress.alive()

    def _samples(self) -> Iterator[Sample]:
        """The rows that can be understood, each with its place in the table, and on its way to tokens."""
        for number, (file, shape) in enumerate(zip(self.files, self.shapes, strict=True)):
            self.table.begin_file(file.name)
            for row in numbered_rows(file, shape, on_bytes=self._progress.bytes_read):
                sample = self._usable(file, row)
                if sample is not None:
                    key = content_key(sample)
                    side = side_key(sample) if sample.rejected else b""
                    self.table.add(row.number, row.line, row.part, key, side, worse_key(sample))
                    self._progress.row_read()
                    self._send(len(self.table) - 1, sample, key)
                    yield sample
            self._progress.file_done(file.bytes)
            self.stops.append(len(self.table))
            if number + 1 == len(self._spec.train):
                self.trained = len(self.table)

    def _usable(self, file: DataFile, row: NumberedRow) -> Sample | None:
        if isinstance(row.sample, Problem):
            self.refused.add(file.name, row.number, row.line, row.part, row.sample.message)
            return None
        return self.repairs.mend(row.sample)

    def _send(self, row: int, sample: Sample, key: bytes) -> None:
        """Hands a row over to the tokenizer, whole or in parts, and counts what comes back meanwhile."""
        parts = sides_of(sample) if self._splitter is None else self._splitter.split(sample)
        if len(parts) > 1 and not sample.rejected:
            self.split_rows.append(row)
        for number, part in enumerate(parts):
            self._sent.append((row, number == 0))
            for done in self._batches.add(part, key if part is sample else b""):
                self._count(done)

    def _look(self, samples: Sequence[Sample]) -> None:
        """Everything that the words of the last rows tell."""
        self.near.add([text_of(sample) for sample in samples])
        first = len(self.table) - len(samples)
        self.table.languages.extend(LANGUAGES.index(language_of(text_to_judge(sample))) for sample in samples)
        for name, row, excerpt in find_flaws_of_pairs(samples):
            self._see(name, first + row, excerpt)
        self._progress.alive()

    def _count(self, done: Sequence[Done]) -> None:
        """Everything that the tokens of rows tell."""
        for sample, document in done:
            row, is_first = self._sent.popleft()
            if self._spec.train_on == "preferences":
                self._count_side(row, sample, document, is_first=is_first)
            elif isinstance(document, Problem):
                self._see("unwritable", row, one_line(document.message))
                self.advised.update(dict.fromkeys(document.fixes))
            else:
                self._count_one(row, document, sample, is_first=is_first)
        self._progress.encoded(len(done))

    def _count_side(self, row: int, sample: Sample, document: Encoded | Problem, *, is_first: bool) -> None:
        """One answer of a pair; the two are counted together, as soon as the second is there."""
        if is_first:
            self._better = sample, document
            return
        both = (self._better, (sample, document))
        failed = next((found for _, found in both if isinstance(found, Problem)), None)
        if failed is not None:
            self._see("unwritable", row, one_line(failed.message))
            self.advised.update(dict.fromkeys(failed.fixes))
            return
        whole = [(side, found) for side, found in both if isinstance(found, Encoded)]
        limit = self._spec.max_length
        lost = [(side, found) for side, found in whole if not found.marks.count(1, 0, limit)]
        for place, (side, found) in enumerate(lost[:1] or whole):
            self._count_one(row, found, side, is_first=bool(lost) or not place)
        longer = len(whole[0][1]) <= limit < len(whole[1][1])
        if not lost and longer:  # of a row whose better answer is cut as well this is said already
            self._see("cut", row, opening(sample))

    def _count_one(self, row: int, document: Encoded, sample: Sample, *, is_first: bool) -> None:
        limit = self._spec.max_length
        answer = document.supervised
        kept = answer if len(document) <= limit else document.marks.count(1, 0, limit)
        if not kept:
            self._see("masked_by_cut" if answer else "masked", row, opening(sample))
            self.hidden = max(self.hidden, len(document) if answer else 0)
            return
        if len(document) > limit and is_first:
            self._see("cut", row, opening(sample))
            self.splittable += self._splitter is None and self._spec.train_on != "preferences" and can_split(sample)
        if is_first:
            self.table.lengths[row], self.table.supervised[row] = len(document), kept
            self.table.answers[row] = answer
            if row < self.trained or not self.trained:
                self.extremes.add(row, answer, lambda: opening(sample))
        else:
            self.more.rows.append(row)
            self.more.lengths.append(len(document))
            self.more.supervised.append(kept)

    def _see(self, name: str, row: int, excerpt: str) -> None:
        self.seen.setdefault(name, Seen()).add(row, excerpt)

    def close(self) -> None:
        """Deletes the temporary files, and waits for nothing."""
        self._batches.close()
        self.near.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
