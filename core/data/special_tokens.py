"""Which tokens a model's files call special; several files may say so, and they do not always agree."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError, error

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_ADDED_SETTINGS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What the files beside ``tokenizer.json`` say.

    ``add_bos_token`` and ``add_eos_token`` are not read: beside a ``tokenizer.json``, whose post-processor says what
    running text gets, transformers 5 ignores them too.

    Attributes:
        named: name -> text, such as "eos_token" -> "</s>".
        extra: further special tokens without a name.
        added: id -> the settings of an added token.
        bos_ids, eos_ids, pad_ids: ids that the model's own configuration names, generation settings last.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    added: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    bos_ids: tuple[int, ...] = ()
    eos_ids: tuple[int, ...] = ()
    pad_ids: tuple[int, ...] = ()

    def identity(self) -> list[Any]:
        """Plain data that is equal exactly when the tokens are."""
        added = [[number, dict(item)] for number, item in sorted(self.added.items())]
        ids = [list(self.bos_ids), list(self.eos_ids), list(self.pad_ids)]
        return [dict(self.named), list(self.extra), added, ids]


def read_special_tokens(folder: Path) -> SpecialTokens:
    """Reads ``tokenizer_config.json``, ``special_tokens_map.json``, ``config.json`` and ``generation_config.json``.

    Every one of them may be missing.

    Raises:
        UserError: one of them is there but is not a JSON object, or cannot be read.
    """
    settings = _read(folder / "tokenizer_config.json")
    config = _read(folder / "config.json")
    inner = config.get("text_config")
    sources = [config, inner if isinstance(inner, dict) else {}, _read(folder / "generation_config.json")]
    if "added_tokens_decoder" not in settings:
        # Newer settings repeat all of the map; with older ones the map has the last word.
        settings = {**settings, **_read(folder / "special_tokens_map.json")}
    named = {name: text for name in NAMES if (text := _text(settings.get(name)))}
    more = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or ()
    listed = list(more.values()) if isinstance(more, dict) else more if isinstance(more, list) else []
    return SpecialTokens(
        named=named,
        extra=tuple(text for item in listed if (text := _text(item))),
        added=_added(settings.get("added_tokens_decoder")),
        bos_ids=_ids(sources, "bos_token_id"),
        eos_ids=_ids(sources, "eos_token_id"),
        pad_ids=_ids(sources, "pad_token_id"),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as failure:
        message = f"The file cannot be used: {failure}."
        raise UserError(error(str(path), message, "Copy or download it again.")) from failure
    if not isinstance(value, dict):
        raise UserError(error(str(path), "The file holds no JSON object.", "Copy or download it again."))
    return value


def _text(value: object) -> str:
    """A token that is written as a text or as an object with its content."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _added(value: object) -> Mapping[int, Mapping[str, Any]]:
    if not isinstance(value, dict):
        return {}
    found = {}
    for number, item in value.items():
        if number.isdecimal() and isinstance(item, dict) and isinstance(item.get("content"), str):
            found[int(number)] = {name: item[name] for name in _ADDED_SETTINGS if name in item}
    return found


def _ids(sources: list[dict[str, Any]], name: str) -> tuple[int, ...]:
    found: list[int] = []
    for source in sources:
        value = source.get(name)
        items = value if isinstance(value, list) else [value]
        found.extend(item for item in items if isinstance(item, int) and not isinstance(item, bool) and item >= 0)
    return tuple(dict.fromkeys(found))
