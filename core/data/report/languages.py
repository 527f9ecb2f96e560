"""In which language a row is written: by its script, and by the small words of those that share one.

No library and no model: a few of the most frequent words of a language tell it from the others in a sentence or two,
which is all that a mix of languages needs; a row of less stays what its script says.
"""

import functools
import operator
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from core.data.report.small_words import SMALL_WORDS
from core.data.report.types import Language
from core.data.types import Sample

SAMPLE_CHARACTERS = 240
"""How much of a row is looked at: some forty words."""

_SCRIPT_STRIDE = 5
"""Every fifth letter is enough to tell a script."""

_FEWEST_HITS = 2
"""A single small word may be a name or a quotation."""

NAMES: Mapping[str, str] = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "pt": "Portuguese", "it": "Italian",
    "nl": "Dutch", "sv": "Swedish", "da": "Danish or Norwegian", "fi": "Finnish", "pl": "Polish", "cs": "Czech",
    "hu": "Hungarian", "ro": "Romanian", "tr": "Turkish", "vi": "Vietnamese", "id": "Indonesian or Malay",
    "ru": "Russian", "uk": "Ukrainian", "bg": "Bulgarian", "sr": "Serbian", "zh": "Chinese", "ja": "Japanese",
    "ko": "Korean", "ar": "Arabic", "fa": "Persian", "ur": "Urdu", "he": "Hebrew", "el": "Greek", "hi": "Hindi",
    "bn": "Bengali", "ta": "Tamil", "te": "Telugu", "th": "Thai", "ka": "Georgian", "hy": "Armenian", "am": "Amharic",
    "latin": "Latin script", "cyrillic": "Cyrillic script", "other": "Other",
}  # fmt: skip

# Script -> the languages that share it, or the one that it stands for. Kana before Chinese characters: a Japanese text
# has both, a Chinese one never.
_ALONE = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh", "HEBREW": "he", "GREEK": "el", "BENGALI": "bn",
    "TAMIL": "ta", "TELUGU": "te", "THAI": "th", "GEORGIAN": "ka", "ARMENIAN": "hy", "ETHIOPIC": "am",
}  # fmt: skip
_SHARED = {
    "LATIN": ("en", "de", "fr", "es", "pt", "it", "nl", "sv", "da", "fi", "pl", "cs", "hu", "ro", "tr", "vi", "id"),
    "CYRILLIC": ("ru", "uk", "bg", "sr"),
    "ARABIC": ("ar", "fa", "ur"),
    "DEVANAGARI": ("hi",),
}
_FALLBACK = {"LATIN": "latin", "CYRILLIC": "cyrillic", "ARABIC": "ar", "DEVANAGARI": "hi"}
_STRIPPED = operator.methodcaller("strip", ".,;:!?()\"'’“”„«»…،؟؛।*_")


def language_of(text: str) -> str:
    """The code of the language of a text, see `Language`; only its beginning is looked at."""
    text = text[:SAMPLE_CHARACTERS].lower()
    script = "LATIN" if text.isascii() else _main_script(text)
    if script in _ALONE:
        return _ALONE[script]
    if script not in _SHARED:
        return "other"
    hits: dict[str, int] = {}
    table = _word_table(script)
    words = set(map(_STRIPPED, text.split()))
    for word in words & table.keys():
        for language in table[word]:
            hits[language] = hits.get(language, 0) + 1
    most = max(hits.values(), default=0)
    if most >= _FEWEST_HITS:
        return next(language for language in _SHARED[script] if hits.get(language) == most)
    return _FALLBACK[script] if any(map(str.isalpha, words)) else "other"


def text_to_judge(sample: Sample) -> str:
    """What of a row tells its language: its last answer, and what was asked where that is short."""
    if not sample.messages:
        return (
            sample.completion
            if len(sample.completion) >= SAMPLE_CHARACTERS
            else f"{sample.prompt}\n{sample.completion}"
        )
    last = next((message.content for message in reversed(sample.messages) if message.role == "assistant"), "")
    if len(last) >= SAMPLE_CHARACTERS:
        return last
    return "\n".join(message.content for message in reversed(sample.messages) if message.role in ("user", "assistant"))


def as_languages(counts: Mapping[str, int]) -> tuple[Language, ...]:
    """Counted codes as what the report says, the most frequent first."""
    ordered: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Language(code, NAMES[code], rows) for code, rows in ordered)


def _main_script(text: str) -> str:
    counts = Counter(map(_script_of, text[::_SCRIPT_STRIDE]))
    del counts[""]
    if not counts:
        return ""
    kana = counts.get("HIRAGANA", 0) + counts.get("KATAKANA", 0)
    if kana and 8 * kana >= counts.get("CJK", 0):
        counts["HIRAGANA"] = kana + counts.pop("CJK", 0)
    # A Chinese character or a Korean syllable says about as much as three letters.
    return max(counts, key=lambda script: counts[script] * (3 if script in ("CJK", "HANGUL", "HIRAGANA") else 1))


@functools.lru_cache(maxsize=20_000)
def _script_of(letter: str) -> str:
    """The script of a letter by its Unicode name, which begins with it; empty for what is no letter."""
    return unicodedata.name(letter, "").partition(" ")[0].partition("-")[0] if letter.isalpha() else ""


@functools.cache
def _word_table(script: str) -> Mapping[str, Iterable[str]]:
    """The small words of the languages that share a script, each with the languages that have it."""
    table: dict[str, list[str]] = {}
    for language in _SHARED[script]:
        for word in SMALL_WORDS[language].split():
            table.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in table.items()}
