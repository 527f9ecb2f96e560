"""Whether a disk has room for what is about to be written, and what to do where it has not."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.paths import HOME_VARIABLE, cache_dir, existing_parent, home, runs_dir
from core.runs.layout import TRASH, RunFolder
from core.runs.outcome import read_outcome
from core.units import MIB, format_bytes

SPARE_BYTES = 16 * MIB
"""What must stay free beyond the files themselves: folders, journals, the model card."""


@dataclass(frozen=True, slots=True)
class Room:
    """What something takes, and what is free on the file system that it goes to.

    Attributes:
        place: the nearest folder at or above the target that exists.
    """

    needed: int
    free: int
    place: Path

    @property
    def missing(self) -> int:
        """Bytes that have to be freed first; 0 where there is room."""
        return max(0, self.needed + SPARE_BYTES - self.free)


def room_for(needed: int, target: Path) -> Room:
    """The room for ``needed`` bytes at ``target``, which need not exist; asks the file system that it will lie on."""
    place = existing_parent(target)
    return Room(needed, shutil.disk_usage(place).free, place)


def room_advice(room: Room) -> str:
    """What to do about too little room: how much to free, where much of it lies, and which other disk has enough.

    Looks through the application's own folders, so it is for the moment when something is missing.
    """
    missing = format_bytes(room.missing)
    hoard, other = _hoard(room), _elsewhere(room)
    if hoard is not None and other is not None:
        size, folder = hoard
        free, disk = other
        return (
            f"Free {missing} ({size} lie in {folder}), or choose a folder on another disk: {free} are free at {disk}."
        )
    if hoard is not None:
        size, folder = hoard
        return f"Free {missing} ({size} lie in {folder}), or choose a folder on another disk."
    if other is not None:
        free, disk = other
        return f"Free {missing}, or choose a folder on another disk: {free} are free at {disk}."
    return f"Free {missing}, or choose a folder on another disk."


def home_advice(room: Room) -> str:
    """The same for what goes into the data folder, whose place is the user's to choose as a whole."""
    missing, hoard = format_bytes(room.missing), _hoard(room)
    if hoard is not None:
        size, folder = hoard
        return (
            f"Free {missing} ({size} lie in {folder}), or put the data folder on another disk with the variable "
            f"{HOME_VARIABLE}."
        )
    return f"Free {missing}, or put the data folder on another disk with the variable {HOME_VARIABLE}."


def free_advice(room: Room) -> str:
    """The same for what cannot go anywhere else."""
    missing, hoard = format_bytes(room.missing), _hoard(room)
    if hoard is not None:
        size, folder = hoard
        return f"Free {missing}, then try again: {size} lie in {folder}."
    return f"Free {missing}, then try again."


def _hoard(room: Room) -> tuple[str, str] | None:
    """The largest of the places whose content can be deleted without losing a result, if that alone would do."""
    device = _device(room.place)
    folders = [cache_dir(), home() / "exports", runs_dir() / TRASH, *_finished_states()]
    found = [(bytes_below(folder), str(folder)) for folder in folders if _device(folder) == device]
    size, where = max(found, default=(0, ""))
    return (format_bytes(size), where) if size >= room.missing > 0 else None


def _finished_states() -> Iterator[Path]:
    """Saved states of completed runs: nothing goes on from them any more."""
    for states in runs_dir().glob("*/checkpoints"):
        try:
            outcome = read_outcome(RunFolder(states.parent))
        except OSError:  # what cannot be read is nothing to point at
            continue
        if outcome is not None and outcome.kind == "completed":
            yield states


def _elsewhere(room: Room) -> tuple[str, str] | None:
    """The writable disk with the most room, if it has enough and is another one."""
    best: tuple[int, str] | None = None
    for disk in {Path.home(), *_disks()}:
        if _device(disk) in (None, _device(room.place)) or not os.access(disk, os.W_OK | os.X_OK):
            continue
        free = shutil.disk_usage(disk).free
        if free >= room.needed + SPARE_BYTES and (best is None or free > best[0]):
            best = (free, str(disk))
    return (format_bytes(best[0]), best[1]) if best is not None else None


def _disks() -> Iterator[Path]:
    """Where real disks are mounted; never the places of the system itself."""
    import psutil

    for part in psutil.disk_partitions(all=False):
        path = Path(part.mountpoint)
        if "ro" not in part.opts.split(",") and part.fstype != "squashfs" and path.is_dir():
            yield path


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None


def bytes_below(folder: Path) -> int:
    """The size of all files below a folder, links not followed; what vanishes meanwhile does not count."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118 (four times faster)
            except OSError:
                continue
    return total
