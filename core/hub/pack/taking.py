"""Takes an offline pack in: into the models folder and the hub's cache, every file compared with its hash first."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.data.hub_files import listing_file
from core.errors import ExitCode, Problem, UserError, error
from core.hub import unfinished
from core.hub.cache import CachedRepository, size_of
from core.hub.download import alone
from core.hub.files import HubFile
from core.hub.pack.copying import Content, Count, OnProgress, copy_content, read_content
from core.hub.pack.manifest import Pack, PackedFile, PackedItem
from core.hub.pack.sources import LISTING
from core.hub.problems import RepoKind
from core.paths import cache_dir, models_dir, sync_folder
from core.runs.file_lock import try_lock
from core.runs.room import Room, home_advice, room_for
from core.units import format_bytes

_AGAIN = "Copy the pack's folder again from where it was made, or make that part of it anew there."


@dataclass(frozen=True, slots=True)
class Taking:
    """What taking a pack in would do.

    Attributes:
        items: what is asked for.
        is_here: names of those whose files are all here, which are compared and not copied.
        bytes: what has to be copied.
        free: on the fuller of the disks that it goes to.
        damage: what is wrong with the pack.
        shortage: which disks are too full for it.
    """

    pack: Pack
    items: tuple[PackedItem, ...]
    is_here: frozenset[str]
    bytes: int
    free: int
    damage: tuple[Problem, ...]
    shortage: tuple[Problem, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What stands against it."""
        return (*self.damage, *self.shortage)


@dataclass(frozen=True, slots=True)
class Taken:
    """Something that is here now.

    Attributes:
        name: what a spec calls it.
        path: its folder.
        was_here: nothing had to be copied.
        is_newest: whether its name alone means this state of it, and not another one that is here.
    """

    name: str
    path: Path
    was_here: bool
    is_newest: bool = True


def plan_taking(pack: Pack, names: Iterable[str] = ()) -> Taking:
    """Looks what of a pack would have to be copied, and whether that can be done. Reads no contents, writes nothing.

    Args:
        pack: the pack.
        names: what is wanted of it; everything when empty.

    Raises:
        UserError: the pack has nothing of a name.
    """
    items = _chosen(pack, tuple(names))
    damage = tuple(problem for item in items for problem in _gaps(pack, item))
    here = frozenset(item.name for item in items if _is_here(item))
    asked: dict[int, tuple[int, Path]] = {}
    for item in items:
        if item.name not in here:
            target = _target(item)
            room = room_for(0, target)
            before, _ = asked.get(room.place.stat().st_dev, (0, target))
            asked[room.place.stat().st_dev] = (before + _bytes_missing(item), target)
    free = min((shutil.disk_usage(room_for(0, target).place).free for _, target in asked.values()), default=0)
    shortage = []
    for needed, target in asked.values():
        room = room_for(needed, target)
        if room.missing:
            message = (
                f"{format_bytes(needed)} are to be copied, and {format_bytes(room.free)} are free at {room.place}."
            )
            shortage.append(error(str(room.place), message, _advice(room, target)))
    return Taking(pack, items, here, sum(needed for needed, _ in asked.values()), free, damage, tuple(shortage))


def take_pack(taking: Taking, on_progress: OnProgress) -> tuple[Taken, ...]:
    """Takes in what was planned, one after another; a model appears whole or not at all.

    What ``on_progress`` raises ends the work; files that are whole by then stay, and the next time only the rest is
    copied.

    Raises:
        UserError: something stands against it, a file is damaged, or the disk refuses.
    """
    if taking.problems:
        raise UserError(*taking.problems, exit_code=ExitCode.FAILED if taking.damage else ExitCode.DOES_NOT_FIT)
    count = Count(on_progress, sum(item.bytes for item in taking.items))
    taken = []
    for item in taking.items:
        try:
            taken.append(_take(taking.pack, item, count))
        except OSError as failure:
            message = f"“{item.name}” could not be stored: {failure.strerror or failure}."
            advice = "Check the folder's rights and its disk, then take the pack in again: only the rest is copied."
            raise UserError(
                error(str(failure.filename or _target(item)), message, advice), exit_code=ExitCode.FAILED
            ) from failure
    return tuple(taken)


