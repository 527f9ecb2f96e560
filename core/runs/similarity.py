"""How near an answer is to the one that was expected: three plain measures, defined in docs/evaluation.md."""

import unicodedata
from collections import Counter


def exact_match(said: str, expected: str) -> bool:
    """Whether both are the same text, apart from white space around them and from how Unicode composes letters."""
    return _composed(said) == _composed(expected)


def edit_similarity(said: str, expected: str) -> float:
    """1 minus the Levenshtein distance in characters over the length of the longer text: 0 to 1, 1 for equal texts."""
    one, other = _composed(said), _composed(expected)
    longer = max(len(one), len(other))
    return 1.0 - edit_distance(one, other) / longer if longer else 1.0


def edit_distance(one: str, other: str) -> int:
    """The fewest characters to insert, delete or replace that make one text the other (Levenshtein).

    All cells of a column are the bits of a few integers, so answers of thousands of characters take milliseconds.
    Source: H. Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances", 2003.
    """
    if not one or not other:
        return len(one) or len(other)
    places: dict[str, int] = {}
    for index, letter in enumerate(one):
        places[letter] = places.get(letter, 0) | 1 << index
    mask, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, distance = mask, 0, len(one)  # where a column goes up or down by one from cell to cell
    for letter in other:
        equal = places.get(letter, 0)
        across = (((equal & rises) + rises) ^ rises) | equal
        row_rises = falls | (~(across | rises) & mask)
        row_falls = rises & across
        if row_rises & last:
            distance += 1
        elif row_falls & last:
            distance -= 1
        row_rises = ((row_rises << 1) | 1) & mask
        row_falls = (row_falls << 1) & mask
        down = equal | falls
        rises = row_falls | (~(down | row_rises) & mask)
        falls = row_rises & down
    return distance


def word_f1(said: str, expected: str) -> float:
    """The harmonic mean of precision and recall of words, counted as a bag: 0 to 1.

    Words are in lower case and without punctuation; each character of scripts without spaces is a word. As in the
    SQuAD evaluation (arXiv 1606.05250), but for its English articles, which count here.
    """
    one, other = Counter(_words(said)), Counter(_words(expected))
    if not one or not other:
        return float(one == other)
    shared = (one & other).total()
    return 2.0 * shared / (one.total() + other.total())


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _words(text: str) -> list[str]:
    letters = []
    for letter in unicodedata.normalize("NFC", text).lower():
        if unicodedata.category(letter).startswith("P"):
            continue
        letters.append(f" {letter} " if _stands_alone(letter) else letter)
    return "".join(letters).split()


def _stands_alone(letter: str) -> bool:
    """Whether the script of a letter writes no spaces between words."""
    return unicodedata.name(letter, "").startswith(("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA", "THAI"))
