"""Template, special tokens and tokenizer of an export beside those of the training: no weights are read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.tokenizer import Tokenizer
from core.export.adapter import TEMPLATE_FILE, read_manifest
from core.export.verification.records import Check
from core.facts.json_files import read_json_object
from core.facts.model_texts import read_template

if TYPE_CHECKING:
    from gguf import GGUFReader

HOSTILE = (
    "  two  spaces\tand tabs\n\n\n  lines \n",
    "I've 'RE 12345 3.14 ---===!!!???",
    "naïve Ελληνικά 中文字符 日本語 한국어 🦙👩\u200d👧 e\u0301",
    "x" * 100,
)
"""Texts on which tokenizers differ that are nearly the same."""
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Texts:
    """What is not weights, of a training or of an export.

    Attributes:
        template: source of the chat template; empty for none.
        special: "bos", "eos", "pad" -> id, those that there are.
        stops: every token that ends an answer as far as the files say; None where they do not say it.
        tokens: `HOSTILE` as ids; None where they cannot be told without running the model.
        names: text of each special token's id.
    """

    template: str
    special: Mapping[str, int]
    stops: frozenset[int] | None
    tokens: tuple[tuple[int, ...], ...] | None
    names: Mapping[str, str]


def trained_texts(base: Path, adapter: Path | None) -> Texts:
    """What the training used.

    Raises:
        UserError: the base's tokenizer cannot be read.
    """
    found = folder_texts(base)
    template = found.template
    if adapter is not None:
        manifest = read_manifest(adapter)
        beside = adapter / TEMPLATE_FILE
        own = beside.read_text(encoding="utf-8") if beside.is_file() else ""
        template = (manifest.template if manifest is not None else "") or own or template
    return Texts(template, found.special, found.stops, found.tokens, found.names)


def folder_texts(folder: Path) -> Texts:
    """What a model's folder says.

    Raises:
        UserError: its tokenizer cannot be read.
    """
    tokenizer = Tokenizer.load(folder)
    special = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}
    known = {name: number for name, number in special.items() if number is not None}
    return Texts(
        template=read_template(folder)[0],
        special=known,
        stops=frozenset(tokenizer.eos_ids),
        tokens=tuple(tuple(tokenizer.encode(text)) for text in HOSTILE),
        names={name: tokenizer.token_text(number) for name, number in known.items()},
    )


def adapter_texts(folder: Path, trained: Texts) -> Texts:
    """What an adapter's folder says; it leaves to the base what it has no file for."""
    template = trained.template
    beside = folder / TEMPLATE_FILE
    if beside.is_file():
        template = beside.read_text(encoding="utf-8")
    elif (folder / "tokenizer_config.json").is_file():
        held = read_json_object(folder / "tokenizer_config.json").get("chat_template")
        template = held if isinstance(held, str) else template
    return Texts(template, trained.special, trained.stops, trained.tokens, trained.names)


def gguf_texts(file: "GGUFReader") -> Texts:
    """What a GGUF file says."""
    fields = file.fields

    def told(name: str) -> Any:
        field = fields.get(name)
        return field.contents() if field is not None else None

    tokens = told("tokenizer.ggml.tokens") or []
    numbers = {"bos": "bos", "eos": "eos", "pad": "padding"}
    special = {name: told(f"tokenizer.ggml.{word}_token_id") for name, word in numbers.items()}
    known = {name: int(number) for name, number in special.items() if number is not None}
    template = str(told("tokenizer.chat_template") or "")
    return Texts(template, known, None, None, {name: str(tokens[number]) for name, number in known.items()})


def compare_texts(trained: Texts, found: Texts) -> Iterator[Check]:
    """The checks on all that is not weights."""
    same = found.template == trained.template
    words = "The chat template is the one of the training, byte for byte."
    if not same:
        words = (
            f"The chat template is another one than in the training: {_difference(trained.template, found.template)}."
        )
    yield Check("template", same, "", "", words)
    wrong = [
        f"{name} is {_named(found, name)} and was {_named(trained, name)}"
        for name in trained.special
        if name in found.special and found.special[name] != trained.special[name]
    ]
    wrong += [f"{name} is missing" for name in ("eos",) if name in trained.special and name not in found.special]
    if found.stops is not None and trained.stops is not None and not wrong and found.stops != trained.stops:
        wrong.append(f"the tokens that end an answer are {sorted(found.stops)} and were {sorted(trained.stops)}")
    words = "Special tokens and those that end an answer are the same."
    yield Check("special_tokens", not wrong, "", "", f"Special tokens differ: {'; '.join(wrong)}." if wrong else words)
    if found.tokens is not None and trained.tokens is not None:
        differ = sum(one != other for one, other in zip(found.tokens, trained.tokens, strict=True))
        words = "The tokenizer turns texts into the same tokens."
        if differ:
            words = "The tokenizer has changed since the training: the same text becomes other tokens."
        yield Check("tokenizer", not differ, f"{differ} of {len(HOSTILE)} texts differ" if differ else "", "", words)


def _named(texts: Texts, name: str) -> str:
    return f"“{texts.names.get(name, '')}” ({texts.special[name]})"


def _difference(wanted: str, found: str) -> str:
    if not found:
        return "there is none"
    if not wanted:
        return "there was none"
    place = next((number for number, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), None)
    place = min(len(wanted), len(found)) if place is None else place
    return f"from character {place + 1} on it says “{found[place : place + _SHOWN]}”"
