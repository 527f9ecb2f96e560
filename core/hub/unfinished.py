"""Downloads that were stopped or broken off, so that they can be offered again after a restart."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.hub.cache import CachedRepository
from core.hub.details import Repository
from core.hub.files import HubFile
from core.hub.problems import RepoKind
from core.paths import cache_dir, write_json


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A download that has begun and not ended well.

    Attributes:
        revision: the branch, tag or commit that was asked for.
        files: the names of what was asked for.
        bytes_here: how much of it has come.
        bytes: how much it is altogether.
        kind: whether it is a model or a data set.
    """

    id: str
    revision: str
    files: tuple[str, ...]
    bytes_here: int
    bytes: int
    kind: RepoKind = "model"


def remember(found: Repository, wanted: tuple[HubFile, ...]) -> None:
    """Writes down that a download has begun.

    Raises:
        OSError: it cannot be written.
    """
    record = {
        "kind": found.kind,
        "id": found.id,
        "revision": found.revision,
        "commit": found.commit,
        "files": [[file.name, file.size, file.digest] for file in wanted],
    }
    path = _record(found.id, found.kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def forget(name: str, kind: RepoKind = "model") -> None:
    """The download is done, or nobody wants it any more; its parts stay."""
    _record(name, kind).unlink(missing_ok=True)


def list_unfinished(kind: RepoKind = "model") -> tuple[Unfinished, ...]:
    """Every download of models (or of data sets) that can go on, by name."""
    try:
        records = sorted(_folder().glob("*.json"))
    except OSError:  # no folder, no downloads
        return ()
    found = (_read(path) for path in records)
    return tuple(item for item, _, _ in filter(None, found) if item.kind == kind)


def discard(name: str, kind: RepoKind = "model") -> int:
    """Deletes what has come of an unfinished download, and returns how many bytes that were. Whole files stay.

    Raises:
        OSError: a part cannot be deleted.
    """
    read = _read(_record(name, kind))
    freed = 0
    if read is not None:
        _, files, _ = read
        model = CachedRepository(name, kind)
        for file in files:
            part = model.part(file)
            with suppress(FileNotFoundError):
                size = part.stat().st_size
                part.unlink()
                freed += size
    forget(name, kind)
    return freed


def _folder() -> Path:
    return cache_dir() / "unfinished-downloads"


def _record(name: str, kind: RepoKind) -> Path:
    plain = re.sub(r"[^\w.-]", "--", name)
    return _folder() / (f"{plain}.json" if kind == "model" else f"{kind}s--{plain}.json")


def _read(path: Path) -> tuple[Unfinished, tuple[HubFile, ...], str] | None:
    """A record; None for one that is not there or not ours: then there is nothing to go on with."""
    try:
        record = json.loads(path.read_text("utf-8"))
        files = tuple(HubFile(str(name), int(size), str(digest)) for name, size, digest in record["files"])
        name, revision, commit = str(record["id"]), str(record["revision"]), str(record["commit"])
        kind: RepoKind = "dataset" if record.get("kind") == "dataset" else "model"
    except (OSError, ValueError, KeyError, TypeError):
        return None
    here = CachedRepository(name, kind).bytes_here(files, commit)
    names = tuple(file.name for file in files)
    return Unfinished(name, revision, names, here, sum(file.size for file in files), kind), files, commit
