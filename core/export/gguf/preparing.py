"""What a tokenizer does to a text before it looks for tokens, as far as llama.cpp does it too.

llama.cpp changes no letters. It puts a space before a text and behind every control token or does not, and takes white
space behind control tokens away in models whose name has “phi-3” in it. Whatever else a tokenizer does is refused, for
it would give other tokens without any error.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import UserError, error

_SPACE = "▁"
_PHI3 = re.compile(r"(phi)-?(3)", re.IGNORECASE)


def composes(settings: Mapping[str, Any], path: str) -> bool:
    """Whether a byte-level tokenizer composes characters (NFC), the one change that is left to who writes the text.

    Args:
        settings: the content of ``tokenizer.json``.
        path: where that is, for the message.

    Raises:
        UserError: it changes texts in another way.
    """
    kinds = [step.get("type") for step in _steps(settings.get("normalizer"), "normalizers")]
    if set(kinds) - {"NFC"}:
        raise _refusal("changes texts before it splits them", settings.get("normalizer"), path)
    return bool(kinds)


def space_prefix(settings: Mapping[str, Any], path: str, *, has_template: bool) -> bool:
    """Whether llama.cpp is to read texts of a SentencePiece tokenizer as if a space stood before them.

    Where that space belongs before the first word only (“first”), llama.cpp can have it behind every control token or
    nowhere; prompts that a chat template writes have many of those, and so are read as in training with none.

    Args:
        settings: the content of ``tokenizer.json``.
        path: where that is, for the message.
        has_template: the model is asked in the words of a chat template.

    Raises:
        UserError: it changes or splits texts in another way.
    """
    found = False
    for step in _steps(settings.get("normalizer"), "normalizers"):
        if step.get("type") == "Prepend" and step.get("prepend") == _SPACE:
            found = True
        elif step.get("type") != "Replace" or (step.get("pattern"), step.get("content")) != ({"String": " "}, _SPACE):
            raise _refusal("changes texts before it splits them", settings.get("normalizer"), path)
    for step in _steps(settings.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace" and step.get("replacement", _SPACE) == _SPACE:
            default = "always" if step.get("add_prefix_space", True) else "never"
            scheme = step.get("prepend_scheme", default)
            found = found or scheme == "always" or (scheme == "first" and not has_template)
        elif step.get("type") != "Split" or step.get("pattern") != {"String": " "}:
            raise _refusal("splits texts unlike SentencePiece", settings.get("pre_tokenizer"), path)
    return found


def strips_behind(added: Iterable[Mapping[str, Any]]) -> bool:
    """Whether control tokens take the white space behind them away, as those of Phi-3 do."""
    return any(token.get("special") and token.get("rstrip") for token in added)


def name_for(name: str, *, strips: bool, arch: str) -> str:
    """The name of a model in a form by which llama.cpp treats white space behind control tokens as the tokenizer does.

    It goes by “phi-3” in the name (``llama-vocab.cpp``, ``load``), so that is added, or taken apart where it misleads.
    """
    if strips and arch == "phi3":
        return name if re.search("phi-?3", name, re.IGNORECASE) else f"{name} (Phi-3)"
    return _PHI3.sub(r"\1 \2", name)


def _refusal(does: str, part: Any, path: str) -> UserError:
    found = json.dumps(part, ensure_ascii=False)[:200]
    message = f"The tokenizer {does}, which llama.cpp does not: {found}."
    return UserError(error(path, message, "Export the merged model and convert it with llama.cpp's own converter."))


def _steps(found: Any, inner: str) -> list[Mapping[str, Any]]:
    if not isinstance(found, Mapping):
        return []
    parts = found.get(inner) if found.get("type") == "Sequence" else [found]
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
