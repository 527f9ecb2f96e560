"""What can be wrong with the words of a row. Each function gives the words in question, or nothing for a sound row.

All of it is for rows by the million: the common case, that nothing is wrong, costs searches in C and no more.
"""

import re
from collections.abc import Iterable, Iterator

from core.data.mojibake import find_mojibake, mend_mojibake
from core.data.types import Sample

_AROUND = 40

_LOST = re.compile("[\x00\ufffd\x80-\x9f]")
_LEFT_OPEN = re.compile(
    r"(?<!\$)\{\{\s*[A-Za-z_][\w .\-]{0,40}\}\}"
    r"|<(?:PLACEHOLDER|INSERT|YOUR|ENTER|FILL)[A-Z0-9_ ]{0,40}>"
    r"|\[(?:INSERT|Insert|insert|YOUR|Your|your|ENTER|PLACEHOLDER|Placeholder)\b[^\]\n]{0,60}\]"
    r"|\[(?:(?:Ihre?n?|[Dd]eine?n?|[Vv]otre|[Ss]u|[Tt]u|[Ss]eu|[Ii]l tuo) (?:Name|Namen|nom|nombre|nome)\b|[Ii]nsérer\b"
    r"|[Ii]nsertar\b|[Ii]nserire\b|[Ii]nserir\b|您的|你的|请输入|请填写|插入|此处)[^\]\n]{0,60}\]"
    r"|\b[Ll](?:orem|OREM) (?:ipsum|IPSUM)\b"
    r"|\bT[O]DO\s*:"
    r"|^\s*(?:T[O]DO|TBD|F[I]XME|N/A)\W*$",
    re.MULTILINE,
)
_HINTS = ("orem", "ODO", "TBD")
_RARE_HINTS = (("{", "{{"), ("X", "IXME"), ("/", "N/A"))
"""Each with a letter of it that is looked for first, because one letter is found six times as fast as several."""

_OPENED = re.compile(
    r"[<\[](?:PLACEHOLDER|INSERT|YOUR|ENTER|FILL|Insert|insert|Your|your|Placeholder"
    r"|Ihre?n? N|[Dd]eine?n? N|[Vv]otre n|[Ss]u n|[Tt]u n|[Ss]eu n|[Ii]l tuo n|[Ii]ns[ée]r|您的|你的|请|插入|此处)"
)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)

_REFUSES = re.compile(
    r"\b[Aa]s an? (?:large |artificial )?(?:AI|language model|intelligence)\b"
    r"|\bI(?:'m| am) (?:just |only )?an? (?:large )?(?:AI|language model)\b"
    r"|\bI(?:'m| am) (?:so |very )?sorry,? but I (?:can(?:'|no)t|am (?:unable|not able)|won't)\b"
    r"|\bI (?:can(?:'|no)t|won't|am unable to|am not able to) (?:fulfill|comply with|assist with|help with|provide|"
    r"answer|do) (?:that|this|your)\b"
    # German, French, Spanish, Portuguese, Italian, Russian, Chinese and Japanese.
    r"|\b[Aa]ls (?:eine? )?(?:KI|[Ss]prachmodell|künstliche Intelligenz)\b"
    r"|\b[Tt]ut mir leid, aber ich kann\b"
    r"|\b[Ee]n tant qu(?:e |')(?:une? )?(?:IA|intelligence artificielle|modèle de langage|modèle linguistique)\b"
    r"|\b[Jj]e suis (?:vraiment )?désolée?, mais je ne (?:peux|suis) pas\b"
    r"|\b[Cc]omo (?:una? |uma? )?(?:IA|intelig[eê]ncia artificial|modelo de (?:lenguaje|linguagem))\b"
    r"|\b(?:[Ll]o siento|[Ss]into muito|[Dd]esculpe), (?:pero no puedo|mas não posso)\b"
    r"|\b(?:[Ii]n quanto|[Cc]ome) (?:un |un')?(?:IA|intelligenza artificiale|modello linguistico)\b"
    r"|\b[Mm]i dispiace, ma non posso\b"
    r"|\b[Кк]ак (?:ИИ|языковая модель|искусственный интеллект)\b|\b[Ии]звините, но я не могу\b"
    r"|作为(?:一个|一名|一款|一种)?(?:AI|人工智能|大?语言模型)"
    r"|我(?:只)?是(?:一个|一名|一款|一种)?(?:AI|人工智能|大?语言模型)"
    r"|(?:抱歉|对不起)[,，]?\s*(?:但)?我(?:无法|不能|没有办法)"
    r"|(?:AI|人工知能|言語モデル)として"
)
_REFUSAL_HINTS = (
    "AI", "language model", "sorry", "I can", "I won't", "able to", "KI", "prachmodell", "tut mir", "Tut mir", "IA",
    "ntelligen", "odelo de l", "odello l", "iento, pero", "mas não", "ispiace, ma",
)  # fmt: skip
_REFUSAL_HINTS_ABROAD = (
    "ünstliche", "odèle l", "odèle de l", "désolé", "ИИ", "языков", "искусств", "звините", "人工", "模型", "抱歉",
    "对不起", "モデル",
)  # fmt: skip
"""With letters beyond ASCII: looked for only where a text has such."""

