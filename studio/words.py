"""Every word on the screen: English in the source, other languages from catalogues under ``resources/translations``."""

import functools
import json
import re
from collections.abc import Mapping

from core.paths import resource

LANGUAGES: Mapping[str, str] = {"en": "English", "zh_CN": "简体中文"}
"""Code -> what the language calls itself."""

_PIECE = re.compile(r"(\{[^{}]*\})")
_catalogue: Mapping[str, str] = {}
_language = "en"


def set_language(code: str) -> None:
    """Uses a language of `LANGUAGES` from now on; what is already on the screen stays until it is made anew."""
    global _catalogue, _language  # noqa: PLW0603 (one program speaks one language at a time)
    _language = code if code in LANGUAGES else "en"
    _catalogue = _read(_language)
    say.cache_clear()
    _patterns.cache_clear()


def language() -> str:
    """The code of the language in use."""
    return _language


def tr(text: str, **values: object) -> str:
    """A text of the window in the user's language, with ``values`` put into its ``{names}``."""
    found = _catalogue.get(text, text)
    return found.format(**values) if values else found


def tr_count(count: int, one: str, many: str, **values: object) -> str:
    """`tr` for something counted: ``one`` for exactly one, else ``many``, where ``{n}`` is the number with commas."""
    return tr(one if count == 1 else many, n=f"{count:,}", **values)


@functools.lru_cache(maxsize=4096)
def say(text: str) -> str:
    """A sentence of the core (a title, a help text, a message with numbers in it) in the user's language.

    The core speaks English and knows no languages. Its fixed sentences are looked up; those with values in them are
    recognised by the pattern around the values, and the values are said again inside the translated pattern.
    """
    if not _catalogue or not text:
        return text
    if text in _catalogue:
        return _catalogue[text]
    for pattern, names, translated in _patterns():
        found = pattern.fullmatch(text)
        if found:
            values = {name: say(value) for name, value in zip(names, found.groups(), strict=True)}
            return translated.format(**values)
    return text


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], tuple[str, ...], str], ...]:
    """Translations of texts with holes such as ``{0}``, those with the most fixed letters first."""
    found = []
    for source, translated in _catalogue.items():
        pieces = _PIECE.split(source)
        holes = tuple(piece[1:-1] for piece in pieces[1::2])
        if not holes or not any(hole.isdigit() for hole in holes):
            continue
        expression = "".join("(.*?)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
        fixed = sum(len(piece) for piece in pieces[::2])
        names = tuple(f"v{hole}" for hole in holes)
        target = re.sub(r"\{(\d+)\}", r"{v\1}", translated)
        found.append((fixed, re.compile(expression, re.DOTALL), names, target))
    found.sort(key=lambda item: -item[0])
    return tuple((pattern, names, target) for _, pattern, names, target in found)


def _read(code: str) -> Mapping[str, str]:
    merged: dict[str, str] = {}
    if code != "en":
        for path in sorted(resource("translations", code).glob("*.json")):
            merged.update(json.loads(path.read_text("utf-8")))
    return merged
