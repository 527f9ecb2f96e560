"""How a byte-level tokenizer splits text before it merges, by the name that llama.cpp gives to that way.

A GGUF file holds no regular expression but a name (``tokenizer.ggml.pre``), and llama.cpp knows the expression. A wrong
name gives other tokens without any error, so what is not known for certain is refused.
"""

import json
from collections.abc import Mapping
from typing import Any

from core.errors import UserError, error

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+"
_CASED_UPPER = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTED = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_TAIL}"

_EXPRESSIONS = {
    rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_TAIL}": "qwen2",
    rf"{_CASED}|{_CASED_UPPER}|\p{{N}}|{_SLASHED}": "tekken",
    rf"{_CASED}{_CONTRACTED}|{_CASED_UPPER}{_CONTRACTED}|\p{{N}}{{1,3}}|{_SLASHED}": "gpt-4o",
    _GPT2: "gpt-2",
}


def pre_tokenizer_name(settings: Mapping[str, Any], path: str) -> str:
    """llama.cpp's name for the way in which a ``tokenizer.json`` splits text.

    Args:
        settings: the content of ``tokenizer.json``.
        path: where that is, for the message.

    Raises:
        UserError: llama.cpp is not known to have a name for it.
    """
    steps = _steps(settings.get("pre_tokenizer"))
    kinds = [step.get("type") for step in steps]
    whole = bool((settings.get("model") or {}).get("ignore_merges"))
    if any(step.get("type") == "ByteLevel" and step.get("add_prefix_space") for step in steps):
        kinds = []  # llama.cpp puts no space before the texts of byte-level tokenizers
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True) and _isolates(steps[0]):
        pattern = steps[0].get("pattern")
        expression = pattern.get("Regex", "") if isinstance(pattern, Mapping) else ""
        if expression == _LLAMA3:
            # The same expression; only the first takes words that are tokens as they are, without merging.
            return "llama-bpe" if whole else "smaug-bpe"
        if expression in _EXPRESSIONS:
            return _EXPRESSIONS[expression]
    found = json.dumps(settings.get("pre_tokenizer"), ensure_ascii=False)[:200]
    message = f"The tokenizer splits text in a way that llama.cpp is not known to have: {found}."
    advice = "Export the merged model and convert it with llama.cpp's own converter."
    raise UserError(error(path, message, advice))


def _isolates(step: Mapping[str, Any]) -> bool:
    return step.get("behavior") == "Isolated" and not step.get("invert")


def _steps(found: Any) -> list[Mapping[str, Any]]:
    if not isinstance(found, Mapping):
        return []
    if found.get("type") == "Sequence":
        inner = found.get("pretokenizers")
        return [step for part in inner for step in _steps(part)] if isinstance(inner, list) else []
    return [found]
