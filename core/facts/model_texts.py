"""The texts that lie beside a model's weights: chat template and licence."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.facts.json_files import read_json_object, read_text

_TEMPLATE_FILE = "chat_template.jinja"
_SETTINGS_FILES = ("tokenizer_config.json", "chat_template.json")
_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_MAX_LICENCE = 100
_LICENCE_LINE = re.compile(r"^(license|license_name):[ \t]*(.*)$", re.MULTILINE)


def read_template(folder: Path) -> tuple[str, str]:
    """The chat template of a model folder and the name of the file it stands in; two empty texts where there is none.

    The same order as in transformers: a file of its own goes before the tokenizer's settings.

    Raises:
        UserError: a file that would hold it is broken.
    """
    if (folder / _TEMPLATE_FILE).is_file():
        return read_text(folder / _TEMPLATE_FILE), _TEMPLATE_FILE
    for name in _SETTINGS_FILES:
        if (folder / name).is_file():
            template = pick_template(read_json_object(folder / name))
            if template:
                return template, name
    return "", ""


def pick_template(settings: Mapping[str, Any]) -> str:
    """The template in tokenizer settings: one text, or the one called “default” in a list of named ones."""
    value = settings.get("chat_template")
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    named = {item.get("name"): item.get("template") for item in value if isinstance(item, Mapping)}
    chosen = named.get("default") if "default" in named or len(named) != 1 else next(iter(named.values()))
    return chosen if isinstance(chosen, str) else ""


def read_licence(folder: Path) -> str:
    """What the model card's head calls the licence, else the first line of the licence file; empty for neither."""
    card = _tolerant_text(folder / "README.md")
    head = re.match(r"﻿?---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
    if head:
        found: dict[str, str] = {name: value.strip().strip("\"'") for name, value in _LICENCE_LINE.findall(head[1])}
        if not found.get("license"):
            item = re.search(r"^license:[ \t]*\n[ \t]*-[ \t]*(.+)$", head[1], re.MULTILINE)
            found["license"] = item[1].strip().strip("\"'") if item else ""
        name = found.get("license_name", "") if found["license"] in ("", "other") else found["license"]
        if name or found["license"]:
            return (name or found["license"])[:_MAX_LICENCE]
    for file in _LICENCE_FILES:
        lines = [line.strip(" #*\t") for line in _tolerant_text(folder / file).splitlines()]
        first = next((line for line in lines if line), "")
        if first:
            return first[:_MAX_LICENCE]
    return ""


def _tolerant_text(path: Path) -> str:
    """A text for people to read: absent files are empty, strange bytes are replaced."""
    try:
        with path.open("rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError:  # a licence that cannot be read is an unknown licence; the weights decide whether the model loads
        return ""
