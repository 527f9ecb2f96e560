"""Saved states: whole or absent, verified before use, plain tensors and JSON only.

A checkpoint is written into a staging folder, synced, and renamed; its manifest with sizes and hashes is written last.
Whatever kills the engine, the newest complete checkpoint stays usable and the one before it is still there.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import FailureKind, JobError
from core.paths import staged_folder, write_json
from core.records import RecordError, from_plain, to_plain

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Counters:
    """Everything about a run's position that is not a tensor.

    Attributes:
        step: optimizer steps done; with the seed this is also the position in the data.
        best_loss: lowest validation loss so far, and the step it was measured at.
        evaluations_since_best: for early stopping.
        bad_steps: non-finite steps in a row.
        seconds: training time so far, over all sessions.
        micro_batch_tokens: the budget in force, which an out-of-memory recovery may have lowered.
        started: unix time at which the first session began.
    """

    step: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    best_loss: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    bad_steps: int = 0
    skipped_steps: int = 0
    seconds: float = 0.0
    micro_batch_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What must be the same for a saved state to continue exactly."""

    model: str
    data: str
    spec: str
    trained: str


@dataclass(frozen=True, slots=True)
class SavedState:
    """A checkpoint read back: tensors by name, optimizer state, counters."""

    path: Path
    counters: Counters
    fingerprints: Fingerprints
    masters: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    optimizer_numbers: dict[str, Any]
    random: dict[str, torch.Tensor]
    random_python: Any
    scaler: dict[str, Any]


def save_checkpoint(
    folder: Path,
    *,
    counters: Counters,
    fingerprints: Fingerprints,
    masters: Mapping[str, torch.Tensor],
    optimizer: tuple[dict[str, torch.Tensor], dict[str, Any]],
    scaler: Mapping[str, Any],
    keep: int,
) -> tuple[Path, int]:
    """Saves a state under ``folder/step-<n>`` and removes all but the newest ``keep``.

    Returns:
        The checkpoint's path and its size in bytes.

    Raises:
        OSError, SafetensorError: the disk is full or read-only; nothing half-written stays, older checkpoints are
            untouched.
    """
    from safetensors.torch import save_file

    target = folder / f"step-{counters.step:08d}"
    if target.exists():
        if _damage(target) is None:
            return target, _size(target)
        shutil.rmtree(target)
    folder.mkdir(parents=True, exist_ok=True)
    with staged_folder(target) as staging:
        save_file({name: t.cpu().contiguous() for name, t in masters.items()}, staging / "masters.safetensors")
        if optimizer[0]:
            save_file(optimizer[0], staging / "optimizer.safetensors")
        save_file(_random_tensors(), staging / "random.safetensors")
        state = {
            "format": FORMAT,
            "counters": to_plain(counters),
            "fingerprints": to_plain(fingerprints),
            "optimizer": optimizer[1],
            "scaler": dict(scaler),
            "python_random": random.getstate(),
        }
        write_json(staging / "state.json", state)
        files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in staging.iterdir()}
        write_json(staging / MANIFEST, {"format": FORMAT, "step": counters.step, "files": files})
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target, _size(target)


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first; whether they are whole is a question for `load_newest`."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def load_newest(folder: Path) -> tuple[SavedState | None, list[str]]:
    """The newest undamaged checkpoint, and a sentence for each newer one that is damaged."""
    complaints: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        damage = _damage(path)
        if damage is None:
            return _load(path), complaints
        complaints.append(f"The checkpoint {path.name} is damaged ({damage}) and was passed over.")
    return None, complaints


def restore_random(state: SavedState) -> None:
    """Puts all sources of chance back to where they were."""
    import numpy as np

    version, internal, gauss = state.random_python
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state.random["torch"])
    keys = state.random["numpy.keys"].numpy().astype(np.uint32)
    position, has_gauss = (int(number) for number in state.random["numpy.numbers"])
    np.random.set_state(("MT19937", keys, position, has_gauss, float(state.random["numpy.gauss"][0])))
    devices = [name for name in state.random if name.startswith("cuda.")]
    for name in devices:
        index = int(name.removeprefix("cuda."))
        if index < torch.cuda.device_count():
            torch.cuda.set_rng_state(state.random[name], index)


def require_same(saved: Fingerprints, now: Fingerprints) -> None:
    """Refuses to continue a state with other data, another base or other settings.

    Raises:
        JobError: names what differs.
    """
    words = {
        "model": "the base model's files",
        "data": "the training data, its template or the tokenizer",
        "spec": "the settings of the run",
        "trained": "the set of trained parameters",
    }
    changed = [text for key, text in words.items() if getattr(saved, key) != getattr(now, key)]
    if changed:
        raise JobError(
            FailureKind.RESUME_MISMATCH,
            f"The saved state does not belong to this run any more: {', '.join(changed)} changed since it was saved.",
            "Put back what changed, or start a new run.",
        )


def _random_tensors() -> dict[str, torch.Tensor]:
    import numpy as np

    state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, gauss = state
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(keys.astype(np.int64)),
        "numpy.numbers": torch.tensor([position, has_gauss], dtype=torch.int64),
        "numpy.gauss": torch.tensor([gauss], dtype=torch.float64),
    }
    for index in range(torch.cuda.device_count()):
        tensors[f"cuda.{index}"] = torch.cuda.get_rng_state(index)
    return tensors


def _load(path: Path) -> SavedState:
    from safetensors.torch import load_file

    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    optimizer = path / "optimizer.safetensors"
    try:
        return SavedState(
            path=path,
            counters=from_plain(Counters, state["counters"]),
            fingerprints=from_plain(Fingerprints, state["fingerprints"]),
            masters=load_file(path / "masters.safetensors"),
            optimizer=load_file(optimizer) if optimizer.exists() else {},
            optimizer_numbers=state["optimizer"],
            random=load_file(path / "random.safetensors"),
            random_python=state["python_random"],
            scaler=state["scaler"],
        )
    except (KeyError, RecordError) as error:
        raise JobError(
            FailureKind.RESUME_MISMATCH,
            f"The checkpoint {path.name} was written by another version of the application ({error}).",
            "Resume it with the version that wrote it, or start a new run.",
        ) from error


def _damage(path: Path) -> str | None:
    """Why a checkpoint cannot be used, or None when every file has the promised size and hash."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
        for name, promise in files.items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != promise["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {promise['bytes']}"
            if _sha256(file) != promise["sha256"]:
                return f"{name} has changed since it was written"
    except FileNotFoundError:
        return "its manifest is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read: {error}"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
