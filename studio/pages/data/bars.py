"""The bars of the length histogram: how many rows are about how long, on a scale where each doubling is as wide."""

import math
from dataclasses import dataclass

from core.data.report.types import Lengths

_PER_DOUBLING = 4
_FEWEST_DOUBLINGS = 3
_ROOM = 1.06
_REACH = 2.0
"""The axis goes on behind the longest row to a limit of at most so many times its length."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Rows of more than ``low`` and at most ``high`` tokens."""

    low: float
    high: float
    rows: int


def bars_of(lengths: Lengths) -> tuple[Bar, ...]:
    """Bars from the shortest to the longest row, empty ones left out.

    Lengths of texts differ by factors, not by sums: on an even scale one long row would press all others into one bar.
    """
    counts: dict[int, int] = {}
    for length, rows in zip(lengths.tokens, lengths.rows, strict=True):
        step = math.ceil(_PER_DOUBLING * math.log2(max(1, length)))
        counts[step] = counts.get(step, 0) + rows
    return tuple(
        Bar(2 ** ((step - 1) / _PER_DOUBLING), 2 ** (step / _PER_DOUBLING), rows)
        for step, rows in sorted(counts.items())
    )


@dataclass(frozen=True, slots=True)
class Axis:
    """The lengths between the left and the right edge of the plot; logarithmic."""

    low: float
    high: float

    def share(self, length: float) -> float:
        """Where a length is: 0 at the left edge, 1 at the right one."""
        return math.log2(max(1.0, length) / self.low) / math.log2(self.high / self.low)

    def length(self, share: float) -> float:
        """The length at a place."""
        return self.low * math.exp2(min(1.0, max(0.0, share)) * math.log2(self.high / self.low))

    def ticks(self, most: int) -> tuple[int, ...]:
        """Powers of two between the edges, only some of them where there are more than ``most``."""
        first, last = math.ceil(math.log2(self.low)), math.floor(math.log2(self.high))
        step = max(1, math.ceil((last - first + 1) / max(1, most)))
        return tuple(2**power for power in range(first, last + 1, step))


def axis_of(bars: tuple[Bar, ...], limit: int) -> Axis:
    """An axis for all bars, and for the limit where that is not far away from them."""
    low, high = (bars[0].low, bars[-1].high) if bars else (1.0, 2.0)
    if high < limit <= high * _REACH:
        high = float(limit)
    high *= _ROOM
    low = max(1.0, min(low, high / 2**_FEWEST_DOUBLINGS))
    return Axis(low, max(high, low * 2))
