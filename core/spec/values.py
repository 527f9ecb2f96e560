"""One value of one setting: from YAML, JSON or the command line to Python, and the words for what was wrong with it.

YAML arrives here with every scalar still a text (see `core.spec.yaml_text`), so what `off`, `no` or `2e-4` mean is
decided by the setting that holds them and not by YAML 1.1.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import PurePath

from core.spec.fields import FieldInfo, Kind
from core.spec.names import choice_hint

_WHOLE = re.compile(r"[+-]?\d[\d_]*")
_TRUE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "0"})
_LONGEST_QUOTE = 60
_MAX_DIGITS = 40

TEXT_KINDS = frozenset({Kind.TEXT, Kind.TEMPLATE, Kind.MODEL, Kind.FOLDER})
LIST_KINDS = frozenset({Kind.FILES, Kind.NAMES, Kind.PARAGRAPHS})
MAPPING_KINDS = frozenset({Kind.MAPPING, Kind.RANKS, Kind.WEIGHTS})

_EXPECTED = {
    Kind.TEXT: "a text",
    Kind.TEMPLATE: "a text: a name, a file or a template",
    Kind.MODEL: "a text: a folder, a file or a model's name",
    Kind.FOLDER: "a text: a folder",
    Kind.FILES: "a list of files",
    Kind.NAMES: "a list of names",
    Kind.PARAGRAPHS: "a list of texts",
    Kind.FLAG: "true or false",
    Kind.INTEGER: "a whole number",
    Kind.NUMBER: "a number",
    Kind.MAPPING: "a mapping of names to column names",
    Kind.RANKS: "a mapping of module names to whole numbers",
    Kind.WEIGHTS: "a mapping of files to numbers",
}


class ValueRefusedError(ValueError):
    """A value does not fit its setting; ``found`` says what it is, ``hint`` what could have been meant."""

    def __init__(self, found: str, hint: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.hint = hint


def expected(info: FieldInfo) -> str:
    """What a setting wants, as the end of a sentence: "a whole number", "one of “auto”, “nf4”"."""
    if info.setting.kind is Kind.CHOICE:
        return "one of " + ", ".join(f"“{choice.value}”" for choice in info.setting.choices)
    return _EXPECTED[info.setting.kind]


def describe(value: object) -> str:
    """A value as the end of the sentence "…, but found …"; long texts are shortened, containers are only named."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value) if value else "an empty text"
    if isinstance(value, int | float):
        return f"the number {shorten(str(value))}" if _printable(value) else "a number with thousands of digits"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "a mapping"
    return f"a value of type {type(value).__name__}"


def quote(text: str) -> str:
    """A text in quotation marks, as `one_line` shows it."""
    return f"“{one_line(text)}”"


def one_line(text: str) -> str:
    """A text fit for a message: on one line, at most 60 characters, and a mark for what no terminal can print."""
    visible = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:1000])
    return shorten(" ".join(visible.split()))


def shorten(text: str) -> str:
    """At most 60 characters; an ellipsis stands for the rest."""
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"


def readable(number: float) -> str:
    """A number as people read it: thousands separated, at most ten significant digits."""
    if isinstance(number, int):
        return shorten(f"{number:,}") if _printable(number) else describe(number)
    return f"{number:,.10g}"


def _printable(value: float) -> bool:
    return not isinstance(value, int) or value.bit_length() < 4000


def read_value(info: FieldInfo, raw: object) -> object:
    """The Python value that ``raw`` (from YAML, JSON or a dict) means for this setting.

    Raises:
        ValueRefusedError: it means nothing this setting could hold.
    """
    if raw is None:
        return _read_nothing(info)
    kind = info.setting.kind
    if kind in TEXT_KINDS:
        return _read_text(raw)
    if kind in LIST_KINDS:
        return _read_list(raw, split=kind is Kind.NAMES)
    if kind is Kind.MAPPING:
        return _read_entries(raw, _read_text)
    if kind is Kind.RANKS:
        return _read_entries(raw, _read_integer)
    if kind is Kind.WEIGHTS:
        return _read_entries(raw, _read_number)
    if kind is Kind.CHOICE:
        return _read_choice(info, raw)
    return _SCALAR_READERS[kind](raw)


def read_assigned(info: FieldInfo, text: str) -> object:
    """The Python value of a text from the command line; lists and mappings may be written as YAML or with commas.

    Raises:
        ValueRefusedError: the text means nothing this setting could hold.
    """
    from core.spec.yaml_text import parse_inline

    kind = info.setting.kind
    stripped = text.strip()
    if kind in LIST_KINDS:
        looks_like_list = stripped.startswith("[") and stripped.endswith("]")
        parsed = parse_inline(stripped) if looks_like_list else None
        return read_value(info, parsed if isinstance(parsed, list) else text)
    if kind in MAPPING_KINDS:
        return read_value(info, _pairs(stripped))
    return read_value(info, text if kind in (Kind.TEXT, Kind.TEMPLATE) else stripped)


