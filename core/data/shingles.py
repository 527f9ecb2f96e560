"""Texts as numbers that compare: groups of three words, hashed, for many texts at once.

Letters are compared without case and words without what stands between them. Writing without spaces (Chinese, Japanese
kana, Thai and their like) has every letter as a word.
"""

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

WORDS = 3
"""Words in a shingle. Pretraining sets take five (Lee et al. 2022, RefinedWeb); rows of a chat are short, and with five
one changed word in fifty already brings two rows below a resemblance of 0.8; with three it takes two."""

_CHUNK = 131_072
"""Characters worked on at once: with fewer of them the calls of numpy count, with more the arrays leave the processor's
caches (measured)."""

_PLANE = 0x10000
_ALONE = 1 << 31
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))
"""Blocks whose writing puts no space between words: Thai and Lao, Burmese, Khmer, kana, and Chinese characters."""

# Odd constants of splitmix64 (Steele, Lea and Flood 2014) and of xxHash; any odd numbers without a pattern would do.
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_NEXT, _AFTER = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F


class Shingles(NamedTuple):
    """The shingles of several texts, text by text.

    Attributes:
        values: hashes of 64 bits.
        rows: the number of the text that each belongs to, ascending.
    """

    values: Any
    rows: Any


def shingle(texts: Sequence[str]) -> Shingles:
    """The shingles of texts: as many for each as it has words; those at its end have one word or two.

    Args:
        texts: what to compare; None of them needs to have a word.
    """
    import numpy as np

    parts = [_shingle(texts[start:stop], start) for start, stop in _chunks(texts)]
    if not parts:
        return Shingles(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    return Shingles(np.concatenate([part.values for part in parts]), np.concatenate([part.rows for part in parts]))


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= _CHUNK:
            yield start, index + 1
            start, size = index + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _shingle(texts: Sequence[str], first: int) -> Shingles:
    import numpy as np

    codes = _codes("\n".join(texts))
    is_word = codes != 0
    begins = is_word.copy()
    begins[1:] &= ~is_word[:-1]
    if codes.dtype != np.uint8:
        alone = codes >= _ALONE
        begins[1:] |= is_word[1:] & (alone[1:] | alone[:-1])
    starts = np.flatnonzero(begins)
    if not len(starts):
        return Shingles(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    rows = np.searchsorted(ends, starts, side="right")
    words = _hash_words(codes, starts)
    after, last = np.zeros_like(words), np.zeros_like(words)
    after[:-1] = np.where(rows[:-1] == rows[1:], words[1:], 0)
    last[:-2] = np.where(rows[:-2] == rows[2:], words[2:], 0)
    return Shingles(mixed(words + after * np.uint64(_NEXT) + last * np.uint64(_AFTER)), rows + first)


def _codes(text: str) -> Any:
    """What each letter counts as, see `_letters`; numbers of eight bits where that is enough."""
    import numpy as np

    if text.isascii():
        return _ascii_letters()[np.frombuffer(text.encode("ascii"), np.uint8)]
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = _letters()[np.minimum(letters, _PLANE)]
    if (beyond := letters >= _PLANE).any():
        codes = np.where(beyond, letters | _ALONE, codes)
    return codes


def _hash_words(codes: Any, starts: Any) -> Any:
    """A hash for each word: its letters, each times a number that hangs on its place, added up and mixed."""
    import numpy as np

    begin = starts[0]
    sizes = np.diff(starts, append=len(codes))
    # Places count modulo 64, so eight bits are enough for them. All sums are modulo 2^64, differences of sums too.
    places = np.arange(len(codes) - begin, dtype=np.uint32).astype(np.uint8)
    places -= np.repeat((starts - begin).astype(np.uint8), sizes)
    places &= 63
    sums = np.cumsum(codes[begin:] * _places()[places])
    words = sums[np.append(starts[1:], len(codes)) - begin - 1]
    words[1:] -= words[:-1].copy()
    return mixed(words)


def mixed(values: Any) -> Any:
    """Numbers of 64 bits with every bit depending on every other (the finalizer of splitmix64)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


@functools.cache
def _places() -> Any:
    import numpy as np

    return mixed(np.arange(1, 65, dtype=np.uint64) * np.uint64(_NEXT)) | np.uint64(1)


@functools.cache
def _letters() -> Any:
    """What a letter counts as: 0 between words, else its small form, with a mark if it is a word by itself."""
    import numpy as np

    table = np.zeros(_PLANE + 1, np.uint32)
    for code in range(_PLANE):
        letter = chr(code)
        if unicodedata.category(letter)[0] in "LMN":
            small = letter.lower()
            table[code] = ord(small) if len(small) == 1 else code
    for low, high in _UNSPACED:
        block = table[low : high + 1]
        block[block != 0] |= _ALONE
    return table


@functools.cache
def _ascii_letters() -> Any:
    """The same for the letters of ASCII alone."""
    import numpy as np

    return _letters()[:128].astype(np.uint8)
