"""Many texts as tokens, and the characters that each token stands for: in arrays, as an object for each costs much."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Ids = np.ndarray[tuple[int], np.dtype[np.int32]]
    Places = np.ndarray[tuple[int], np.dtype[np.int64]]

Row = tuple["Ids", "Places", "Places"]
"""The ids of a text, where each token's characters begin, and where they end."""

Offsets = list[tuple[int, int]]

_GAP = 2
"""Characters between one text and the next, so that what stands behind the end of a text is not in the next one."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Texts as tokens, one after another.

    Attributes:
        ids: token ids.
        starts, stops: the characters that each token stands for, both ascending; nothing for a token that was added.
            The characters of each text are counted from its base.
        bounds: where the tokens of each text begin, and where the last one's end.
        bases: where the characters of each text begin.
    """

    ids: "Ids"
    starts: "Places"
    stops: "Places"
    bounds: Sequence[int]
    bases: Sequence[int]

    def offsets(self, row: int) -> Offsets:
        """The characters of one text that each of its tokens stands for."""
        part = slice(self.bounds[row], self.bounds[row + 1])
        base = self.bases[row]
        return list(zip((self.starts[part] - base).tolist(), (self.stops[part] - base).tolist(), strict=True))

    def rows(self) -> Iterator[Row]:
        """Each text's tokens, and their places in the text itself."""
        for base, (start, stop) in zip(self.bases, itertools.pairwise(self.bounds), strict=True):
            yield self.ids[start:stop], self.starts[start:stop] - base, self.stops[start:stop] - base


def text_bases(lengths: Iterable[int]) -> list[int]:
    """Where the characters of each text begin, for texts of so many characters."""
    return list(itertools.accumulate((length + _GAP for length in lengths), initial=0))[:-1]


def bounds_of(counts: Iterable[int]) -> list[int]:
    """Where the tokens of each text begin, and where the last one's end."""
    return list(itertools.accumulate(counts, initial=0))


def join_rows(rows: Sequence[Row], texts: Sequence[str]) -> Pieces:
    """The reverse of `Pieces.rows`."""
    import numpy as np

    bases = text_bases(map(len, texts))
    bounds = bounds_of(len(ids) for ids, _, _ in rows)
    shift = np.repeat(np.array(bases, np.int64), np.diff(bounds))
    nothing = np.zeros(0, np.int64)
    ids = np.concatenate([nothing.astype(np.int32), *(row[0] for row in rows)])
    starts = np.concatenate([nothing, *(row[1] for row in rows)]) + shift
    stops = np.concatenate([nothing, *(row[2] for row in rows)]) + shift
    return Pieces(ids, starts, stops, bounds, bases)


def flat_ids(rows: Iterable[Sequence[int]], count: int) -> "Ids":
    """The token ids of all texts, so many together."""
    import numpy as np

    return np.fromiter(itertools.chain.from_iterable(rows), np.int32, count)


def from_offsets(rows: Sequence[Sequence[int]], offsets: Sequence[Offsets], texts: Sequence[str]) -> Pieces:
    """Ids and offsets as the library gives them. A token that it added stands at the end of what came before it."""
    import numpy as np

    bases = text_bases(map(len, texts))
    bounds = bounds_of(map(len, rows))
    flat = itertools.chain.from_iterable(itertools.chain.from_iterable(offsets))
    places = np.fromiter(flat, np.int64, 2 * bounds[-1]).reshape(-1, 2)
    shift = np.repeat(np.array(bases, np.int64), np.diff(bounds))
    added = (places == 0).all(axis=1)
    stops = np.maximum.accumulate(places[:, 1] + shift)
    starts = np.maximum.accumulate(np.where(added, stops, places[:, 0] + shift))
    return Pieces(flat_ids(rows, bounds[-1]), starts, stops, bounds, bases)


def from_widths(ids: "Ids", widths: "Places", counts: Sequence[int], texts: Sequence[str]) -> Pieces | None:
    """Ids and how many bytes each token stands for; None where these are not all bytes of each text."""
    import numpy as np

    bounds, bases = bounds_of(counts), text_bases(map(len, texts))
    whole = "".join(texts)
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])
    ascii_only = whole.isascii()
    sizes = [len(text) if ascii_only else len(text.encode("utf-8")) for text in texts]
    if edges[bounds].tolist() != bounds_of(sizes):
        return None
    if ascii_only:
        starts, stops = edges[:-1], edges[1:]
    else:
        data = np.frombuffer(whole.encode("utf-8"), np.uint8)
        # The number of each byte's character; a token that ends inside a character stands for all of it.
        number = np.empty(len(data) + 1, np.int32)
        np.cumsum((data & 0xC0) != 0x80, out=number[:-1])
        number[-1] = len(whole) + 1
        starts = number.take(edges[:-1])
        starts -= 1
        stops = np.where(widths > 0, number.take(edges[1:] - 1), starts)
    shift = np.repeat(_GAP * np.arange(len(texts)), counts)
    return Pieces(ids, starts + shift, stops + shift, bounds, bases)
