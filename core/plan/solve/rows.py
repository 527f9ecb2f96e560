"""What a lower limit cuts off the rows, from the histogram of their lengths."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from core.facts.types import LengthFacts


class Cut(NamedTuple):
    """How many rows would lose their end, and how many tokens in all; estimated within a bin of the histogram."""

    rows: int
    tokens: int


def cut_at(lengths: LengthFacts, limit: int) -> Cut:
    """What cutting at ``limit`` tokens takes from rows as they are now.

    Exact where ``limit`` is the edge of a bin and nothing lies above the next one; between edges, the rows of a bin
    count as spread evenly over it.
    """
    if lengths.rows <= 0 or limit >= lengths.longest:
        return Cut(0, 0)
    rows = tokens = 0.0
    for low, high, count in _bins(lengths):
        if high <= limit or not count:
            continue
        above = min(1.0, (high - limit) / max(1, high - low))
        shortest = max(low, limit)
        rows += count * above
        tokens += count * above * ((shortest + high) / 2 - limit)
    # The longest row is known and is longer than the limit.
    found = min(lengths.rows, max(1, round(rows)))
    return Cut(found, min(lengths.tokens, max(found, round(tokens))))


def cut_rows(lengths: LengthFacts, limit: int) -> LengthFacts:
    """The rows as they would be, as far as time depends on them."""
    cut = cut_at(lengths, limit)
    if not cut.rows:
        return lengths
    return dataclasses.replace(
        lengths,
        tokens=max(lengths.rows, lengths.tokens - cut.tokens),
        supervised_tokens=max(0, lengths.supervised_tokens - cut.tokens),
        longest=limit,
        truncated_rows=max(cut.rows, lengths.truncated_rows),
        lost_tokens=lengths.lost_tokens + cut.tokens,
    )


def _bins(lengths: LengthFacts) -> Iterator[tuple[int, int, float]]:
    """Lower edge (outside), upper edge (inside) and rows of each bin; from the percentiles without a histogram."""
    low = 0
    if lengths.histogram:
        for edge, count in lengths.histogram.items():
            yield low, min(int(edge), lengths.longest), count
            low = int(edge)
        return
    for high, share in ((lengths.median, 0.5), (lengths.p95, 0.45), (lengths.longest, 0.05)):
        yield min(low, high), high, lengths.rows * share
        low = high
