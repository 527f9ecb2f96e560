"""Downloads a model or data set into the standard cache: goes on where it was, shows nothing before all is there."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.facts.safetensors_header import INDEX_FILE
from core.hub import unfinished
from core.hub.cache import CachedRepository, require_safe, require_space, size_of
from core.hub.details import ModelDetails, Repository, file_address, resolve, subject_of
from core.hub.files import HubFile
from core.hub.problems import HubError
from core.hub.transfer import Count, DownloadStoppedError, Listener, Transfer
from core.hub.web import require_online
from core.runs.file_lock import try_lock

__all__ = ["DownloadStoppedError", "Downloaded", "Listener", "download", "installed"]


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What was asked for is wholly here: the folder of its revision, and its size."""

    folder: Path
    bytes: int


def download(found: Repository, names: Iterable[str], listener: Listener, token: str = "") -> Downloaded:
    """Fetches files of a model or a data set into the cache; what is there already is left alone.

    Args:
        found: what the hub has, just looked up.
        names: of the files; the weights that its index names are added.
        listener: told about the progress, and asked whether to go on.
        token: the user's, or empty.

    Raises:
        DownloadStoppedError: the listener wanted that; what has come stays, and the next call goes on from there.
        HubError: the hub cannot be asked or refuses, the disk is too full, or another download of it runs.
        OSError: the cache cannot be written.
    """
    require_online()
    if found.barrier is not None:
        raise HubError("gated", found.barrier.message, found.barrier.advice, path=found.id, page=found.page)
    model = CachedRepository(found.id, found.kind)
    wanted = _resolved(found, frozenset(names), token)
    with alone(model):
        unfinished.remember(found, wanted)
        count = Count(listener, 0)
        # Small files first: the index among them says which weights there have to be.
        queue = sorted(wanted, key=lambda file: (file.size, file.name))
        _plan_space(model, found, wanted, count)
        for file in queue:
            _fetch(model, found, file, count, token)
            count.settle(model.bytes_here(wanted, found.commit))  # one content can be two files
        more = _named_by_index(model, found, wanted, token)
        if more:
            wanted += more
            _plan_space(model, found, wanted, count)
            for file in more:
                _fetch(model, found, file, count, token)
        folder = model.show(wanted, found.commit)
        model.name_revision(found.revision, found.commit)
        unfinished.forget(found.id, found.kind)
    return Downloaded(folder, count.total)


def installed(found: ModelDetails) -> Path | None:
    """The folder of this very revision, if all its wanted files are in the cache already."""
    model = CachedRepository(found.id)
    folder = model.snapshot(found.commit)
    whole = bool(found.wanted) and all(size_of(folder / file.name) >= max(file.size, 0) for file in found.wanted)
    return folder if whole else None


def _resolved(found: Repository, names: frozenset[str], token: str) -> tuple[HubFile, ...]:
    chosen = [file for file in found.files if file.name in names]
    lost = sorted(names - {file.name for file in chosen})
    if lost or not chosen:
        raise HubError(
            "missing",
            f"“{found.id}” has no file {lost[0]}." if lost else f"Nothing is chosen of “{found.id}”.",
            "Look it up again: its files may have changed.",
            path=found.id,
            page=found.page,
        )
    return tuple(require_safe(resolve(found, file, token)) for file in chosen)


def _plan_space(model: CachedRepository, found: Repository, wanted: Iterable[HubFile], count: Count) -> None:
    files = tuple(wanted)
    count.total = sum(file.size for file in files)
    count.done = model.bytes_here(files, found.commit)
    require_space(count.total - count.done)
    count.add(0)


def _fetch(model: CachedRepository, found: Repository, file: HubFile, count: Count, token: str) -> None:
    if model.has(file, found.commit):
        return
    subject = subject_of(found, file.name, token)
    Transfer(file, file_address(found, file), subject, token, model.part(file), model.blob(file), count).run()


def _named_by_index(
    model: CachedRepository, found: Repository, wanted: tuple[HubFile, ...], token: str
) -> tuple[HubFile, ...]:
    """Weight files that the index names and nobody has asked for: without them the model would be half a one."""
    index = next((file for file in wanted if file.name == INDEX_FILE), None)
    if index is None:
        return ()
    path = next(path for path in (model.blob(index), model.snapshot(found.commit) / INDEX_FILE) if path.is_file())
    try:
        places = json.loads(path.read_text("utf-8"))["weight_map"].values()
        named = frozenset(str(name) for name in places)
    except (ValueError, KeyError, TypeError, AttributeError) as failure:
        raise HubError(
            "answer",
            f"The file {INDEX_FILE} of “{found.id}” does not say which files hold the weights.",
            "The model is damaged at its source; choose another one or another revision.",
            path=found.id,
            page=found.page,
        ) from failure
    missing = named - {file.name for file in wanted}
    return _resolved(found, missing, token) if missing else ()


@contextmanager
def alone(model: CachedRepository) -> Iterator[None]:
    """Runs the block while nobody else brings files of the same into the cache: two would write into the same parts.

    Raises:
        HubError: somebody does.
    """
    model.lock.parent.mkdir(parents=True, exist_ok=True)
    with model.lock.open("a+b") as file:
        if not try_lock(file.fileno()):
            raise HubError(
                "locked",
                f"“{model.id}” is being downloaded already.",
                "Wait until that is done, or stop it first.",
                path=model.id,
            )
        yield
