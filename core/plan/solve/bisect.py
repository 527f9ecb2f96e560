"""Finds the edge between what fits and what does not, where more never needs less memory."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def last_good(values: Sequence[int], test: Callable[[int], T | None]) -> T | None:
    """What ``test`` says about the last value that it likes; None if it likes not even the first.

    ``test`` likes the values up to an edge and none beyond, and answers None for those. Where that is not so, the
    answer still belongs to a value that it likes.
    """
    best = test(values[0]) if values else None
    if best is None:
        return None
    low, high = 0, len(values)
    while low + 1 < high:
        middle = (low + high) // 2
        found = test(values[middle])
        if found is None:
            high = middle
        else:
            low, best = middle, found
    return best
