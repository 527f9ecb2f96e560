"""Saved states: whole or absent, verified before use, plain tensors and JSON only.

A checkpoint is written into a staging folder, synced, and renamed; its manifest with sizes and hashes is written last.
Whatever kills the engine, the newest complete checkpoint stays usable and the one before it is still there. What can
be asked without tensors is in `core.runs.saved_states`.
"""

import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import FailureKind, JobError
from core.paths import staged_folder, write_json
from core.runs.identity import Change
from core.runs.saved_states import (
    Counters,
    FilePromise,
    Identity,
    checkpoint_path,
    damage,
    file_hash,
    list_checkpoints,
    read_manifest,
    write_manifest,
)

MOST_NAMED = 4
"""How many differences a refusal spells out."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """A checkpoint read back: tensors by name, optimizer state, counters."""

    path: Path
    counters: Counters
    identity: Identity
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
    identity: Identity,
    masters: Mapping[str, torch.Tensor],
    optimizer: tuple[dict[str, torch.Tensor], dict[str, Any]],
    scaler: Mapping[str, Any],
    keep: int,
    keep_best: bool = True,
) -> tuple[Path, int]:
    """Saves a state under ``folder/step-<n>``; of the others only the newest before it and the best one stay.

    Where the same step is saved already, its tensors are the same and only what is known about it is written anew.

    Args:
        folder: where the states of the run lie.
        counters: the position; `best_step` is the state that ``keep_best`` protects.
        identity: what the state belongs to.
        masters: all trained tensors.
        optimizer: its tensors and numbers.
        scaler: state of the loss scale.
        keep: how many of the newest stay, this one among them.
        keep_best: whether the one with the lowest validation loss stays as well.

    Returns:
        The checkpoint's path and its size in bytes.

    Raises:
        OSError, SafetensorError: the disk is full or read-only; nothing half-written stays, older checkpoints are
            untouched.
    """
    from safetensors.torch import save_file

    target = checkpoint_path(folder, counters.step)
    if target.exists():
        if damage(target) is None:
            write_manifest(target, counters, identity, read_manifest(target).files)
            _prune(folder, counters, keep, keep_best=keep_best)
            return target, _size(target)
        shutil.rmtree(target)
    folder.mkdir(parents=True, exist_ok=True)
    with staged_folder(target) as staging:
        save_file({name: t.cpu().contiguous() for name, t in masters.items()}, staging / "masters.safetensors")
        if optimizer[0]:
            save_file(optimizer[0], staging / "optimizer.safetensors")
        save_file(_random_tensors(), staging / "random.safetensors")
        state = {"optimizer": optimizer[1], "scaler": dict(scaler), "python_random": random.getstate()}
        write_json(staging / "state.json", state)
        files = {path.name: _promise(path) for path in sorted(staging.iterdir())}
        write_manifest(staging, counters, identity, files)
    _prune(folder, counters, keep, keep_best=keep_best)
    return target, _size(target)


def _promise(path: Path) -> FilePromise:
    """Makes a file durable and says what it is."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return FilePromise(path.stat().st_size, file_hash(path))


def _prune(folder: Path, counters: Counters, keep: int, *, keep_best: bool) -> None:
    """Removes what nobody needs; a later step than the present one is damaged or was given up by a resume."""
    known = list_checkpoints(folder)
    present = checkpoint_path(folder, counters.step)
    wanted = [path for path in known if path.name <= present.name][-keep:]
    if keep_best and counters.best_step:
        wanted.append(checkpoint_path(folder, counters.best_step))
    for path in known:
        if path not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def load_newest(folder: Path) -> tuple[SavedState | None, list[str]]:
    """The newest undamaged checkpoint, and a sentence for each newer one that is damaged."""
    complaints: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        found = damage(path)
        if found is None:
            return load_checkpoint(path), complaints
        complaints.append(f"The checkpoint {path.name} is damaged ({found}) and was passed over.")
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


def require_same(changes: tuple[Change, ...], agreed: tuple[Change, ...]) -> list[str]:
    """Refuses to continue a state with other data, another base or other settings, unless the user has agreed to it.

    Args:
        changes: how the run differs from what the state belongs to.
        agreed: what was shown to the user, who wanted to go on all the same.

    Returns:
        A sentence for each change that was agreed to.

    Raises:
        JobError: names what differs.
    """
    blocking = [change for change in changes if change.blocks]
    unheard = [change for change in changes if change not in agreed]
    if not blocking and not unheard:
        return [change.message for change in changes]
    named = [change.message for change in (blocking or unheard)]
    more = f" ({len(named) - MOST_NAMED} more changes are not named here.)" if len(named) > MOST_NAMED else ""
    advice = (
        "The saved tensors do not fit any more: put back what changed, or start a new run."
        if blocking
        else "Put back what changed, or go on all the same with “lowrank resume RUN --accept-changes”; the numbers "
        "will not be those of an uninterrupted run then."
    )
    raise JobError(
        FailureKind.RESUME_MISMATCH,
        f"The saved state does not belong to this run as it is now. {' '.join(named[:MOST_NAMED])}{more}",
        advice,
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
    # Asking a GPU that nobody has used makes a CUDA context there, in memory that a training may need.
    for index in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
        tensors[f"cuda.{index}"] = torch.cuda.get_rng_state(index)
    return tensors


def load_checkpoint(path: Path) -> SavedState:
    """A state that is whole.

    Raises:
        JobError: another version of the application wrote it.
    """
    from safetensors.torch import load_file

    optimizer = path / "optimizer.safetensors"
    try:
        manifest = read_manifest(path)
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return SavedState(
            path=path,
            counters=manifest.counters,
            identity=manifest.identity,
            masters=load_file(path / "masters.safetensors"),
            optimizer=load_file(optimizer) if optimizer.exists() else {},
            optimizer_numbers=state["optimizer"],
            random=load_file(path / "random.safetensors"),
            random_python=state["python_random"],
            scaler=state["scaler"],
        )
    except (KeyError, ValueError) as error:
        raise JobError(
            FailureKind.RESUME_MISMATCH,
            f"The checkpoint {path.name} was written by another version of the application ({error}).",
            "Resume it with the version that wrote it, or start a new run.",
        ) from error


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
