"""The files of a model on the hub, and which of them are needed to train it."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from core.facts.model_folder import ADAPTER_FILE, CONFIG_FILE
from core.facts.safetensors_header import INDEX_FILE, SINGLE_FILE

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
)
_SETTINGS = (CONFIG_FILE, "generation_config.json")
_WORDS = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|USE_POLICY)([.-][\w.-]+)?|README\.md", re.IGNORECASE)
_MORE_TEMPLATES = re.compile(r"additional_chat_templates/[\w.-]+\.jinja")
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_PICKLE = re.compile(r".*\.(bin|pt|pth|ckpt)")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a model at one revision.

    Attributes:
        name: path inside the model, with slashes.
        size: in bytes; -1 where the hub does not say.
        digest: SHA-256 of the content in hexadecimal, or Git's own SHA-1 for small files; empty where the hub does
            not say. It also names the file in the cache.
    """

    name: str
    size: int
    digest: str


def is_licence(name: str) -> bool:
    """Whether a file at the top of a repository says what its content may be used for."""
    return bool(_WORDS.fullmatch(name))


def needed(files: Iterable[HubFile], *, own_code: bool = False) -> tuple[HubFile, ...]:
    """The files that are downloaded: settings, tokenizer, template, safetensors weights, licence and model card.

    Weights in other formats never are, nor anything in subfolders.

    Args:
        files: all that the model has.
        own_code: whether the model can only be loaded with Python files of its own.
    """
    known = {file.name: file for file in files}
    weights = weight_files(known)
    return tuple(
        file for name, file in sorted(known.items()) if name in weights or _is_small_part(name, own_code=own_code)
    )


def _is_small_part(name: str, *, own_code: bool) -> bool:
    if name in _SETTINGS or name in _TOKENIZER or name.endswith(".tiktoken"):
        return "/" not in name
    if _MORE_TEMPLATES.fullmatch(name) or _WORDS.fullmatch(name):
        return True
    return own_code and name.endswith(".py") and "/" not in name


def weight_files(names: Collection[str]) -> frozenset[str]:
    """The safetensors files that make up the model: the single one, or the index and its shards; empty for none."""
    if SINGLE_FILE in names:
        return frozenset((SINGLE_FILE,))
    if INDEX_FILE not in names:
        return frozenset()
    shards = [name for name in names if _SHARD.fullmatch(name)]
    if not shards:  # named in another way: the index will say which of them it means
        shards = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    return frozenset((INDEX_FILE, *shards))


def unusable(names: Collection[str]) -> str:
    """Why a model with these files cannot be trained here, as a sentence; empty when nothing speaks against it."""
    if weight_files(names) and CONFIG_FILE in names:
        return ""
    if ADAPTER_FILE in names and CONFIG_FILE not in names:
        return "This is a LoRA adapter, not a base model; choose the model that it was trained on."
    if any(name.endswith(".gguf") for name in names) and not weight_files(names):
        return "It has GGUF files only: download one of them from its page, and import that here."
    if any(_PICKLE.fullmatch(name) for name in names) and not weight_files(names):
        return (
            "Its weights are saved as pickle only, a format that can run any code hidden in it; look for a version "
            "with safetensors files."
        )
    if not weight_files(names):
        return "It has no weights in safetensors files that could be trained here."
    return f"It has no {CONFIG_FILE}, so nobody can tell how to load it."
