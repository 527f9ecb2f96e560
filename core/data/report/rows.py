"""What is remembered of every row while a data set is gone through: some forty bytes, and never its words."""

import bisect
import heapq
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.data.report.types import MOST_PLACES, RowPlace

EXCERPT = 160
"""Characters of a row that a finding quotes."""
_KEY = 16
"""Bytes of a hash of what a row says."""


@dataclass(slots=True)
class RowTable:
    """One entry for each row that could be understood, in the order in which they were read, training rows first.

    Attributes:
        numbers, lines: where a row stands in its file, see `RowPlace`.
        keys: what a row says, as a hash of 16 bytes (`core.data.split.content_key`).
        sides: the same without the worse answers of pairs (`core.data.split.side_key`); empty where there are no pairs.
        worse: a hash of the worse answers of pairs (`core.data.split.worse_key`); empty where there are no pairs.
        lengths: tokens before the cut; 0 for a row from which nothing can be learned.
        supervised: tokens that carry loss, after the cut.
        answers: the same before the cut.
        languages: the number of its language.
    """

    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    lines: "array[int]" = field(default_factory=lambda: array("I"))
    keys: bytearray = field(default_factory=bytearray)
    sides: bytearray = field(default_factory=bytearray)
    worse: bytearray = field(default_factory=bytearray)
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    supervised: "array[int]" = field(default_factory=lambda: array("I"))
    answers: "array[int]" = field(default_factory=lambda: array("I"))
    languages: bytearray = field(default_factory=bytearray)
    _files: list[tuple[int, str]] = field(default_factory=list)
    _parts: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    def begin_file(self, name: str) -> None:
        """The rows from here on belong to the file that the spec calls ``name``."""
        self._files.append((len(self), name))
        self._parts.append((len(self), ""))

    def add(self, number: int, line: int, part: str, key: bytes, side: bytes = b"", worse: bytes = b"") -> None:
        """One more row, before anything is known of its tokens."""
        if part != self._parts[-1][1]:
            self._parts.append((len(self), part))
        self.numbers.append(number)
        self.lines.append(line)
        self.keys += key
        self.sides += side
        self.worse += worse
        for column in (self.lengths, self.supervised, self.answers):
            column.append(0)

    def place(self, index: int, excerpt: str) -> RowPlace:
        """Where a row stands."""
        return RowPlace(
            _at(self._files, index), self.numbers[index], self.lines[index] or None, excerpt, _at(self._parts, index)
        )

    def file_numbers(self) -> Any:
        """For each row the number of the file that it stands in; the files of a folder count one by one."""
        import numpy as np

        begins = dict.fromkeys((begin for begin, _ in self._parts), 0)
        names = [_at(self._parts, begin) or _at(self._files, begin) for begin in begins]
        known = {name: number for number, name in enumerate(dict.fromkeys(names))}
        sizes = np.diff([*begins, len(self)])
        return np.repeat(np.array([known[name] for name in names], np.int64), sizes)

    def worse_of(self, index: int) -> bytes:
        """The hash of a row's worse answer; empty where there are no pairs."""
        return bytes(self.worse[_KEY * index : _KEY * (index + 1)])

    def column(self, name: str) -> Any:
        """A column as an array of numpy that shares its memory; the table must not grow while it is used."""
        import numpy as np

        values = getattr(self, name)
        if name == "sides" and not values:
            values = self.keys
        if isinstance(values, bytearray):
            return np.frombuffer(values, "V16" if name in ("keys", "sides") else np.uint8)
        return np.frombuffer(values, np.dtype(values.typecode)) if values else np.zeros(0, values.typecode)


def _at(marks: Sequence[tuple[int, str]], index: int) -> str:
    return marks[bisect.bisect_right(marks, index, key=lambda mark: mark[0]) - 1][1]


@dataclass(slots=True)
class Seen:
    """The rows in which one thing was seen.

    Attributes:
        rows: their numbers in the table, ascending.
        excerpts: the words in question of the first of them.
    """

    rows: "array[int]" = field(default_factory=lambda: array("Q"))
    excerpts: dict[int, str] = field(default_factory=dict)

    def add(self, row: int, excerpt: str) -> None:
        """One more row."""
        self.rows.append(row)
        if len(self.excerpts) < MOST_PLACES:
            self.excerpts[row] = shortened(excerpt)


@dataclass(slots=True)
class Extremes:
    """The rows with the shortest and the longest answers, with their words, should they turn out to be unusual.

    Attributes:
        short, long: row -> the words of it that a finding quotes.
    """

    short: dict[int, str] = field(default_factory=dict)
    long: dict[int, str] = field(default_factory=dict)
    _heaps: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(default_factory=lambda: ([], []))

    def add(self, row: int, tokens: int, excerpt: Callable[[], str]) -> None:
        """One more row."""
        for heap, kept, size in zip(self._heaps, (self.short, self.long), (-tokens, tokens), strict=True):
            if len(heap) < MOST_PLACES:
                heapq.heappush(heap, (size, row))
            elif size > heap[0][0]:
                del kept[heapq.heapreplace(heap, (size, row))[1]]
            else:
                continue
            kept[row] = shortened(excerpt())


@dataclass(slots=True)
class Refused:
    """Rows that cannot be read or understood, which have no place in the table."""

    count: int = 0
    places: list[RowPlace] = field(default_factory=list)

    def add(self, file: str, number: int, line: int, part: str, why: str) -> None:
        """One more."""
        self.count += 1
        if len(self.places) < MOST_PLACES:
            self.places.append(RowPlace(file, number, line or None, shortened(why), part))


def shortened(text: str) -> str:
    """A text that fits a list."""
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"
