"""Which tokens carry loss, from the characters that do: the one place where this is decided."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from core.data.spans import Span

    Places = np.ndarray[tuple[int], np.dtype[np.int64]]
    Marks = np.ndarray[tuple[int], np.dtype[np.uint8]]


def mark_tokens(
    starts: "Places", stops: "Places", spans: "Sequence[Span]", between: Callable[[int, int], str]
) -> "Marks":
    """For each token 1 where it belongs to a span, 0 elsewhere.

    A token belongs to a span if it begins inside it, or reaches into it with more than white space: where "… " and
    "yes" become the one token " yes", the answer must not vanish.

    Args:
        starts: where the text of each token begins, ascending.
        stops: where it ends, ascending too.
        spans: the characters that carry loss, ascending and apart.
        between: the text between two places.
    """
    import numpy as np

    marks = np.zeros(len(starts), np.uint8)
    if not spans or not len(starts):
        return marks
    edges = np.searchsorted(starts, np.array(spans, np.int64).ravel()).tolist()
    reached = 0
    for (first, stop), begin, end in zip(spans, edges[::2], edges[1::2], strict=True):
        marks[begin:end] = 1
        before = begin - 1
        while (
            before >= 0
            and stops[before] > first
            and starts[before] >= reached
            and between(first, int(stops[before])).strip()
        ):
            marks[before] = 1
            before -= 1
        reached = stop
    return marks
