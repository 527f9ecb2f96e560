"""UTF-8 that was read as Windows-1252 or Latin-1 and saved like that (“Ã©” for “é”), and the way back."""

import re

from core.data.many_texts import ManyTexts

# What the bytes 0x80 to 0xBF become in Windows-1252; the five that it leaves open stay what Latin-1 makes of them.
_FOLLOWING = "".join(
    bytes([byte]).decode("cp1252", "ignore") or bytes([byte]).decode("latin-1") for byte in range(0x80, 0xC0)
) + "".join(map(chr, range(0x80, 0xA0)))
_BYTES = {letter: bytes([0x80 + number]) for number, letter in enumerate(_FOLLOWING[:64])}
_BYTES |= {chr(byte): bytes([byte]) for byte in range(0x80, 0x100) if chr(byte) not in _BYTES}
_NEXT = f"[{re.escape(_FOLLOWING)}]"
_QUOTES = "‘’‚“”„–—…‹›«»"
_SIGN = f"[{re.escape(''.join(letter for letter in _FOLLOWING if letter not in _QUOTES))}]"
_SMALL = "[a-zß-ÿ]"

_SUSPECT = re.compile(
    # Two bytes: accents and signs of Western languages. Before a quotation mark such a letter may be meant (“ÃO”, „Ä“),
    # unless a small letter stands beside the two.
    f"(?:[ÂÃÄÅÆ](?:{_SIGN}|(?<={_SMALL}.)[{_QUOTES}]|[{_QUOTES}](?={_SMALL}|[ÂÃ])))+"
    # Cyrillic and Greek: one pair alone could be a letter and a quotation mark.
    f"|(?:[ÎÏÐÑ]{_NEXT}){{2,}}"
    # Three bytes: quotation marks, dashes and the euro sign; kana; and Chinese or Korean from two letters on.
    f"|(?:â[€‚„\\x80\\x82\\x84]{_NEXT})+"
    f"|(?:ã[\\x80-\\x83€‚ƒ]{_NEXT})+"
    f"|(?:[ä-í]{_NEXT}{_NEXT}){{2,}}"
    # Four bytes: emoji.
    f"|(?:ð[Ÿ\\x9f]{_NEXT}{_NEXT})+"
)

_PAIR = re.compile(f"[ÂÃÄÅÆÎ-Ñâ-íð]{_NEXT}")
"""What every suspect begins with: one look for it is much faster than the whole expression."""


def suspect_mojibake(texts: ManyTexts) -> set[int]:
    """The texts in which `find_mojibake` may find something: all with one of the letters with which it may begin."""
    return texts.beyond_ascii("Â", "ð")


def find_mojibake(text: str) -> re.Match[str] | None:
    """The first place where a text holds bytes of UTF-8 as letters, and they mean something; None for a sound text."""
    if text.isascii() or not _PAIR.search(text):
        return None
    return next((match for match in _SUSPECT.finditer(text) if _mended(match) != match[0]), None)


def mend_mojibake(text: str) -> str:
    """The text with every such place read as it was meant, also where it was spoilt several times.

    Only what decodes as it stands is changed: nothing is guessed and nothing lost. A sound text stays as it is.
    """
    while not text.isascii() and _PAIR.search(text):
        mended = _SUSPECT.sub(_mended, text)
        if mended == text:
            break
        text = mended
    return text


def _mended(match: re.Match[str]) -> str:
    try:
        return b"".join(map(_BYTES.__getitem__, match[0])).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]
