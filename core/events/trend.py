"""Is a noisy curve falling? Robust levels and slopes with their own error, from a few thousand values at most."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from core.events.history import Column, StepTable

MOST_BLOCKS = 60
BLOCK_ROWS = 32
FEWEST_BLOCKS = 10
# From the median absolute deviation to a standard deviation, and what a median costs against a mean.
_NORMAL = 1.4826
_MEDIAN_COST = 1.25


@dataclass(frozen=True, slots=True)
class Movement:
    """How far a curve has gone up over a stretch by its slope (below zero: down), and the standard error of that."""

    change: float
    error: float

    def surely_falls(self, errors: float) -> bool:
        """Whether it goes down by more than so many standard errors."""
        return -self.change > errors * self.error

    def surely_rises(self, errors: float) -> bool:
        """Whether it goes up by more than so many standard errors."""
        return self.change > errors * self.error


@dataclass(frozen=True, slots=True)
class Trend:
    """How a curve has moved.

    Attributes:
        first, last: its level in its first rows, and in its last fifth.
        levels: the difference of the two.
        whole, half: the slope of all of it, and of the second half.
    """

    first: float
    last: float
    levels: Movement
    whole: Movement
    half: Movement

    @property
    def fall(self) -> float:
        """How far it has come down; below zero it has risen."""
        return self.first - self.last


def blocks(history: StepTable, name: Column, start: int = 0, stop: int | None = None) -> list[float]:
    """Means of at most `MOST_BLOCKS` evenly spread stretches of one column, numbers that are not finite left out.

    A stretch has at most `BLOCK_ROWS` rows, so a million rows cost as much as two thousand.
    """
    first, last, _ = slice(start, stop).indices(len(history))
    count = min(MOST_BLOCKS, max(0, last - first))
    found = []
    for number in range(count):
        begin = first + number * (last - first) // count
        end = first + (number + 1) * (last - first) // count
        values = [x for x in history.column(name, begin, min(end, begin + BLOCK_ROWS)) if math.isfinite(x)]
        if values:
            found.append(sum(values) / len(values))
    return [value for value in found if math.isfinite(value)]


def trend(history: StepTable, name: Column, start: int = 0) -> Trend | None:
    """How a column moves from row ``start`` on; None while there are too few rows to tell."""
    values = blocks(history, name, start)
    if len(values) < FEWEST_BLOCKS:
        return None
    noise = _noise(values)
    beginning = _beginning(history, name, start)
    ending = values[-(len(values) // 5) :]
    first, last = median(beginning), median(ending)
    # The first rows are single steps where the blocks may be means of many.
    errors = (_noise(beginning) / math.sqrt(len(beginning)), noise / math.sqrt(len(ending)))
    levels = Movement(last - first, _MEDIAN_COST * math.hypot(*errors))
    return Trend(first, last, levels, _movement(values, noise), _movement(values[len(values) // 2 :], noise))


def _beginning(history: StepTable, name: Column, start: int) -> list[float]:
    """The first fifth of the rows, at most `BLOCK_ROWS` of them."""
    count = min(BLOCK_ROWS, (len(history) - start) // 5)
    found = [x for x in history.column(name, start, start + count) if math.isfinite(x)]
    return found if len(found) > 1 else blocks(history, name, start)[:2]


def _movement(values: Sequence[float], noise: float) -> Movement:
    count = len(values)
    span = count - 1
    return Movement(_slope(values) * span, noise * span * math.sqrt(12 / (count * (count * count - 1))))


def _noise(values: Sequence[float]) -> float:
    """Standard deviation around the curve, from neighbours: what a slow fall does to it can be neglected."""
    if len(values) < 3:
        return 0.0
    steps = [after - before for before, after in itertools.pairwise(values)]
    middle = median(steps)
    return _NORMAL * median([abs(step - middle) for step in steps]) / math.sqrt(2)


def _slope(values: Sequence[float]) -> float:
    """Theil and Sen's: the median slope of all pairs, which a few wild values cannot move."""
    return median(
        [(values[b] - values[a]) / (b - a) for a in range(len(values) - 1) for b in range(a + 1, len(values))]
    )
