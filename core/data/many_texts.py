"""Many texts searched as one: what is nearly never there is looked for much faster in one long text than in many."""

import bisect
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any


class ManyTexts:
    """Texts to be searched together: those of ASCII alone, which takes a byte a letter, and all others."""

    def __init__(self, texts: Sequence[str]) -> None:
        is_plain = [text.isascii() for text in texts]
        self._plain = _Joined(texts, list(itertools.compress(range(len(texts)), is_plain)))
        self._others = _Joined(texts, [number for number, plain in enumerate(is_plain) if not plain])

    def holding(self, *hints: str) -> set[int]:
        """The numbers of the texts that hold one of these words; a hint has no line break in it."""
        found: set[int] = set()
        for hint in hints:
            if hint.isascii():
                found.update(self._plain.holding(hint))
            found.update(self._others.holding(hint))
        return found

    def matching(self, pattern: re.Pattern[str]) -> set[int]:
        """The numbers of the texts in which a pattern is found that matches no line break."""
        return {*self._plain.matching(pattern), *self._others.matching(pattern)}

    def beyond_ascii(self, first: str, last: str) -> set[int]:
        """The numbers of the texts that hold a letter from one beyond ASCII up to another."""
        return set(self._others.between(ord(first), ord(last)))


class _Joined:
    """Texts one after another, with a line break between them."""

    def __init__(self, texts: Sequence[str], numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._text = "\n".join([texts[number] for number in numbers])
        self._ends = list(itertools.accumulate(len(texts[number]) + 1 for number in numbers))

    def holding(self, hint: str) -> Iterator[int]:
        at = self._text.find(hint)
        while at >= 0:
            place = bisect.bisect_right(self._ends, at)
            yield self._numbers[place]
            at = self._text.find(hint, self._ends[place])

    def matching(self, pattern: re.Pattern[str]) -> Iterator[int]:
        found = pattern.search(self._text)
        while found:
            place = bisect.bisect_right(self._ends, found.start())
            yield self._numbers[place]
            found = pattern.search(self._text, self._ends[place])

    def between(self, first: int, last: int) -> Iterator[int]:
        import numpy as np

        # One comparison for both ends: what is below the first one wraps around and becomes very large.
        places = np.flatnonzero(self._letters - np.uint32(first) <= last - first)
        if len(places):
            found = np.unique(np.searchsorted(np.array(self._ends), places, side="right"))
            yield from (self._numbers[place] for place in found.tolist())

    @functools.cached_property
    def _letters(self) -> Any:
        import numpy as np

        return np.frombuffer(self._text.encode("utf-32-le", "surrogatepass"), np.uint32)
