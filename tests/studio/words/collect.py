"""What has to be translated, where it stands, and what the catalogues of a language lack or hold for nothing.

``python -m tests.studio.words.collect [LANGUAGE]`` prints both for each catalogue.
"""

import ast
import functools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.paths import resource
from core.spec.presets import presets
from core.spec.run_spec import fields, sections
from tests.studio.words.reading import templates

ROOT = Path(__file__).parents[3]

CATALOGUES: Mapping[str, tuple[str, ...]] = {
    "settings": (),
    "core": ("core",),
    "widgets": ("studio/widgets", "studio/forms"),
    "shell": ("studio/shell", "studio/state", "studio/workers", "studio/look", "studio/app.py", "studio/__main__.py"),
    "model": ("studio/pages/model", "studio/pages/page.py"),
    "data": ("studio/pages/data",),
    "adapter": ("studio/pages/adapter",),
    "training": ("studio/pages/training",),
    "try": ("studio/pages/try_",),
    "export": ("studio/pages/export",),
    "runs": ("studio/pages/runs",),
    "settings_page": ("studio/pages/settings",),
    "fit": ("studio/pages/fit",),
    "queue": ("studio/pages/queue",),
}
"""Catalogue -> the sources whose texts it holds. A text that several need stands in the first of them only."""

SILENT_FILES = (
    "core/__main__.py",  # the command line speaks English
    "core/cli/",
    "core/export/card.py",  # files that others read
    "core/export/usage.py",
    "core/export/curve.py",
    "core/export/script.py",  # programs that others read
    "core/export/script_parts.py",
    "core/export/go_template.py",
    "core/export/gguf/splitting.py",
    "core/engine/bench_inference.py",  # told in the command line alone
    "core/facts/architectures.py",  # names, but for the reasons in BY_HAND
    "core/facts/blueprints.py",  # names of tensors
    "core/plan/card_table.py",  # names of cards
    "core/spec/schema.py",
    "core/spec/demo.py",  # prompts in the model's language
    "core/engine/__main__.py",
    "core/data/flaws.py",  # what is looked for in rows
    "core/data/mojibake.py",
    "core/data/report/small_words.py",
    "core/data/order.py",  # refusals that only a mistake in this program meets
    "core/data/packing.py",
    "core/plan/schedule.py",
    "core/events/history.py",
    "core/runs/launch_scripts.py",  # scripts that a shell reads
    "core/runs/queue_runner.py",  # lines of a log
    "core/runs/attention_plot.py",  # a picture that others read
    "studio/words.py",
    "studio/look/sheet.py",
)
"""Sources whose texts nobody reads in the window."""

_SILENT = (
    r"^(Settings of a Lowrank Studio run\.|Lowrank Studio$|Hugging Face token$|model name$|hub cache$)",
    r"^(Application Support$|Bearer |validation \{0\}$|[A-Z]:\\|RTX 6000 Ada|JSON Lines$)",
    r"^[A-Z]{2,4} \(\*|^\(?\*\.",
    # What Python's json says, which is looked up and never shown.
    r"^(Expecting|Illegal trailing|Unterminated string|Invalid |Extra data)",
    # Only a mistake in this program meets these.
    r"^(a (Supervisor watches|chat session starts)|nothing to wait for|an adapter without tensors)",
    r"^(the event log |the (merge|export) was cancelled|optimizer state \{0\} is)",
    r"^(the (upload|verification) was cancelled|\{0\} already exists$|llama.cpp wants room|llama_decode gave)",
    # What models are asked, which is in the language of the models.
    r"^(Write one sentence about the sea|How much is 12 times 12|I've 'RE 12345)",
    r"^(ollama create|llama-cli) ",  # commands
    r"^# (The model has no chat template|\{0\} The Modelfile)|^Upload with Lowrank Studio$",  # files that others read
    r"^(x has to rise|a weight of|\{0\} x and \{1\} y)",
    # Patterns, formats, types, styles and code.
    r"^\{#|<td |[{}]%|%[YHm]|^\^|\\d|\bpx\b|\bimport \w|://.*\||(?<!\}) = \"|^\S+ -m |\w\[\w+(\.\w+)*[\],]",
    r"\| None$|^(folder|adapter) = |^[a-z_ 0-9.-]*_[a-z_ 0-9.-]*$|^\[[^“]*\]$|^\{[a-z][^“]*\}$",
    r"^\{0\} (min|h|d) \{1\}|^model (list|import|entries|search|place)$|^(no|preset) \{0\}$",
)
SILENT_TEXTS = re.compile("|".join(_SILENT))
"""Texts that look like words and are none for a reader: headers of files, patterns, names, types, code."""

