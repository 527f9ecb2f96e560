"""Makes an offline pack, or adds to one: each model appears whole, and what a stop has left is taken up again."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import ExitCode, Problem, UserError, error
from core.hub.cache import size_of
from core.hub.pack.copying import Content, Count, OnProgress, copy_content
from core.hub.pack.manifest import Pack, PackedFile, PackedItem, is_pack, read_pack, write_pack
from core.hub.pack.sources import Source, digest_in_cache, find_source
from core.paths import sync_folder, write_atomic
from core.records import from_plain, to_plain
from core.runs.file_lock import try_lock
from core.runs.room import Room, room_advice, room_for
from core.units import format_bytes

README = "README.txt"
_COPIED = "lowrank-copied.json"
_LOCK = ".lowrank-pack.lock"
_WORDS = """\
This folder is an offline pack of Lowrank Studio: models for a computer without a network.

Copy it as a whole. On the other computer choose it on the Model page with “Open folder…”, or say:

    lowrank unpack FOLDER

Every folder below “models” is an ordinary model and can also be used where it lies.
"""


@dataclass(frozen=True, slots=True)
class Making:
    """What will be written, before anything is.

    Attributes:
        pack: what is in the folder already.
        fresh: what comes to it.
        room: what that takes, and what is free.
    """

    pack: Pack
    fresh: tuple[Source, ...]
    room: Room


@dataclass(frozen=True, slots=True)
class _Copied:
    """A file that a stopped making has copied whole, and what its source was like then."""

    bytes: int
    modified_ns: int
    sha256: str
    git_sha1: str


def plan_making(folder: Path, names: Iterable[str]) -> Making:
    """Looks for what is to go into a pack, and for all that stands in the way. Writes nothing.

    Args:
        folder: the pack; may be new, empty, or a pack already.
        names: models and data sets, as a spec would call them; those that are in it already are left out.

    Raises:
        UserError: something is not here or not whole, the folder holds something else, or its disk is too full.
    """
    folder = folder.expanduser().absolute()
    problems: list[Problem] = []
    pack = Pack(folder, ())
    if is_pack(folder):
        pack = read_pack(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder} holds other files, and is no offline pack."
        problems.append(error(str(folder), message, "Choose a new or empty folder, or a pack to add to."))
    found: dict[str, Source] = {}
    for name in names:
        try:
            source = find_source(name)
        except UserError as failure:
            problems += failure.problems
            continue
        problem = _clash(pack, source)
        if problem is not None:
            problems.append(problem)
        elif pack.find(source.name) is None:
            found[source.name] = source
    if problems:
        raise UserError(*problems)
    sources = tuple(found.values())
    missing = sum(source.bytes - _bytes_copied(folder, source) for source in sources)
    room = room_for(missing, folder)
    if missing and room.missing:
        message = f"The pack takes {format_bytes(missing)}, and {format_bytes(room.free)} are free at {room.place}."
        raise UserError(error(str(folder), message, room_advice(room)), exit_code=ExitCode.DOES_NOT_FIT)
    return Making(pack, sources, room)


def make_pack(making: Making, on_progress: OnProgress) -> Pack:
    """Copies what was planned, and returns all that is in the pack then.

    What ``on_progress`` raises ends the work; files that are whole by then stay, and the next time only the rest is
    copied.

    Raises:
        UserError: something cannot be read or written, or another program writes into the same pack.
    """
    pack = making.pack
    count = Count(on_progress, sum(source.bytes for source in making.fresh))
    try:
        pack.folder.mkdir(parents=True, exist_ok=True)
        with _alone(pack.folder):
            pack = read_pack(pack.folder) if is_pack(pack.folder) else pack
            if not (pack.folder / README).exists():
                write_atomic(pack.folder / README, _WORDS)
            if not is_pack(pack.folder):
                write_pack(pack)
            for source in making.fresh:
                if pack.find(source.name) is None:
                    pack = Pack(pack.folder, (*pack.items, _copy(pack.folder, source, count)))
                    write_pack(pack)
                    (pack.folder / source.folder / _COPIED).unlink(missing_ok=True)
    except OSError as failure:
        raise UserError(_refusal(pack.folder, failure), exit_code=ExitCode.FAILED) from failure
    return pack


def _clash(pack: Pack, source: Source) -> Problem | None:
    """Why a source cannot go beside what is in a pack: another content has its name or its place."""
    there = pack.find(source.name) or next((item for item in pack.items if item.folder == source.folder), None)
    if there is None:
        place = pack.folder / source.folder
        if place.exists() and not (place / _COPIED).is_file():
            message = f"{place} is in the way: it is not a part of the pack."
            return error(source.name, message, "Move it away, or make another pack.")
        return None
    sizes = {file.name: file.bytes for file in there.files}
    if there.commit == source.commit and sizes == {name: path.stat().st_size for name, path in source.files}:
        return None
    message = f"The pack holds another state of “{source.name}” already, and nothing in it is ever overwritten."
    return error(source.name, message, "Make another pack for this one.")


def _staging(folder: Path, source: Source) -> Path:
    place = folder / source.folder
    return place.with_name(f".{place.name}.part")


def _begun(folder: Path, source: Source) -> Path:
    """What a stopped making has left of an item, which may have its name already and not yet stand in the manifest."""
    place = folder / source.folder
    return place if (place / _COPIED).is_file() else _staging(folder, source)


def _bytes_copied(folder: Path, source: Source) -> int:
    begun = _begun(folder, source)
    known = _read_copied(begun)
    return sum(path.stat().st_size for name, path in source.files if _taken_up(begun, known, name, path) is not None)


def _copy(folder: Path, source: Source, count: Count) -> PackedItem:
    staging, begun = _staging(folder, source), _begun(folder, source)
    if begun != staging:
        os.replace(begun, staging)
    staging.mkdir(parents=True, exist_ok=True)
    known = _read_copied(staging)
    files = []
    for name, path in source.files:
        count.words = f"Copying {source.name}: {name}"
        status = path.stat()
        content = _taken_up(staging, known, name, path)
        if content is not None:
            count.add(status.st_size)
        else:
            part = staging / f"{name}.part"
            content = copy_content(path, part, count)
            os.replace(part, staging / name)
            known[name] = _Copied(content.bytes, status.st_mtime_ns, content.sha256, content.git_sha1)
            write_atomic(staging / _COPIED, json.dumps(to_plain(known)))
        files.append(PackedFile(name, content.bytes, content.sha256, _digest(path, content)))
    os.replace(staging, folder / source.folder)
    sync_folder((folder / source.folder).parent)
    return PackedItem(
        source.kind, source.name, source.folder, tuple(files), source.id, source.revision, source.commit, source.licence
    )


def _digest(path: Path, content: Content) -> str:
    """What the cache called the content, if that is true; a mirror may have named it by other means."""
    named = digest_in_cache(path)
    return named if named in (content.sha256, content.git_sha1) else content.sha256


def _taken_up(staging: Path, known: dict[str, _Copied], name: str, source: Path) -> Content | None:
    """The content of a file that was copied whole before and has not changed since; None where it is to be copied."""
    copied, status = known.get(name), source.stat()
    if copied is None or (copied.bytes, copied.modified_ns) != (status.st_size, status.st_mtime_ns):
        return None
    return Content(copied.bytes, copied.sha256, copied.git_sha1) if size_of(staging / name) == copied.bytes else None


def _read_copied(staging: Path) -> dict[str, _Copied]:
    try:
        plain = json.loads((staging / _COPIED).read_text("utf-8"))
        return {str(name): from_plain(_Copied, entry) for name, entry in plain.items()}
    except (OSError, ValueError, AttributeError):  # nothing was copied, or nobody knows what: it is copied anew
        return {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two programs that write into one pack would write into the same parts."""
    lock = folder / _LOCK
    with lock.open("a+b") as file:
        if not try_lock(file.fileno()):
            message = f"Another program is writing into the pack {folder}."
            raise UserError(error(str(folder), message, "Wait until that is done."), exit_code=ExitCode.FAILED)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _refusal(folder: Path, failure: OSError) -> Problem:
    free = format_bytes(shutil.disk_usage(folder).free) if folder.is_dir() else "0 B"
    return error(
        str(failure.filename or folder),
        f"The pack could not be written: {failure.strerror or failure}.",
        f"{free} are free there. Check the disk, and that it takes large files (one that is formatted as FAT32 takes "
        "none above 4 GiB); then say the same again: only the rest is copied.",
    )
