"""Saved states as files: which there are, what each belongs to, and whether it is whole. Knows no tensors.

A state is a folder; its manifest, written last, holds its place in the run, what it belongs to (settings by name, so
that a difference can be named), and size and hash of every other file and of itself.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.layout import RunFolder

MANIFEST = "manifest.json"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Counters:
    """Everything about a run's position that is not a tensor.

    Attributes:
        step: optimizer steps done; with the seed this is also the position in the data.
        best_loss: lowest validation loss so far, and the step it was measured at.
        evaluations_since_best: for early stopping.
        evaluated_step: the step at which the validation loss was measured last; -1 before the first time.
        bad_steps: non-finite steps in a row.
        seconds: training time so far, over all sessions.
        micro_batch_tokens: the budget in force, which an out-of-memory recovery may have lowered.
        recomputed_layers: layers that such a recovery has recomputed in the backward pass; 0 leaves it to the plan.
    """

    step: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    best_loss: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    evaluated_step: int = -1
    bad_steps: int = 0
    skipped_steps: int = 0
    seconds: float = 0.0
    micro_batch_tokens: int = 0
    recomputed_layers: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """What must be the same for a saved state to continue exactly.

    Attributes:
        model: fingerprint of the base model's config and headers; `weights` is one of samples of its weights.
        data: `core.facts.types.DataFacts.fingerprint`; `files`, `template` and `tokenizer` are parts of it, by which
            a difference gets its name.
        files: hash of each data file, by path.
        settings: value of each setting that decides what is learned, by dotted path.
        chosen: the same for what the plan chose.
        trained: hash of the names and shapes of all trained tensors.
    """

    model: str = ""
    weights: str = ""
    data: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    tokenizer: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    chosen: Mapping[str, object] = field(default_factory=dict)
    trained: str = ""


@dataclass(frozen=True, slots=True)
class FilePromise:
    """What a file of a saved state has to be."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SavedManifest:
    """The manifest of a saved state; `sha256` is the hash of all the rest of it."""

    counters: Counters
    identity: Identity
    files: Mapping[str, FilePromise]
    format: int = FORMAT
    sha256: str = ""


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first; whether they are whole is a question for `damage`."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the state after ``step`` lies."""
    return folder / f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step after which the state in a folder was saved."""
    return int(path.name.removeprefix("step-"))


def write_manifest(path: Path, counters: Counters, identity: Identity, files: Mapping[str, FilePromise]) -> None:
    """Writes (or replaces, whole or not at all) the manifest of the state in ``path``.

    Raises:
        OSError: it cannot be written.
    """
    made = SavedManifest(counters, identity, files)
    write_json(path / MANIFEST, to_plain(replace(made, sha256=_own_hash(to_plain(made)))))


def read_manifest(path: Path) -> SavedManifest:
    """The manifest of a state that `damage` has found whole.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or written by a version with another format.
    """
    data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if data["format"] != FORMAT:
        raise RecordError(f"format {data['format']} instead of {FORMAT}")
    return from_plain(SavedManifest, data)


def damage(path: Path) -> str | None:
    """Why a checkpoint cannot be used, or None when every file has the promised size and hash."""
    try:
        data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if data["format"] == FORMAT and data["sha256"] != _own_hash(data):
            return "its manifest has changed since it was written"
        for name, promise in data["files"].items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != promise["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {promise['bytes']}"
            if file_hash(file) != promise["sha256"]:
                return f"{name} has changed since it was written"
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read: {error}"
    return None


def newest_manifest(folder: Path) -> SavedManifest | None:
    """The manifest of the newest whole state, read as a resume would; None where there is none."""
    for path in reversed(list_checkpoints(folder)):
        if damage(path) is None:
            try:
                return read_manifest(path)
            except ValueError:
                return None
    return None


def tidy_up(folder: RunFolder) -> None:
    """Removes what a killed engine left half-written; a finished result that was about to take its place takes it.

    Only for whoever holds the folder's lock.

    Raises:
        OSError: something cannot be removed.
    """
    fresh = folder.fresh_adapter
    if fresh.is_dir() and not folder.adapter.exists():
        os.replace(fresh, folder.adapter)
    for place in (folder.path, folder.checkpoints, folder.samples):
        for path in place.glob(".*"):
            if path.suffix in (".part", ".old") and path.is_dir():
                shutil.rmtree(path)
            elif path.suffix == ".tmp":
                path.unlink()
    if fresh.is_dir():
        shutil.rmtree(fresh)


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_hash(data: Mapping[str, object]) -> str:
    rest = {key: value for key, value in data.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
