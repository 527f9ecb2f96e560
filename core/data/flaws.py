"""What can be wrong with the words of a row. Each function gives the words in question, or nothing for a sound row.

All of it is for rows by the million: the common case, that nothing is wrong, costs searches in C and no more.
"""

import re
from collections.abc import Iterable, Sequence

from core.data.many_texts import ManyTexts
from core.data.mojibake import find_mojibake, mend_mojibake
from core.data.types import Sample

_AROUND = 40

_LOST = re.compile("[\x00\ufffd\x80-\x9f]")
_PLACES = tuple(
    (hints, re.compile(pattern, re.MULTILINE))
    for hints, pattern in (
        (("{{",), r"\{\{(?<!\$\{\{)\s*[A-Za-z_][\w .\-]{0,40}\}\}"),
        (("<",), r"<(?:PLACEHOLDER|INSERT|YOUR|ENTER|FILL)[A-Z0-9_ ]{0,40}>"),
        (("[",), r"\[(?:INSERT|Insert|insert|YOUR|Your|your|ENTER|PLACEHOLDER|Placeholder)\b[^\]\n]{0,60}\]"),
        (
            ("[",),
            (
                r"\[(?:(?:Ihre?n?|[Dd]eine?n?|[Vv]otre|[Ss]u|[Tt]u|[Ss]eu|[Ii]l tuo) (?:Name|Namen|nom|nombre|nome)\b"
                r"|[Ii]nsérer\b|[Ii]nsertar\b|[Ii]nserire\b|[Ii]nserir\b|您的|你的|请输入|请填写|插入|此处)[^\]\n]{0,60}\]"
            ),
        ),
        (("【",), "【(?:请输入|请填写|请在此|插入|此处|在此)[^】\n]{0,60}】"),
        (("orem",), r"\b[Ll](?:orem|OREM) (?:ipsum|IPSUM)\b"),
        (("ODO",), r"\bT[O]DO\s*:"),
        (("ODO", "TBD", "IXME", "N/A"), r"^\s*(?:T[O]DO|TBD|F[I]XME|N/A)\W*$"),
    )
)
"""What places to fill in look like, each with words without which there is none: an expression is searched only where
one of them stands, and one that begins with a certain letter ten times as fast as another (measured)."""

_HINTS = tuple(dict.fromkeys(hint for hints, _ in _PLACES for hint in hints if len(hint) > 1))
_OPENED = (
    re.compile("<(?:PLACEHOLDER|INSERT|YOUR|ENTER|FILL)"),
    re.compile(
        r"\[(?:PLACEHOLDER|INSERT|YOUR|ENTER|Insert|insert|Your|your|Placeholder"
        r"|Ihre?n? N|[Dd]eine?n? N|[Vv]otre n|[Ss]u n|[Tt]u n|[Ss]eu n|[Ii]l tuo n|[Ii]ns[ée]r|您的|你的|请|插入|此处)"
    ),
    re.compile("【(?:请|插入|此处|在此)"),
)
"""The beginnings of those in brackets, which are frequent."""

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
_HINTS_OF_REFUSALS = (
    "AI", "language model", "sorry", "I can", "I won't", "able to", "KI", "prachmodell", "tut mir", "Tut mir", "IA",
    "ntelligen", "odelo de l", "odello l", "iento, pero", "mas não", "ispiace, ma",
    "ünstliche", "odèle l", "odèle de l", "désolé", "ИИ", "языков", "искусств", "звините", "人工", "模型", "抱歉",
    "对不起", "モデル",
)  # fmt: skip

_OPENING = 300
"""Answers that refuse say so at once; what stands further behind is rather a quotation."""

_TAIL, _STRIDE = 32, 512
_FEWEST, _SHORTEST = 5, 200
"""What counts as a loop: so many times the same, of so many characters together, with a letter or digit in it."""


def all_texts(sample: Sample) -> Sequence[str]:
    """Everything that a row says."""
    return [message.content for message in sample.messages] or (sample.prompt, sample.completion)


def answer_texts(sample: Sample) -> Sequence[str]:
    """What the model is to say; all of running text."""
    if not sample.messages:
        return (sample.completion,)
    return [message.content for message in sample.messages if message.role == "assistant"]


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


def suspect_damage(texts: ManyTexts) -> set[int]:
    """The texts in which `find_lost_letters` may find some."""
    return texts.holding("\0", "\ufffd") | texts.beyond_ascii("\x80", "\x9f")


def find_placeholder(sample: Sample) -> str | None:
    """A place that somebody was to fill in; program code between ``` may look as it likes."""
    text = "\n".join(all_texts(sample))
    prose = _FENCED.sub("", text) if "```" in text else text
    patterns = (pattern for hints, pattern in _PLACES if any(hint in prose for hint in hints))
    matches = [match for pattern in patterns if (match := pattern.search(prose))]
    return _first([(prose, min(matches, key=re.Match.start).span())]) if matches else None


def suspect_placeholders(texts: ManyTexts) -> set[int]:
    """The texts in which `find_placeholder` may find one: to look closer takes ten times as long."""
    return texts.holding(*_HINTS).union(*map(texts.matching, _OPENED))


def find_refusal(sample: Sample) -> str | None:
    """An answer that refuses, or says that it is a program, as assistants of other makers do."""
    suspects = (text for text in answer_openings(sample) if any(hint in text for hint in _HINTS_OF_REFUSALS))
    return _first((text, match.span()) for text in suspects if (match := _REFUSES.search(text)))


def answer_openings(sample: Sample) -> Sequence[str]:
    """The beginnings of what the model is to say, where `find_refusal` looks."""
    return [text[:_OPENING].replace("’", "'") for text in answer_texts(sample)]


def suspect_refusals(openings: ManyTexts) -> set[int]:
    """The texts in which `find_refusal` may find one."""
    return openings.holding(*_HINTS_OF_REFUSALS)


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
