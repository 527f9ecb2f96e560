"""How much goes through the model: tokens, passes, and the lengths of rows that attention pays for."""

from dataclasses import dataclass

from core.facts.types import LengthFacts

# Attention kernels work on blocks of this many positions, so a short row costs as much as the block it begins.
ATTENTION_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Load:
    """What one step, or one evaluation, puts through the model; expected means.

    Attributes:
        squares: sum of the squares of the rows' lengths.
        blocks: the same with every row's other side rounded up to whole blocks.
    """

    tokens: float
    supervised: float
    passes: float
    rows: float
    squares: float
    blocks: float


def load_of(lengths: LengthFacts, tokens: float, supervised: float, passes: float, window: int = 0) -> Load:
    """A load of so many tokens from rows of these lengths; ``window`` is the reach of attention, 0 for all."""
    if not lengths.tokens or not lengths.rows:
        return Load(tokens, supervised, passes, 0.0, 0.0, 0.0)
    share = tokens / lengths.tokens
    squares = share * _squares(lengths)
    if window:
        squares = min(squares, 2.0 * tokens * window)
    return Load(tokens, supervised, passes, share * lengths.rows, squares, squares + tokens * ATTENTION_BLOCK / 2)


def _squares(lengths: LengthFacts) -> float:
    """The sum of the squares of all lengths, from their histogram; from mean and median where there is none.

    Within a bin lengths count as spread evenly, and the sum is made to agree with the tokens that are known. Without a
    histogram they count as log-normal, whose mean square is the fourth power of the mean over the square of the median.
    """
    mean = lengths.tokens / lengths.rows
    if not lengths.histogram:
        spread = max(1.0, mean / lengths.median) if lengths.median else 1.0
        return lengths.tokens * min(mean * spread * spread, float(max(lengths.longest, 1)))
    total, squares, low = 0.0, 0.0, 0
    for edge, count in lengths.histogram.items():
        high = int(edge)
        total += count * (low + 1 + high) / 2
        squares += count * (low * low + low * high + high * high) / 3
        low = high
    return squares * (lengths.tokens / total) ** 2 if total else lengths.tokens * mean