def _pairs(text: str) -> object:
    """``a=1,b=2`` or ``a: 1, b: 2`` or ``{a: 1, b: 2}`` as a mapping; the text itself where it is none of them."""
    from core.spec.yaml_text import parse_inline

    if not text:
        return {}
    if not text.startswith("{"):
        pairs = [part.partition("=") for part in text.split(",")]
        if all(name.strip() and sign for name, sign, _ in pairs):
            return {name.strip(): value.strip() for name, _, value in pairs}
        text = f"{{{text}}}"
    parsed = parse_inline(text)
    return parsed if isinstance(parsed, Mapping) else text


def _read_nothing(info: FieldInfo) -> object:
    """A key with nothing behind it means "empty" where empty is the default, and is a slip everywhere else."""
    kind = info.setting.kind
    if kind in TEXT_KINDS | LIST_KINDS | MAPPING_KINDS and not info.default:
        return type(info.default)()
    raise ValueRefusedError("nothing", "Write a value, or remove the line to use the default.")


def _read_text(raw: object) -> str:
    if isinstance(raw, str | PurePath):
        return str(raw)
    if isinstance(raw, int | float) and not isinstance(raw, bool) and _printable(raw):
        return str(raw)
    raise ValueRefusedError(describe(raw))


def _read_list(raw: object, *, split: bool) -> tuple[str, ...]:
    if isinstance(raw, str) and not raw.strip():
        return ()
    if isinstance(raw, str) and split:
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    if not isinstance(raw, list | tuple):
        return (_read_text(raw),)
    items = []
    for number, item in enumerate(raw, 1):
        try:
            items.append(_read_text(item))
        except ValueRefusedError as refused:
            raise ValueRefusedError(f"{refused.found} as item {number}") from None
    return tuple(items)


def _read_entries(raw: object, read: Callable[[object], object]) -> dict[str, object]:
    if not isinstance(raw, Mapping):
        raise ValueRefusedError(describe(raw), "Write it as {name: value, other: value}.")
    entries: dict[str, object] = {}
    for key, item in raw.items():
        try:
            entries[_read_text(key)] = read(item)
        except ValueRefusedError as refused:
            raise ValueRefusedError(f"{refused.found} for {describe(key)}", refused.hint) from None
    return entries


def _read_choice(info: FieldInfo, raw: object) -> str:
    values = [choice.value for choice in info.setting.choices]
    text = describe(raw) if isinstance(raw, bool) else raw
    if isinstance(text, str):
        wanted = text.strip().casefold().replace("-", "_")
        if wanted in values:
            return wanted
        if wanted in _FALSE - {"0"} or wanted in _TRUE - {"1"}:
            meant = ("off", "none") if wanted in _FALSE else ("on",)
            for value in meant:
                if value in values:
                    return value
        raise ValueRefusedError(describe(raw), choice_hint(wanted, values))
    hint = choice_hint(str(raw), values) if isinstance(raw, int) and _printable(raw) else ""
    raise ValueRefusedError(describe(raw), hint)


def _read_flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str | int):
        word = str(raw).strip().casefold() if isinstance(raw, str) or raw in (0, 1) else ""
        if word in _TRUE | _FALSE:
            return word in _TRUE
    raise ValueRefusedError(describe(raw))


def _read_integer(raw: object) -> int:
    if isinstance(raw, str) and _WHOLE.fullmatch(raw.strip()) and len(raw) <= _MAX_DIGITS:
        return int(raw.replace("_", ""))
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    number = _read_number(raw)
    if not number.is_integer():
        raise ValueRefusedError(describe(raw))
    return int(number)


def _read_number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueRefusedError(describe(raw))
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        raise ValueRefusedError(describe(raw), _number_hint(raw)) from None
    if not math.isfinite(number):
        raise ValueRefusedError(describe(raw), "Only finite numbers are allowed.")
    return number


def _number_hint(raw: object) -> str:
    text = raw.strip() if isinstance(raw, str) else ""
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return "Write the decimal point as “.”."
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})? ?%", text):
        return f"Write a share as a fraction of 1: {float(text.rstrip(' %')) / 100:g}."
    return ""


_SCALAR_READERS: Mapping[Kind, Callable[[object], object]] = {
    Kind.FLAG: _read_flag,
    Kind.INTEGER: _read_integer,
    Kind.NUMBER: _read_number,
}


def fits(info: FieldInfo, value: object) -> bool:
    """Whether a value in memory has the type of its setting; bounds and choices are for the rules."""
    kind = info.setting.kind
    if kind is Kind.FLAG:
        return isinstance(value, bool)
    if kind is Kind.INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Kind.NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in LIST_KINDS:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if kind in MAPPING_KINDS:
        held = {Kind.MAPPING: str, Kind.RANKS: int, Kind.WEIGHTS: int | float}[kind]
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and isinstance(item, held) and not isinstance(item, bool)
            for key, item in value.items()
        )
    return isinstance(value, str)


def to_plain(value: object) -> object:
    """A setting's value as YAML and JSON know it: tuples as lists, mappings as dicts."""
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