def check_pack(pack: Pack, names: Iterable[str], on_progress: OnProgress) -> tuple[Problem, ...]:
    """Compares every file of a pack with what was packed, and names all that is damaged or missing.

    Raises:
        UserError: the pack has nothing of a name.
    """
    items = _chosen(pack, tuple(names))
    count = Count(on_progress, sum(item.bytes for item in items))
    problems: list[Problem] = []
    for item in items:
        gaps = {problem.path: problem for problem in _gaps(pack, item)}
        problems += gaps.values()
        for file in item.files:
            path = pack.folder / item.folder / file.name
            count.words = f"Checking {item.name}: {file.name}"
            if str(path) not in gaps:
                try:
                    if not _is(file, read_content(path, count)):
                        problems.append(_damage(path))
                except OSError as failure:
                    problems.append(error(str(path), f"It cannot be read: {failure.strerror or failure}.", _AGAIN))
    return tuple(problems)


def _advice(room: Room, target: Path) -> str:
    if models_dir() in target.parents:
        return home_advice(room)
    return f"Free {format_bytes(room.missing)}, or put the cache on another disk with the variable HF_HUB_CACHE."


def _chosen(pack: Pack, names: Sequence[str]) -> tuple[PackedItem, ...]:
    if not pack.items:
        message = f"The pack {pack.folder} is empty: its making was stopped before its first model was whole."
        raise UserError(error(str(pack.folder), message, "Let “lowrank pack” go on where it was made."))
    if not names:
        return pack.items
    found = [(name, pack.find(name)) for name in names]
    lost = [name for name, item in found if item is None]
    if lost:
        there = ", ".join(item.name for item in pack.items)
        raise UserError(*(error(name, f"The pack has no “{name}”.", f"It has: {there}.") for name in lost))
    return tuple(dict.fromkeys(item for _, item in found if item is not None))


def _gaps(pack: Pack, item: PackedItem) -> Iterator[Problem]:
    for file in item.files:
        path = pack.folder / item.folder / file.name
        size = size_of(path)
        if size < 0:
            yield error(str(path), f"The pack is damaged: {file.name} of “{item.name}” is missing.", _AGAIN)
        elif size != file.bytes:
            said, there = f"{file.bytes:,}", f"{size:,}"
            message = f"The pack is damaged: {file.name} of “{item.name}” has {there} bytes instead of {said}."
            yield error(str(path), message, _AGAIN)


def _damage(path: Path) -> Problem:
    return error(str(path), f"The pack is damaged: {path.name} does not hold what was packed.", _AGAIN)


def _is(file: PackedFile, content: Content) -> bool:
    """Whether a content is the packed one; by both of its names, because the cache will believe the second one."""
    return content.sha256 == file.sha256 and file.digest in (content.sha256, content.git_sha1)


# --- where it goes


def _repository(item: PackedItem) -> CachedRepository:
    kind: RepoKind = "dataset" if item.kind == "hub data" else "model"
    return CachedRepository(item.id, kind)


def _target(item: PackedItem) -> Path:
    return models_dir() / item.name if item.kind == "model" else _repository(item).snapshot(item.commit)


def _hub_files(item: PackedItem) -> tuple[HubFile, ...]:
    return tuple(HubFile(file.name, file.bytes, file.digest) for file in item.files if file.name != LISTING)


def _is_here(item: PackedItem) -> bool:
    """Whether all files are here, by their sizes."""
    target = _target(item)
    return all(size_of(target / file.name) == file.bytes for file in item.files if file.name != LISTING)


