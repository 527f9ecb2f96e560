"""All points of one curve with minima and maxima over ever larger blocks, so that any stretch draws in no time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[tuple[int], np.dtype[np.float64]]
    Numbers = Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]

_BASE = 16
_FACTOR = 4
_FIRST_ROOM = 1024


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to draw of a curve: points in order of x; `lows` and `highs` are the same array where nothing was merged.

    A gap in the curve is a NaN.
    """

    xs: "Array"
    lows: "Array"
    highs: "Array"

    @property
    def merged(self) -> bool:
        """Whether each entry stands for several points."""
        return self.lows is not self.highs


class Pyramid:
    """Points by rising x. Appending costs as much as what is appended; nothing is ever thrown away."""

    def __init__(self) -> None:
        # no arrays yet: a plot without data must not load numpy, which takes a while
        self._xs = self._ys = cast("Array", ())
        self._length = 0
        self._levels: list[_Level] = []

    def __len__(self) -> int:
        return self._length

    @property
    def xs(self) -> "Array":
        """All x, a view."""
        return self._xs[: self._length]

    @property
    def ys(self) -> "Array":
        """All y as they were given, NaN and infinity among them; a view."""
        return self._ys[: self._length]

    def append(self, xs: "Numbers", ys: "Numbers") -> None:
        """Adds points behind the last one.

        Raises:
            ValueError: the lists differ in length, or x does not rise.
        """
        import numpy as np

        more_x, more_y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
        if more_x.shape != more_y.shape:
            raise ValueError(f"{len(more_x)} x and {len(more_y)} y")
        if not len(more_x):
            return
        last = self._xs[self._length - 1] if self._length else -math.inf
        if not more_x[0] > last or not bool(np.all(np.diff(more_x) > 0)):
            raise ValueError("x has to rise from point to point")
        end = self._length + len(more_x)
        self._make_room(end)
        self._xs[self._length : end] = more_x
        self._ys[self._length : end] = more_y
        self._length = end
        self._build()

    def reserve(self, length: int) -> None:
        """Makes room for so many points at once; growing a long curve later would mean to copy it."""
        if length > len(self._xs):
            self._make_room(length)

    def first(self, length: int) -> None:
        """Keeps only the first so many points."""
        self._length = max(0, min(length, self._length))
        for number, level in enumerate(self._levels):
            level.count = min(level.count, self._length // (_BASE * _FACTOR**number))

    def stretch(self, left: float, right: float, columns: int) -> Stretch:
        """The points between two x and one more on each side, merged where there are more than one for a column."""
        import numpy as np

        xs = self.xs
        begin = max(0, int(np.searchsorted(xs, left, "left")) - 1)
        end = min(self._length, int(np.searchsorted(xs, right, "right")) + 1)
        if end - begin <= max(8, columns):
            ys = self._finite(begin, end)
            return Stretch(xs[begin:end], ys, ys)
        at, lows, highs = self._blocks(begin, end, (end - begin) // (2 * max(1, columns)))
        column = np.floor((at - left) * (columns / (right - left)))
        starts = np.concatenate(([0], np.flatnonzero(np.diff(column)) + 1))
        middle = left + (column[starts] + 0.5) * ((right - left) / columns)
        return Stretch(middle, np.fmin.reduceat(lows, starts), np.fmax.reduceat(highs, starts))

    def nearest(self, x: float) -> int:
        """The place of the point whose x is nearest; -1 without any point."""
        import numpy as np

        if not self._length:
            return -1
        place = int(np.searchsorted(self.xs, x))
        if place == self._length or (place and x - self._xs[place - 1] <= self._xs[place] - x):
            place -= 1
        return place

    def _finite(self, begin: int, end: int) -> "Array":
        import numpy as np

        ys = self._ys[begin:end]
        return np.where(np.isfinite(ys), ys, np.nan)

    def _blocks(self, begin: int, end: int, size: int) -> "tuple[Array, Array, Array]":
        """x, minimum and maximum of blocks of at most ``size`` points; single points where no block fits."""
        import numpy as np

        number = -1
        while number + 1 < len(self._levels) and _BASE * _FACTOR ** (number + 1) <= size:
            number += 1
        if number < 0:
            ys = self._finite(begin, end)
            return self._xs[begin:end], ys, ys
        level, block = self._levels[number], _BASE * _FACTOR**number
        first, last = -(-begin // block), min(end // block, level.count)
        if first >= last:
            ys = self._finite(begin, end)
            return self._xs[begin:end], ys, ys
        head, tail = self._finite(begin, first * block), self._finite(last * block, end)
        middle = self._xs[first * block : last * block : block]
        at = np.concatenate((self._xs[begin : first * block], middle, self._xs[last * block : end]))
        lows = np.concatenate((head, level.lows[first:last], tail))
        highs = np.concatenate((head, level.highs[first:last], tail))
        return at, lows, highs

    def _make_room(self, length: int) -> None:
        if length > len(self._xs):
            room = max(length + length // 8, 2 * len(self._xs), _FIRST_ROOM)
            self._xs = _longer(self._xs, self._length, room)
            self._ys = _longer(self._ys, self._length, room)

    def _build(self) -> None:
        """Brings every level up to the newest whole block."""
        block = _BASE
        lows = highs = None
        number = 0
        while self._length // block:
            if number == len(self._levels):
                self._levels.append(_Level())
            level = self._levels[number]
            wanted = self._length // block
            if number == 0:
                fresh = self._finite(level.count * block, wanted * block)
                level.extend(fresh, fresh, wanted, _BASE)
            elif lows is not None and highs is not None:
                part = slice(level.count * _FACTOR, wanted * _FACTOR)
                level.extend(lows[part], highs[part], wanted, _FACTOR)
            lows, highs = level.lows, level.highs
            block *= _FACTOR
            number += 1


class _Level:
    """Minima and maxima of blocks of one size; `count` of them are whole."""

    def __init__(self) -> None:
        import numpy as np

        self.lows: Array = np.empty(64)
        self.highs: Array = np.empty(64)
        self.count = 0

    def extend(self, lows: "Array", highs: "Array", count: int, merge: int) -> None:
        """Adds blocks up to ``count`` in all, each made of ``merge`` smaller ones."""
        import numpy as np

        if count <= self.count:
            return
        if count > len(self.lows):
            room = max(count, 2 * len(self.lows))
            self.lows = _longer(self.lows, self.count, room)
            self.highs = _longer(self.highs, self.count, room)
        np.fmin.reduce(lows.reshape(-1, merge), axis=1, out=self.lows[self.count : count])
        np.fmax.reduce(highs.reshape(-1, merge), axis=1, out=self.highs[self.count : count])
        self.count = count


def _longer(array: "Array", length: int, room: int) -> "Array":
    import numpy as np

    made = np.empty(room)
    made[:length] = array[:length]
    return made
