"""How long the rows are: the numbers that memory, time and the histogram in the window come from."""

from collections import Counter
from collections.abc import Mapping, Sequence

from core.data.report.types import Lengths
from core.data.types import EncodedRow
from core.facts.types import LengthFacts

_MOST_BINS = 20


def measure(rows: Sequence[EncodedRow]) -> LengthFacts:
    """Token counts of a set of rows; all zero for an empty set. Percentiles are lengths that really occur."""
    lengths = sorted(len(row) for row in rows)
    documents = [document for row in rows for document in row.documents]
    return LengthFacts(
        rows=len(rows),
        tokens=sum(lengths),
        supervised_tokens=sum(row.supervised for row in rows),
        longest=lengths[-1] if lengths else 0,
        median=_percentile(lengths, 50),
        p95=_percentile(lengths, 95),
        truncated_rows=sum(1 for row in rows if row.lost_tokens),
        lost_tokens=sum(row.lost_tokens for row in rows),
        histogram=_histogram(lengths),
        longest_uncut=max((len(item) + item.lost_tokens for item in documents), default=0),
        longest_document=max(map(len, documents), default=0),
    )


def count_lengths(rows: Sequence[EncodedRow]) -> Lengths:
    """How many rows have which length before they are cut, exactly; of pairs how many answers, with their prompts.

    A limit cuts each answer by itself.
    """
    documents = (document for row in rows for document in row.documents)
    counts = sorted(Counter(len(item) + item.lost_tokens for item in documents).items())
    return Lengths(tuple(length for length, _ in counts), tuple(number for _, number in counts))


def _percentile(ordered: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile: the smallest length that at least ``percent`` % of the rows do not exceed."""
    if not ordered:
        return 0
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def _histogram(ordered: Sequence[int]) -> Mapping[str, int]:
    """Rows by length in equally wide bins with round edges, empty ones between included."""
    if not ordered:
        return {}
    width = _round_width(ordered[-1])
    counts = [0] * (-(-ordered[-1] // width) or 1)
    for length in ordered:
        counts[max(0, -(-length // width) - 1)] += 1
    return {str((index + 1) * width): count for index, count in enumerate(counts)}


def _round_width(longest: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that covers ``longest`` with few enough bins."""
    scale = 1
    while True:
        for factor in (1, 2, 5):
            if factor * scale * _MOST_BINS >= longest:
                return factor * scale
        scale *= 10