BY_HAND: Mapping[str, tuple[str, ...]] = {
    "core": (
        # core.facts.architectures: why a family cannot be tuned, and the word for one that is not known.
        "it translates one text into another (encoder and decoder) instead of continuing a text",
        "it reads text (an encoder) but does not continue it",
        "it reads pictures or sound, or translates text, and this application tunes models that continue text",
        "its class {0} does not continue text",
        # Single words are not collected by themselves, because most of them are names.
        "Completed",
        "Stopped",
        "Paused",
        "Failed",
        "Gradients",
        "Activations",
        "Workspace",
        "Evaluating",
        "Sampling",
        "answers",
        "adapters",
        "nothing",
        "fit",
        "a GPU",
        "evaluation",
        "sample",
        "embeddings",
        "line",
        "row",
        "base",
        "tuned",
        "base and tuned",
        "Libraries",
        "Memory",
        "{0} missing.",
        "Duplicates",
        "Near-duplicates",
        "Refusals",
        "English",
        "German",
        "French",
        "Spanish",
        "Portuguese",
        "Italian",
        "Dutch",
        "Swedish",
        "Finnish",
        "Polish",
        "Czech",
        "Hungarian",
        "Romanian",
        "Turkish",
        "Vietnamese",
        "Russian",
        "Ukrainian",
        "Bulgarian",
        "Serbian",
        "Chinese",
        "Japanese",
        "Korean",
        "Arabic",
        "Persian",
        "Urdu",
        "Hebrew",
        "Greek",
        "Hindi",
        "Bengali",
        "Tamil",
        "Telugu",
        "Thai",
        "Georgian",
        "Armenian",
        "Amharic",
        "Other",
    ),
}
"""Texts that no reading of the source finds."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text to translate, the catalogue it belongs to, and the file and line that it comes from."""

    text: str
    catalogue: str
    place: str


@functools.cache
def collect() -> Mapping[str, Text]:
    """Every text that needs a translation, once each."""
    found: dict[str, Text] = {}
    for text in (*_settings(), *_by_hand(), *_sources()):
        found.setdefault(text.text, text)
    return found


def catalogue(language: str, name: str) -> dict[str, str]:
    """The translations in one file; empty while there is none."""
    path = resource("translations", language) / f"{name}.json"
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def window_texts(source: str) -> Iterator[tuple[str | None, ast.expr]]:
    """What is given to ``tr`` and ``tr_count`` in a source: the text, None where it is no literal, and the argument."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        texts = node.args[:1] if node.func.id == "tr" else node.args[1:3] if node.func.id == "tr_count" else []
        for text in texts:
            literal = isinstance(text, ast.Constant) and isinstance(text.value, str)
            yield (ast.literal_eval(text) if literal else None), text


def not_literal() -> list[str]:
    """Where a text of the window is made at run time, so that nobody can collect it."""
    return [
        f"{file.relative_to(ROOT).as_posix()}:{argument.lineno}: {ast.unparse(argument)}"
        for file in sorted((ROOT / "studio").rglob("*.py"))
        if file != ROOT / "studio" / "words.py"
        for text, argument in window_texts(file.read_text("utf-8"))
        if text is None
    ]


def is_prose(text: str) -> bool:
    """Whether a template is something to read: words with spaces between them."""
    if SILENT_TEXTS.search(text):
        return False
    words = re.findall(r"(?<![\w./-])[A-Za-z][a-z’'-]+(?![\w/-])|\b[aA]\b", re.sub(r"\{\d+\}", " ", text))
    letters = sum(len(word) for word in words)
    least = 4 if text.startswith("{0}") else 2
    return " " in text and letters >= least and not re.fullmatch(r"[\W\d]*(GiB|MiB|min|of)?[\W\d]*", text)


def _settings() -> Iterator[Text]:
    place = "core/spec/sections.py"
    texts = [text for section in sections() for text in (section.title, section.help)]
    for info in fields():
        setting = info.setting
        texts += [setting.title, setting.help, setting.unit, setting.zero_means]
        texts += [text for choice in setting.choices for text in (choice.title, choice.help)]
    yield from (Text(text, "settings", place) for text in texts if text)
    for preset in presets():
        yield from (Text(text, "settings", "resources/presets") for text in (preset.title, preset.help))


def _by_hand() -> Iterator[Text]:
    for name, texts in BY_HAND.items():
        yield from (Text(text, name, "by hand") for text in texts)


def _sources() -> Iterator[Text]:
    for name, roots in CATALOGUES.items():
        for root in roots:
            path = ROOT / root
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                yield from _source(file, name)


def _source(file: Path, name: str) -> Iterator[Text]:
    place = file.relative_to(ROOT).as_posix()
    if not file.exists() or place.startswith(SILENT_FILES):
        return
    source = file.read_text("utf-8")
    if place.startswith("studio/"):
        for found, argument in window_texts(source):
            if found is not None:
                yield Text(found, name, f"{place}:{argument.lineno}")
    for text, line in templates(source):
        if is_prose(text):
            yield Text(text, name, f"{place}:{line}")


def missing(language: str) -> Mapping[str, list[Text]]:
    """What a language lacks, by catalogue."""
    known = {text for name in CATALOGUES for text in catalogue(language, name)}
    lacking: dict[str, list[Text]] = {name: [] for name in CATALOGUES}
    for text in collect().values():
        if text.text not in known:
            lacking[text.catalogue].append(text)
    return {name: texts for name, texts in lacking.items() if texts}


def unused(language: str) -> Mapping[str, list[str]]:
    """What catalogues hold that nothing shows, or that stands in another one already."""
    needed = collect()
    found = {
        name: [text for text in catalogue(language, name) if text not in needed or needed[text].catalogue != name]
        for name in CATALOGUES
    }
    return {name: texts for name, texts in found.items() if texts}


def main(language: str = "zh_CN") -> int:
    """Prints what is missing (``-``) and unused (``+``); returns 1 if there is any of it."""
    lacking, spare = missing(language), unused(language)
    lines = []
    for name in CATALOGUES:
        lines += [
            f"- {name}: {json.dumps(text.text, ensure_ascii=False)}  ({text.place})" for text in lacking.get(name, [])
        ]
        lines += [f"+ {name}: {json.dumps(text, ensure_ascii=False)}" for text in spare.get(name, [])]
    lines.append(f"{sum(map(len, lacking.values()))} missing, {sum(map(len, spare.values()))} unused")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(lacking or spare))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
