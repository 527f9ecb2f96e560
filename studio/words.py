"""Every word on the screen: English in the source, other languages from catalogues under ``resources/translations``."""

import functools
import json
from collections.abc import Mapping

from core.paths import resource
from studio.sentences import Sentences

LANGUAGES: Mapping[str, str] = {"en": "English", "zh_CN": "简体中文"}
"""Code -> what the language calls itself."""

_catalogue: Mapping[str, str] = {}
_sentences = Sentences({})
_language = "en"


def set_language(code: str) -> None:
    """Uses a language of `LANGUAGES` from now on; what is already on the screen stays until it is made anew."""
    global _catalogue, _sentences, _language  # noqa: PLW0603 (one program speaks one language at a time)
    _language = code if code in LANGUAGES else "en"
    _catalogue = _read(_language)
    _sentences = Sentences(_catalogue)
    say.cache_clear()


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
    recognised by what stands around the values, and the values are said again inside the translated sentence.
    """
    return _sentences.say(text) if _catalogue else text


def _read(code: str) -> Mapping[str, str]:
    merged: dict[str, str] = {}
    if code != "en":
        for path in sorted(resource("translations", code).glob("*.json")):
            merged.update(json.loads(path.read_text("utf-8")))
    return merged