def _bytes_missing(item: PackedItem) -> int:
    if item.kind != "model":
        repository = _repository(item)
        return sum(file.size for file in _hub_files(item) if not repository.has(file, item.commit))
    staging = _staging(item)
    return sum(file.bytes for file in item.files if size_of(staging / file.name) != file.bytes)


def _take(pack: Pack, item: PackedItem, count: Count) -> Taken:
    return _take_own(pack, item, count) if item.kind == "model" else _take_to_cache(pack, item, count)


def _copy(pack: Pack, item: PackedItem, file: PackedFile, target: Path, count: Count) -> None:
    """Copies one file beside where it goes, and puts it there when it is right."""
    source, part = pack.folder / item.folder / file.name, target.with_name(f"{target.name}.incomplete")
    count.words = f"Copying {item.name}: {file.name}"
    if not _is(file, copy_content(source, part, count)):
        part.unlink()
        raise UserError(_damage(source), exit_code=ExitCode.FAILED)
    os.replace(part, target)


# --- models of the application's own


def _staging(item: PackedItem) -> Path:
    target = _target(item)
    return target.with_name(f".{target.name}.pack")


def _take_own(pack: Pack, item: PackedItem, count: Count) -> Taken:
    target, staging = _target(item), _staging(item)
    with _one_at_a_time(item):
        if target.exists():
            _require_same(target, item, count)
            return Taken(item.name, target, was_here=True)
        for file in item.files:
            path = staging / file.name
            count.words = f"Checking {item.name}: {file.name}"
            begun = count.done
            if size_of(path) == file.bytes and _is(file, read_content(path, count)):
                continue
            count.done = begun
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(pack, item, file, path, count)
        os.replace(staging, target)
        sync_folder(target.parent)
    return Taken(item.name, target, was_here=False)


def _require_same(target: Path, item: PackedItem, count: Count) -> None:
    """Lets a model pass that is here already, and no other one of the same name."""
    for file in item.files:
        count.words = f"Comparing {item.name}: {file.name}"
        path = target / file.name
        if size_of(path) != file.bytes or not _is(file, read_content(path, count)):
            message = f"There is another model called “{item.name}” in {target}, and nothing is ever overwritten."
            advice = "Rename that folder or move it away and take the pack in again; or leave this model out."
            raise UserError(error(str(target), message, advice), exit_code=ExitCode.FAILED)


@contextmanager
def _one_at_a_time(item: PackedItem) -> Iterator[None]:
    models_dir().mkdir(parents=True, exist_ok=True)
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "pack.lock").open("a+b") as file:
        if not try_lock(file.fileno()):
            message = f"“{item.name}” is not taken in: another pack is being taken in."
            raise UserError(error(item.name, message, "Wait until that is done."), exit_code=ExitCode.FAILED)
        yield


# --- what belongs into the hub's cache


def _take_to_cache(pack: Pack, item: PackedItem, count: Count) -> Taken:
    repository = _repository(item)
    was_here = _is_here(item)
    with alone(repository):
        for file in item.files:
            entry = HubFile(file.name, file.bytes, file.digest)
            if file.name == LISTING:
                target = listing_file(item.id, item.commit)
                if target.exists():
                    count.add(file.bytes)
                    continue
            elif repository.has(entry, item.commit):
                count.add(file.bytes)
                continue
            else:
                target = repository.blob(entry)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(pack, item, file, target, count)
        folder = repository.show(_hub_files(item), item.commit)
        is_newest = _name_revision(repository, item)
        if item.kind == "hub model":
            unfinished.forget(item.id)
    return Taken(item.name, folder, was_here, is_newest)


def _name_revision(repository: CachedRepository, item: PackedItem) -> bool:
    """Lets the name alone mean this state where nothing else has that name; whether it means it now."""
    ref = repository.path / "refs" / "main"
    if item.revision and not (repository.path / "refs" / item.revision).exists():
        repository.name_revision(item.revision, item.commit)
    if not ref.exists():
        repository.name_revision("main", item.commit)
    return ref.read_text("utf-8", "replace").strip() == item.commit
