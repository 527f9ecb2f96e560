"""Which bytes are which letters: UTF-8 as a rule, and the encodings that files still come in."""

import codecs
import functools
import re
from collections.abc import Mapping

BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
"""Byte order marks and what they announce, the longer ones first."""

CODECS: Mapping[str, str] = {
    "utf_16": "utf-16-le",
    "windows_1252": "cp1252",
    "windows_1250": "cp1250",
    "windows_1251": "cp1251",
    "koi8_r": "koi8-r",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_jp": "euc-jp",
    "euc_kr": "cp949",
}
"""The choices of the setting data.encoding, and what Python calls them."""

WESTERN = "cp1252"
_VALID = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]+")
_LETTERS = re.compile(rb"[\xc0-\xd6\xd8-\xf6\xf8-\xff\x8a\x8c\x8e\x9a\x9c\x9e\x9f]{1,3}")
_SIGNS = re.compile(rb"[\x80\x82-\x85\x8b\x91-\x97\x9b\xa0-\xbf]{1,2}")
_BESIDE = re.compile(rb"[A-Za-z]")
_PLAUSIBLE_SHARE = 0.95
_LIKELY_SHARE = 0.8
_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("shift_jis", "\u3040-\u30ff\u4e00-\u9fff\u3000-\u303f\uff00-\uffef"),
    ("euc_jp", "\u3040-\u30ff\u4e00-\u9fff\u3000-\u303f\uff00-\uffef"),
    ("euc_kr", "\uac00-\ud7a3\u3000-\u303f"),
    ("windows_1251", "\u0410-\u044f\u0401\u0451\u2013-\u201e\u00ab\u00bb"),
    ("gb18030", "\u4e00-\u9fff\u3000-\u303f\uff00-\uffef\u2010-\u201f\u2026"),
)
_NEEDED = {"shift_jis": "\u3040-\u30ff", "euc_jp": "\u3040-\u30ff"}


def utf16_without_mark(head: bytes) -> str:
    """“utf-16-le” or “utf-16-be” for text in which every other byte is NUL; empty for anything else."""
    zeros = head.count(0)
    if len(head) < 4 or zeros * 3 < len(head):
        return ""
    if head[1::2].count(0) == zeros:
        return "utf-16-le"
    return "utf-16-be" if head[::2].count(0) == zeros else ""


def is_utf8(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8; a character that the end of ``head`` cuts may be incomplete."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def looks_western(head: bytes) -> bool:
    """Whether bytes that are no UTF-8 read well as Windows-1252, of which Latin-1 is all but a part.

    Letters with accents then stand beside plain ones, quotation marks and dashes alone. Damaged UTF-8 looks otherwise:
    whole characters of it are left, and its pieces are letters with signs behind them.
    """
    runs = list(_HIGH.finditer(head))
    if not runs or len(_VALID.findall(head)) * 50 > len(runs):
        return False
    good = 0
    for run in runs:
        beside = head[max(0, run.start() - 1) : run.start()] + head[run.end() : run.end() + 1]
        good += bool(_SIGNS.fullmatch(run[0]) or (_LETTERS.fullmatch(run[0]) and _BESIDE.search(beside)))
    return good >= _PLAUSIBLE_SHARE * len(runs)


@functools.lru_cache(maxsize=1024)
def guess_encoding(data: bytes) -> str:
    """The choice of data.encoding in which bytes that are no UTF-8 make most sense; empty where none stands out.

    Lines that are damaged in the same way come by the hundred thousand, so the last answers are remembered.
    """
    if looks_western(data):
        return "windows_1252"
    best, most = "", _LIKELY_SHARE
    for choice, script in _SCRIPTS:
        text = codecs.getincrementaldecoder(CODECS[choice])("replace").decode(data)
        foreign = [letter for letter in text if ord(letter) >= 0x80]
        needed = _NEEDED.get(choice)
        if len(foreign) < 2 or (needed and not re.search(f"[{needed}]", text)):
            continue
        share = len(re.findall(f"[{script}]", text)) / len(foreign)
        if share > most:
            best, most = choice, share
    return best


def legacy_text(data: bytes, codec: str) -> str:
    """Bytes in one of the encodings of `CODECS`; the five bytes that Windows-1252 leaves open are read as Latin-1.

    Raises:
        UnicodeDecodeError: they are not in that encoding.
    """
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        if codec != WESTERN:
            raise
        return data.decode("latin-1")
