"""Moves the data folder with all models, runs and exports to another place; whole there, or untouched here."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core import paths
from core.errors import ExitCode, Problem, UserError, error
from core.paths import HOME_VARIABLE, sync_folder, write_atomic
from core.runs.layout import RunFolder
from core.runs.process_record import living_process
from core.runs.queue import read_queue
from core.runs.room import room_for
from core.units import format_bytes

OnProgress = Callable[[int, int], None]
_BLOCK = 1 << 22
_NAMING_PLACES = ("*.json", "*.yaml", "runs/*/*.json", "runs/*/*.yaml", "queue/*.json")
"""Files that name folders below the data folder, by pattern."""


@dataclass(frozen=True, slots=True)
class Move:
    """What moving would take.

    Attributes:
        bytes: of all files.
        free: on the disk of the target.
        copies: the target is on another disk, so everything is copied first; else only names change.
        problems: what stands against it.
    """

    source: Path
    target: Path
    bytes: int
    free: int
    copies: bool
    problems: tuple[Problem, ...]


def plan_move(target: Path) -> Move:
    """What moving the data folder to ``target`` would take, and whether it can be done."""
    source, target = paths.home(), target.expanduser().absolute()
    found: list[Problem] = []
    if os.environ.get(HOME_VARIABLE):
        message = f"The variable {HOME_VARIABLE} says where the data folder is: {source}."
        found.append(error(HOME_VARIABLE, message, "Change the variable, or unset it and choose the folder here."))
    if target == source or source in target.parents or target in source.parents:
        message = f"{target} and the data folder {source} lie inside each other."
        found.append(error(str(target), message, "Choose a folder elsewhere."))
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        message = f"{target} is not empty, and nothing in it is ever overwritten."
        found.append(error(str(target), message, "Choose an empty folder, or a new name."))
    found += _busy(source)
    size = sum(status.st_size for _, status in _files(source))
    room = room_for(size, target)
    copies = source.exists() and source.stat().st_dev != room.place.stat().st_dev
    if not os.access(room.place, os.W_OK):
        message = f"{room.place} cannot be written."
        found.append(error(str(target), message, "Choose another folder, or change its rights."))
    elif copies and room.missing:
        message = f"The data takes {format_bytes(size)}, and only {format_bytes(room.free)} are free there."
        found.append(error(str(target), message, f"Free {format_bytes(room.missing)} there, or choose another disk."))
    return Move(source, target, size, room.free, copies, tuple(found))


def move_home(
    target: Path, on_progress: OnProgress | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Path | None:
    """Moves the data folder and returns where it is now; None where it was cancelled and is where it was.

    Args:
        target: where to; must not exist, or be empty.
        on_progress: told how many bytes of how many are there.
        cancelled: asked after every block; a move between names of one disk cannot be cancelled.

    Raises:
        UserError: it cannot be done (`plan_move`), or the disk refuses; everything is where it was then.
    """
    move = plan_move(target)
    if move.problems:
        raise UserError(*move.problems)
    move.source.mkdir(parents=True, exist_ok=True)
    move.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if move.copies:
            return _copy(move, on_progress or (lambda _done, _total: None), cancelled)
        return _rename(move)
    except OSError as failure:
        message = f"The data folder could not be moved: {failure.strerror or failure}."
        advice = "Everything is where it was. Check the target's rights and free space."
        raise UserError(error(str(move.target), message, advice), exit_code=ExitCode.FAILED) from failure


def _rename(move: Move) -> Path:
    if move.target.is_dir():
        move.target.rmdir()
    paths.choose_home(move.target, move.source)
    move.source.rename(move.target)
    sync_folder(move.target.parent)
    _rewrite(move, move.target)
    return move.target


def _copy(move: Move, on_progress: OnProgress, cancelled: Callable[[], bool]) -> Path | None:
    staging = move.target.with_name(f".{move.target.name}.{secrets.token_hex(4)}.part")
    done = 0
    try:
        staging.mkdir()
        for path, _ in _files(move.source):
            place = staging / path.relative_to(move.source)
            place.parent.mkdir(parents=True, exist_ok=True)
            for count in _copy_file(path, place):
                done += count
                on_progress(done, move.bytes)
                if cancelled():
                    return None
        _copy_empty_folders(move.source, staging)
        _rewrite(move, staging)
        if move.target.is_dir():
            move.target.rmdir()
        staging.rename(move.target)
        sync_folder(move.target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    paths.choose_home(move.target, move.source)
    shutil.rmtree(move.source, ignore_errors=True)
    return move.target


def _copy_file(source: Path, target: Path) -> Iterator[int]:
    """Copies a file durably, with its times; says how many bytes came with every block."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK):
            writer.write(block)
            yield len(block)
        writer.flush()
        os.fsync(writer.fileno())
    shutil.copystat(source, target)


def _copy_empty_folders(source: Path, target: Path) -> None:
    for where, _, _ in os.walk(source):
        (target / Path(where).relative_to(source)).mkdir(parents=True, exist_ok=True)


def _rewrite(move: Move, place: Path) -> None:
    """Lets runs, queue and window look for what has moved along where it is now."""
    before, after = _prefixes(move.source), _prefixes(move.target)
    for pattern in _NAMING_PLACES:
        for path in place.glob(pattern):
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue  # what cannot be read is no file of ours
            changed = text
            for old, new in zip(before, after, strict=True):
                changed = changed.replace(old, new)
            if changed != text:
                write_atomic(path, changed)


def _prefixes(folder: Path) -> tuple[str, str]:
    """A folder as the beginning of paths, as text and as JSON has it."""
    plain = f"{folder}{os.sep}"
    return json.dumps(plain, ensure_ascii=False)[1:-1], plain


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            try:
                yield path, path.lstat()
            except OSError:
                continue  # gone meanwhile


def _busy(home: Path) -> Iterator[Problem]:
    """What works in the data folder right now."""
    if read_queue().is_worked_off:
        message = "The queue is being worked off in the data folder."
        yield error(str(home), message, "Pause it with “lowrank queue pause”, or wait for its end.")
    for parent in (home / "runs", home / "jobs"):
        for path in sorted(parent.iterdir()) if parent.is_dir() else ():
            if path.is_dir() and living_process(RunFolder(path)) is not None:
                message = f"“{path.name}” is still going on in the data folder."
                advice = f"Wait for it, or stop it with “lowrank stop {path.name}”."
                yield error(str(path), message, advice)