_OPENING = 300
"""Answers that refuse say so at once; what stands further behind is rather a quotation."""

_TAIL, _STRIDE = 32, 512
_FEWEST, _SHORTEST = 5, 200
"""What counts as a loop: so many times the same, of so many characters together, with a letter or digit in it."""


def all_texts(sample: Sample) -> Iterator[str]:
    """Everything that a row says."""
    if sample.messages:
        for message in sample.messages:
            yield message.content
    else:
        yield sample.prompt
        yield sample.completion


def answer_texts(sample: Sample) -> Iterator[str]:
    """What the model is to say; all of running text."""
    if sample.messages:
        for message in sample.messages:
            if message.role == "assistant":
                yield message.content
    else:
        yield sample.completion


def find_mistaken_encoding(sample: Sample) -> str | None:
    """Letters that are UTF-8 read as Windows-1252, which can be undone."""
    return _first((text, match.span()) for text in all_texts(sample) if (match := find_mojibake(text)))


def find_lost_letters(sample: Sample) -> str | None:
    """The mark of letters that could not be read (U+FFFD), NUL, and control characters that only damage leaves.

    What `find_mistaken_encoding` finds is not lost.
    """
    texts = (text for text in all_texts(sample) if "\x00" in text or (not text.isascii() and _LOST.search(text)))
    mended = map(mend_mojibake, texts)
    return _first((text, match.span()) for text in mended if (match := _LOST.search(text)))


def find_placeholder(sample: Sample) -> str | None:
    """A place that somebody was to fill in; program code between ``` may look as it likes."""
    text = "\n".join(all_texts(sample))
    if not _may_hold_a_place(text):
        return None
    prose = _FENCED.sub("", text) if "```" in text else text
    match = _LEFT_OPEN.search(prose)
    return _first([(prose, match.span())]) if match else None


def _may_hold_a_place(text: str) -> bool:
    """Whether to look closer, which takes ten times as long."""
    for hint in _HINTS:
        if hint in text:
            return True
    for letter, hint in _RARE_HINTS:
        if letter in text and hint in text:
            return True
    return ("[" in text or "<" in text) and _OPENED.search(text) is not None


def find_refusal(sample: Sample) -> str | None:
    """An answer that refuses, or says that it is a program, as assistants of other makers do."""
    openings = (text[:_OPENING].replace("’", "'") for text in answer_texts(sample))
    suspects = (text for text in openings if _may_refuse(text))
    return _first((text, match.span()) for text in suspects if (match := _REFUSES.search(text)))


def _may_refuse(text: str) -> bool:
    for hint in _REFUSAL_HINTS:
        if hint in text:
            return True
    return not text.isascii() and any(hint in text for hint in _REFUSAL_HINTS_ABROAD)


def find_loop(sample: Sample) -> str | None:
    """An answer in which a few words come again and again without end."""
    return _first((text, span) for text in answer_texts(sample) if len(text) >= _SHORTEST and (span := _loop(text)))


def _loop(text: str) -> tuple[int, int] | None:
    """The place of something that is repeated at once and often, of at most `_STRIDE` characters.

    Looks back from every so many characters for what stands just before them; the distance is the length of what may
    be repeated. So a text is searched about once, and that in C.
    """
    for end in range(len(text), _SHORTEST - 1, -_STRIDE):
        found = text.rfind(text[end - _TAIL : end], max(0, end - _TAIL - _STRIDE), end - 1)
        if found < 0:
            continue
        period = end - _TAIL - found
        times = max(_FEWEST, -(-_SHORTEST // period))
        start = end - times * period
        if start < 0:
            continue
        once = text[start : start + period]
        if text[start:end] == once * times and any(map(str.isalnum, once)):
            return start, start + max(period, _TAIL)
    return None


def _first(found: Iterable[tuple[str, tuple[int, int]]]) -> str | None:
    """The words around the first place, on one line."""
    for text, (start, stop) in found:
        before, after = max(0, start - _AROUND), stop + 2 * _AROUND
        return ("…" if before else "") + one_line(text[before:after]) + ("…" if after < len(text) else "")
    return None


def one_line(text: str) -> str:
    """A text without line breaks; letters that cannot be seen are written out."""
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(map(_shown, words))


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"
