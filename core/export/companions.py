"""The files that go with the weights: settings, tokenizer, chat template, licence."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from core.export.adapter import TEMPLATE_FILE
from core.facts.json_files import read_json_object
from core.paths import write_atomic, write_json

CONFIG = "config.json"

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    TEMPLATE_FILE,
    "chat_template.json",
)
_BASE_ONLY = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
    "USE_POLICY*",
)


def companion_files(base: Path, adapter: Path | None = None) -> dict[str, Path]:
    """Name in the new model's folder -> file to copy; an adapter's tokenizer files and template win over the base's.

    Raises:
        UserError: the base's config.json is missing or broken.
    """
    patterns = _BASE_ONLY + (("*.py",) if read_json_object(base / CONFIG).get("auto_map") else ())
    found = {name: base / name for name in _TOKENIZER}
    found |= {path.name: path for pattern in patterns for path in sorted(base.glob(pattern))}
    found |= {
        f"additional_chat_templates/{path.name}": path
        for path in sorted((base / "additional_chat_templates").glob("*.jinja"))
    }
    # An adapter that was saved with a tokenizer was trained with it, and with its template.
    if adapter is not None:
        found |= {name: adapter / name for name in _TOKENIZER if (adapter / name).is_file()}
    return {name: path for name, path in found.items() if path.is_file()}


def has_chat_template(files: Mapping[str, Path]) -> bool:
    """Whether the files among them bring a chat template, in any of the places where transformers looks for one.

    Raises:
        UserError: the tokenizer's settings are broken.
    """
    if any(name.startswith("chat_template.") for name in files):
        return True
    settings = files.get("tokenizer_config.json")
    return settings is not None and bool(read_json_object(settings).get("chat_template"))


def copy_companions(base: Path, folder: Path, adapter: Path | None = None, *, template: str = "") -> int:
    """Copies the `companion_files` into ``folder``; returns their bytes.

    Args:
        base: the folder of the base model.
        folder: where they go.
        adapter: what was trained on the base, with files of its own.
        template: the chat template of the training; empty to keep the adapter's or the base's.

    Raises:
        UserError: the base's config.json or a file with a chat template is missing or broken.
        OSError: a file cannot be read, or the disk is full.
    """
    files = companion_files(base, adapter)
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)
    if template:
        write_atomic(folder / TEMPLATE_FILE, template)
    elif adapter is not None and (adapter / TEMPLATE_FILE).is_file():
        template = (adapter / TEMPLATE_FILE).read_text(encoding="utf-8")
    if template:
        _say_everywhere(template, folder)
    return sum((folder / name).stat().st_size for name in files)


def _say_everywhere(template: str, folder: Path) -> None:
    """Puts the template in place of the base's wherever else one stands.

    transformers reads the file of its own first, but what makes GGUF files (gguf, vocab.py) takes the template out of
    tokenizer_config.json where there is one.
    """
    for name in ("tokenizer_config.json", "chat_template.json"):
        path = folder / name
        settings = read_json_object(path) if path.is_file() else {}
        held = settings.get("chat_template")
        if isinstance(held, list):
            others = [item for item in held if not (isinstance(item, dict) and item.get("name") == "default")]
            write_json(path, {**settings, "chat_template": [{"name": "default", "template": template}, *others]})
        elif held is not None:
            write_json(path, {**settings, "chat_template": template})


def write_config(config: Mapping[str, object], folder: Path, *, untied: bool) -> None:
    """Writes the base's config.json as it holds for the merged weights: never quantized, untied if they are."""
    merged = {key: value for key, value in config.items() if key not in ("quantization_config", "_name_or_path")}
    if untied:
        merged["tie_word_embeddings"] = False
        inner = merged.get("text_config")
        if isinstance(inner, dict):
            merged["text_config"] = {**inner, "tie_word_embeddings": False}
    write_json(folder / CONFIG, merged)
