"""Good starting points for common tasks: the YAML files in ``resources/presets``, each a list of edits of a spec.

A preset says how to train, never what: base model, files and the run's name stay the user's. Every preset sets the
same settings, so that taking one after another gives the same as taking the last alone.
"""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import Edit, Problem, UserError, error
from core.paths import resource
from core.spec import yaml_text
from core.spec.codec import read_edits
from core.spec.run_spec import RunSpec
from core.spec.values import quote

_TEXTS = ("title", "help")
_KEYS = ("name", *_TEXTS, "settings")

PERSONAL = frozenset(
    {"model.base", "model.revision", "model.trust_remote_code", "data.train", "data.validation", "data.mapping"}
    | {"output.name", "output.folder", "training.sample_prompts"}
)
"""Settings that no preset may change."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named starting point: what it is called, one or two sentences on when to take it, and what it sets."""

    name: str
    title: str
    help: str
    edits: tuple[Edit, ...]


@functools.cache
def presets() -> tuple[Preset, ...]:
    """The bundled presets, in the order of their file names.

    Raises:
        UserError: a preset's file is broken; it names the file and what is wrong with it.
    """
    return load_presets(resource("presets"))


def load_presets(folder: Path) -> tuple[Preset, ...]:
    """Every preset in a folder, in the order of the file names (``10-chat.yaml`` is the preset “chat”).

    Raises:
        UserError: the folder has no presets, or files are broken; it carries every problem of every file.
    """
    found: list[Preset] = []
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            preset = _read(path)
        except UserError as failure:
            problems += failure.problems
            continue
        if preset.name in {other.name for other in found}:
            problems.append(error(str(path), f"There is another preset “{preset.name}”.", "Give it its own name."))
        found.append(preset)
    if not found and not problems:
        problems.append(error(str(folder), "There are no presets in this folder.", "Install the application again."))
    if problems:
        raise UserError(*problems)
    return tuple(found)


def apply_preset(name: str, spec: RunSpec) -> RunSpec:
    """The spec with a preset's settings; all others stay as they are.

    Raises:
        UserError: there is no such preset.
    """
    known = {preset.name: preset for preset in presets()}
    if name not in known:
        close = difflib.get_close_matches(name.casefold(), known, 1)
        listed = ", ".join(f"“{item}”" for item in known)
        advice = f"Did you mean “{close[0]}”?" if close else f"The presets are {listed}."
        raise UserError(error("", f"There is no preset {quote(name)}.", advice))
    for edit in known[name].edits:
        spec = spec.replace(edit.path, edit.value)
    return spec


def _read(path: Path) -> Preset:
    data = yaml_text.read_mapping(path)
    problems = [*yaml_text.problems_of(data), *_check_keys(data, path)]
    settings = data.get("settings")
    edits: tuple[Edit, ...] = ()
    if isinstance(settings, Mapping):
        tree, repeated = _nested(settings, path)
        edits, refused = read_edits(tree, str(path))
        problems += [*repeated, *refused]
        for edit in edits:
            if edit.path in PERSONAL:
                message = f"The preset in {path} sets “{edit.path}”, which is for the user to choose."
                problems.append(error(edit.path, message, "Remove it from the preset."))
    if problems:
        raise UserError(*problems)
    return Preset(str(data["name"]), str(data["title"]), str(data["help"]), edits)


def _check_keys(data: yaml_text.MarkedDict, path: Path) -> list[Problem]:
    problems = []
    for key in data:
        if key not in _KEYS:
            where = f"{path}:{data.lines[key]}"
            problems.append(error(where, f"{quote(key)} is no part of a preset.", f"A preset has {', '.join(_KEYS)}."))
    for key in ("name", *_TEXTS):
        text = data.get(key)
        if not isinstance(text, str) or not text.strip():
            problems.append(error(str(path), f"The preset has no {key}.", f"Write “{key}: …”."))
    if not isinstance(data.get("settings"), Mapping) or not data["settings"]:
        problems.append(error(str(path), "The preset has no settings.", "Write “settings:” and sections below it."))
    wanted = path.stem.lstrip("0123456789").removeprefix("-")
    if isinstance(data.get("name"), str) and data["name"] != wanted:
        message = f"The preset is called {quote(str(data['name']))}, but its file says “{wanted}”."
        problems.append(error(str(path), message, "Give both the same name."))
    return problems


def _nested(settings: Mapping[str, object], path: Path) -> tuple[Mapping[str, object], list[Problem]]:
    """Settings with dotted names (``training.epochs: 1``) sorted into their sections; nested ones stay as they are."""
    tree: dict[str, object] = {key: value for key, value in settings.items() if "." not in key}
    problems = []
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        own = tree.get(section) or {}
        if not dot or not isinstance(own, Mapping):
            continue
        if name in own:
            problems.append(error(key, f"“{key}” is given twice in {path}.", "Keep one of them."))
        tree[section] = {**own, name: value}
    return tree, problems
