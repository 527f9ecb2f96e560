"""Where tokens begin and end, worked out from their bytes: for tokenizers that cut a text's bytes and change none.

The library's own offsets cost a quarter of all its work and twice as much again to read in Python (measured). Most
models of today do not need them: each token of theirs stands for bytes that its name spells out, so the lengths alone
say where it lies. That the lengths add up to the text's is checked for every text; where they do not, the library is
asked after all.
"""

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_KEEPS_ALL = ("Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
_CUTTING = ("Digits", "Punctuation", "Split", "ByteLevel")


class ByteWidths:
    """How many bytes of a text each token stands for."""

    def __init__(self, backend: Any, *, composes: bool) -> None:
        """Counts nothing before the first question.

        Args:
            backend: the library's tokenizer, with all tokens that were added to it.
            composes: it composes characters first (NFC), so only a text that is composed already can be measured.
        """
        self._backend, self._composes = backend, composes
        self._table: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None

    def fits(self, text: str) -> bool:
        """Whether the tokenizer takes the text's bytes as they are."""
        return not self._composes or unicodedata.is_normalized("NFC", text)

    def of(self, ids: "np.ndarray[tuple[int], np.dtype[np.int32]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """The width of each token."""
        if self._table is None:
            self._table = self._count()
        return self._table[ids]

    def _count(self) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        import numpy as np

        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        table = np.zeros(max(vocabulary.values(), default=0) + 1, np.int64)
        for name, token in vocabulary.items():
            table[token] = len(name)
        for token, item in self._backend.get_added_tokens_decoder().items():
            table[token] = len(item.content.encode("utf-8"))
        return table


def byte_widths(plain: Mapping[str, Any], backend: Any) -> ByteWidths | None:
    """The widths of a tokenizer's tokens; None where tokens may stand for other bytes than their names say.

    Args:
        plain: the contents of ``tokenizer.json``.
        backend: the library's tokenizer, with all tokens that were added to it.
    """
    composes = _normalizer(plain.get("normalizer"))
    if composes is None or not _cuts_bytes(plain.get("pre_tokenizer")) or not _spells_bytes(plain["model"]):
        return None
    if any(item.lstrip or item.rstrip for item in backend.get_added_tokens_decoder().values()):
        return None  # such a token takes the white space beside it along
    return ByteWidths(backend, composes=composes)


def _normalizer(part: Any) -> bool | None:
    """Whether a normalizer composes characters; None where it does anything else."""
    if part is None:
        return False
    if part.get("type") == "Sequence":
        inner = [_normalizer(item) for item in part.get("normalizers") or ()]
        return None if None in inner else any(inner)
    return True if part.get("type") == "NFC" else None


def _cuts_bytes(part: Any) -> bool:
    """Whether a pre-tokenizer only cuts the text, and turns its bytes into characters at last."""
    steps = _steps(part)
    if not steps or steps[-1].get("type") != "ByteLevel" or any(step.get("type") not in _CUTTING for step in steps):
        return False
    if sum(step.get("type") == "ByteLevel" for step in steps) > 1 or steps[-1].get("add_prefix_space", True):
        return False
    return all(step.get("behavior", "Isolated") in _KEEPS_ALL for step in steps)


def _steps(part: Any) -> list[Any]:
    if not isinstance(part, dict):
        return []
    if part.get("type") != "Sequence":
        return [part]
    return [step for item in part.get("pretokenizers") or () for step in _steps(item)]


def _spells_bytes(model: Mapping[str, Any]) -> bool:
    """Whether each token's name has one character for each byte; a byte without a token may only be missing."""
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if model.get("type", "BPE") != "BPE" or any(model.get(name) for name in odd):
        return False
    return not model.get("unk_token") or all(character in model.get("vocab", ()) for character in byte_characters())


@functools.cache
def byte_characters() -> Sequence[str]:
    """The character that stands for each byte in vocabularies in the manner of GPT-2's (its ``encoder.py``)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    names = {byte: chr(byte) for byte in shown}
    for byte in range(256):
        names.setdefault(byte, chr(256 + len(names) - len(shown)))
    return tuple(names[byte] for byte in range(256))
