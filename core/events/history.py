"""Sequences that never change and yet grow cheaply: what a million steps leave behind.

A view is a shared buffer and a length. Appending to the newest view extends the buffer and returns a longer view; the
older ones still see their own length. Appending to an older view copies first, which happens once per resume.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar, get_args, overload

from core.events.types import Step

T = TypeVar("T")
Column = Literal[
    "step",
    "time",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens",
    "supervised_tokens",
    "seconds",
    "memory_bytes",
    "passes",
    "applied",
    "preferred",
    "margin",
]
COLUMNS: tuple[Column, ...] = get_args(Column)


def _row(time: float, step: Step) -> tuple[float, ...]:
    """One row in the order of `COLUMNS`."""
    return (
        step.step,
        time,
        step.epoch,
        step.loss,
        step.learning_rate,
        step.grad_norm,
        step.tokens,
        step.supervised_tokens,
        step.seconds,
        step.memory_bytes,
        step.passes,
        step.applied,
        _or_nan(step.preferred),
        _or_nan(step.margin),
    )


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number


class Log(Sequence[T], Generic[T]):
    """An immutable sequence; `append` returns a longer one at the price of one list append."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: Iterable[T] = ()) -> None:
        """Holds ``items``."""
        self._items = list(items)
        self._length = len(self._items)

    @classmethod
    def _view(cls, items: list[T], length: int) -> "Log[T]":
        log: Log[T] = cls()
        log._items, log._length = items, length
        return log

    def append(self, item: T) -> "Log[T]":
        """This log and one item more."""
        items = self._items if len(self._items) == self._length else self._items[: self._length]
        items.append(item)
        return Log._view(items, self._length + 1)

    def first(self, length: int) -> "Log[T]":
        """The first ``length`` items."""
        return Log._view(self._items, max(0, min(length, self._length)))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            start, stop, stride = index.indices(self._length)
            return tuple(self._items[position] for position in range(start, stop, stride))
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._items[index % self._length]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return (self._items[position] for position in range(self._length))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Log):
            return NotImplemented
        return self._length == other._length and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # compares by content and may be long

    def __repr__(self) -> str:
        return f"Log({list(self)!r})"


class StepTable:
    """Every optimizer step so far, by column; immutable, one row per step, steps strictly rising."""

    __slots__ = ("_columns", "_length")

    def __init__(self, columns: tuple["array[float]", ...] = (), length: int = 0) -> None:
        """Holds the first ``length`` rows of ``columns``; called without arguments, no steps."""
        self._columns = columns or tuple(array("d") for _ in COLUMNS)
        self._length = length

    def extend(self, rows: Iterable[tuple[float, Step]]) -> "StepTable":
        """This table with more steps, given as (Unix time, step); steps that are repeated replace the later ones."""
        columns, length = self._columns, self._length
        for time, step in rows:
            if length and columns[0][length - 1] >= step.step:
                length = bisect_left(columns[0], step.step, 0, length)
            if len(columns[0]) != length:
                columns = tuple(column[:length] for column in columns)
            for column, value in zip(columns, _row(time, step), strict=True):
                column.append(value)
            length += 1
        return StepTable(columns, length)

    def before(self, step: int) -> "StepTable":
        """The rows of steps smaller than ``step``."""
        return StepTable(self._columns, bisect_left(self._columns[0], step, 0, self._length))

    def column(self, name: Column, start: int = 0, stop: int | None = None) -> "array[float]":
        """The values of one column from row ``start`` to row ``stop``, as an array of its own (doubles).

        Raises:
            ValueError: there is no such column.
        """
        rows = slice(start, stop).indices(self._length)
        return self._columns[COLUMNS.index(name)][slice(*rows)]

    def last(self, name: Column) -> float:
        """The newest value of one column.

        Raises:
            IndexError: there is no step yet.
        """
        if not self._length:
            raise IndexError("no step has been taken yet")
        return self._columns[COLUMNS.index(name)][self._length - 1]

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StepTable):
            return NotImplemented
        # Bytes, because NaN (a skipped step's loss) is unequal to itself.
        return self._length == other._length and all(
            self.column(name).tobytes() == other.column(name).tobytes() for name in COLUMNS
        )

    __hash__ = None  # type: ignore[assignment]  # compares by content and may be long

    def __repr__(self) -> str:
        return f"StepTable({self._length} steps)"
