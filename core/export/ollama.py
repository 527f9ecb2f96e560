"""A folder for Ollama: the model as one GGUF file, and the Modelfile that says how to talk to it.

``ollama create NAME`` in the folder takes it over. Ollama does not run the Jinja template inside a GGUF file, so the
Modelfile has it in Go's language (`core.export.go_template`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.templates import ChatTemplate, choose_template
from core.data.tokenizer import Tokenizer
from core.errors import UserError
from core.export.companions import companion_files
from core.export.go_template import go_template, turn_texts
from core.export.target_folder import folder_problems
from core.export.trained_template import trained_template
from core.facts.json_files import read_json_object, read_text
from core.facts.model_files import read_model
from core.facts.types import ModelFacts
from core.paths import staged_folder

MODELFILE = "Modelfile"
_MOST_CONTEXT = 8192
"""Ollama sets memory aside for so many tokens at once, and most computers have it."""
_QUOTES = '"""'
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_OLLAMA_NAMES = {"repetition_penalty": "repeat_penalty"}


@dataclass(frozen=True, slots=True)
class OllamaReport:
    """What was made for Ollama.

    Attributes:
        target: the folder.
        model: the GGUF file in it.
        modelfile: what tells Ollama of it.
        has_template: the Modelfile says how to write a conversation; else a note says why not.
        notes: what somebody who uses it should know, in sentences.
    """

    target: Path
    model: Path
    modelfile: Path
    bytes: int
    precision: str
    has_template: bool
    seconds: float
    notes: tuple[str, ...] = ()


def export_ollama(
    base: Path,
    adapter: Path | None,
    target: Path,
    precision: str,
    *,
    system: str = "",
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> OllamaReport:
    """Writes a model and its Modelfile into a folder that is whole or absent.

    Args:
        base: folder of the base model, safetensors in 16 or 32 bits.
        adapter: folder of an adapter in PEFT's format; None for the model alone.
        target: a folder that does not exist yet or is empty.
        precision: one of `core.export.gguf.PRECISIONS`.
        system: what the model is told before every conversation, unless the conversation says something else.
        on_progress: called with bytes written and bytes in all.
        cancelled: asked between pieces of work; when it says True the export stops.

    Raises:
        UserError: the target is taken, or no GGUF file can be written of the parts; every reason at once.
        MergeCancelledError: ``cancelled`` said so; nothing is left behind.
        OSError: reading or writing failed.
    """
    from core.export.gguf import write_gguf

    started = time.monotonic()
    problems = folder_problems(target)
    if problems:
        raise UserError(*problems)
    with staged_folder(target) as staging:
        name = f"{target.name}-{precision.lower()}.gguf"
        made = write_gguf(base, adapter, staging / name, precision, on_progress=on_progress, cancelled=cancelled)
        text, why_not = modelfile(base, adapter, name, system)
        (staging / MODELFILE).write_text(text, encoding="utf-8", newline="\n")
    notes = (*made.notes, *([why_not] if why_not else []))
    seconds = time.monotonic() - started
    return OllamaReport(
        target, target / name, target / MODELFILE, made.bytes, made.precision, not why_not, seconds, notes
    )


def modelfile(base: Path, adapter: Path | None, file: str, system: str = "") -> tuple[str, str]:
    """The text of a Modelfile for a GGUF file beside it, and a sentence that says why it has no template, if so.

    Raises:
        UserError: the base model's files are broken.
    """
    facts = read_model(base)
    tokenizer = Tokenizer.load(base)
    parts = [f"FROM ./{file}"]
    source, why_not = trained_template(base, adapter), ""
    if not source:
        parts.append("# The model has no chat template, so it goes on with the text that it is given.")
        parts.append(f"TEMPLATE {_quoted('{{ .Prompt }}')}")
        stops = [tokenizer.token_text(token) for token in tokenizer.eos_ids]
    else:
        template = choose_template(source, facts, tokenizer)
        texts = turn_texts(template, tokenizer.special.get("bos_token", "") if tokenizer.adds_bos else "")
        if isinstance(texts, str):
            why_not = (
                f"{texts} The Modelfile leaves the template to Ollama, which takes the nearest one that it knows; look "
                "at it with “ollama show --template” before you trust the answers."
            )
            parts.append(f"# {why_not}")
        else:
            parts.append(f"TEMPLATE {_quoted(go_template(texts))}")
        stops = _stops(template, tokenizer, "" if isinstance(texts, str) else texts.to_question)
    if system:
        parts.append(f"SYSTEM {_quoted(system.replace(_QUOTES, chr(39) * 3))}")
    parts += [f"PARAMETER {name} {value}" for name, value in _parameters(facts, base)]
    parts += [f'PARAMETER stop "{_escaped(stop)}"' for stop in stops if stop]
    parts += _licence(base)
    return "\n\n".join(parts) + "\n", why_not


def _stops(template: ChatTemplate, tokenizer: Tokenizer, to_question: str) -> list[str]:
    """What ends an answer: end tokens; for a template without them, what comes before the next question."""
    stops = [tokenizer.token_text(token) for token in template.stop_ids(tokenizer)]
    if not template.ends_turns(tokenizer) and to_question.strip():
        stops.append(to_question.strip())
    return stops


def _parameters(facts: ModelFacts, base: Path) -> list[tuple[str, str]]:
    """How much is read at once, and how the model's makers want it sampled, where they say so."""
    found = [("num_ctx", str(min(facts.context_length or _MOST_CONTEXT, _MOST_CONTEXT)))]
    path = base / "generation_config.json"
    said: Mapping[str, Any] = read_json_object(path) if path.is_file() else {}
    if said.get("do_sample") is False:
        return [*found, ("temperature", "0")]
    for name in _SAMPLING:
        value = said.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append((_OLLAMA_NAMES.get(name, name), f"{value:g}"))
    return found


def _licence(base: Path) -> list[str]:
    files = companion_files(base)
    texts = [read_text(path) for name, path in files.items() if name.upper().startswith(("LICENSE", "LICENCE"))]
    return [f"LICENSE {_quoted(text)}" for text in texts if _QUOTES not in text]


def _quoted(text: str) -> str:
    return f"{_QUOTES}{text}{_QUOTES}"


def _escaped(text: str) -> str:
    return text.replace('"', '\\"').replace("\n", "\\n")
