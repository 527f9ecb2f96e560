"""Where exports go: usual places, the names of files in them, and what speaks against a place."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Problem, error
from core.paths import existing_parent, home
from core.runs.layout import RunFolder

if TYPE_CHECKING:
    from core.export.result import ExportKind

TARGET = "target"
"""The path of problems that another target would mend."""

PUBLISHER = "lowrank"
"""Under which name LM Studio lists what was made here."""

_GGUF = ".gguf"
_MOST_NAMES = 1000


def default_target(folder: RunFolder, kind: "ExportKind") -> Path:
    """Where an export goes when nobody says otherwise; LM Studio's own folder of models where it is installed."""
    if kind == "lm_studio":
        own = lm_studio_models()
        if own is not None:
            return own
    return home() / "exports" / folder.path.name / kind


def lm_studio_models() -> Path | None:
    """The folder that LM Studio looks for models in; None where it is not installed.

    The newer place goes first (lmstudio.ai/docs/app/advanced/import-model).
    """
    for place in (".lmstudio", ".cache/lm-studio"):
        if (Path.home() / place).is_dir():
            return Path.home() / place / "models"
    return None


def target_in(place: Path, folder: RunFolder, kind: "ExportKind", precision: str = "") -> Path:
    """What is written when ``place`` was chosen: the folder itself, or the file or folder in it that the kind makes."""
    name = folder.path.name
    if kind in ("gguf", "gguf_adapter") and place.suffix.lower() != _GGUF:
        between = "-" if kind == "gguf" else "-lora-"
        return place / f"{name}{between}{precision.upper()}{_GGUF}"
    if kind == "lm_studio":
        return place / PUBLISHER / f"{name}-{precision.upper()}-GGUF"
    return place


def unused_place(place: Path, folder: RunFolder, kind: "ExportKind", precision: str = "") -> Path:
    """``place``, or the same with a number behind it where something lies there already.

    LM Studio's folder is never another one: it would not look there.
    """
    if kind == "lm_studio":
        return place
    for number in range(1, _MOST_NAMES):
        candidate = place if number == 1 else place.with_name(f"{place.stem}-{number}{place.suffix}")
        if not is_taken(target_in(candidate, folder, kind, precision), kind):
            return candidate
    return place


def is_taken(target: Path, kind: "ExportKind" = "adapter") -> bool:
    """Whether something lies there already; an empty folder is as good as none where a folder goes."""
    if kind in ("gguf", "gguf_adapter"):
        return os.path.lexists(target)
    return os.path.lexists(target) and (not target.is_dir() or any(target.iterdir()))


def target_problems(target: Path, run: RunFolder | None = None, kind: "ExportKind" = "adapter") -> Iterator[Problem]:
    """What speaks against writing an export into ``target``: taken, inside the run itself, or not to be written."""
    advice = "Choose another folder."
    if is_taken(target, kind):
        full = " and is not empty" if target.is_dir() else ""
        yield error(TARGET, f"{target} already exists{full}; nothing is overwritten.", advice)
        return
    if run is not None and target.resolve().is_relative_to(run.path.resolve()):
        message = "The target lies inside the run's own folder, which goes away with the run."
        yield error(TARGET, message, advice)
        return
    parent = existing_parent(target.parent)
    above = next((path for path in target.parents if path.exists()), parent)
    if not above.is_dir():
        yield error(TARGET, f"{above} is a file, so there can be no folder below it.", advice)
    elif not os.access(parent, os.W_OK | os.X_OK):
        advice = "Choose another folder, or change its permissions."
        yield error(TARGET, f"You have no permission to write into {parent}.", advice)
