"""The starter model: SmolLM2-135M-Instruct, a real pretrained chat model that needs no model hub.

A package carries it as a GGUF file under the Apache licence (`core.runs.starter_package`); the engine turns that into
an ordinary model folder.
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.errors import ExitCode, Problem, UserError, error
from core.events.types import Event, PhaseStarted, Progress
from core.paths import cache_dir, models_dir
from core.runs.file_lock import exclusive
from core.runs.room import home_advice, room_for
from core.runs.starter_package import (
    ELSE_FINE,
    GGUF_SHA256,
    LICENCE,
    NAME,
    StarterUnavailable,
    download,
    downloads,
    find_wheel,
    unpack,
)
from core.units import MIB, SECONDS_PER_HOUR, format_bytes

__all__ = ["MANIFEST", "NAME", "StarterUnavailable", "ensure_starter", "has_starter", "starter_folder"]

OnProgress = Callable[[str, float], None]

MANIFEST = "lowrank-model.json"
# the wheel, pip's own copy of it, the GGUF file, and the model folder in bfloat16
NEEDED_BYTES = 700 * MIB
_FETCH_SHARE, _UNPACK_SHARE = 0.5, 0.6


def starter_folder() -> Path:
    """Where the starter model lies once it has been imported."""
    return models_dir() / "starter"


def has_starter() -> bool:
    """Whether the starter model is complete; the manifest is part of the one rename that makes it so.

    Raises:
        UserError: something else lies in its place.
    """
    folder = starter_folder()
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    with suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        if json.loads((folder / MANIFEST).read_text("utf-8"))["sha256"] == GGUF_SHA256:
            return True
    raise UserError(
        error(
            str(folder),
            f"The folder for the starter model ({NAME}) holds something else, or is damaged.",
            "Move it away or delete it, and try again; the starter model is then imported anew.",
        ),
        exit_code=ExitCode.FAILED,
    )


def ensure_starter(on_progress: OnProgress | None = None) -> Path:
    """The folder of the starter model, fetched and imported first if it is not there yet.

    Two processes may ask at once: one works, the other waits. What was fetched is deleted after a good import, because
    the model folder then holds all of it and the download can be repeated; after a bad one it stays for the next try.

    Args:
        on_progress: called with a sentence and the done part of all the work, 0 to 1.

    Raises:
        StarterUnavailable: it cannot be fetched here and now.
        UserError: the disk is too full, the import failed, or something else lies in its place.
    """
    report = on_progress or _say_nothing
    try:
        if has_starter():
            return starter_folder()
        lock = cache_dir() / "starter.lock"
        with exclusive(lock, lambda: report("Waiting for another process that is importing the starter model", 0.0)):
            if not has_starter():
                _require_space()
                _make(report)
    except OSError as failure:
        raise UserError(
            error(
                str(failure.filename or cache_dir()),
                f"The starter model could not be stored: {failure.strerror or failure}.",
                f"Check that {models_dir()} and {cache_dir()} can be written to and have "
                f"{format_bytes(NEEDED_BYTES)} free, and try again.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure
    report(f"The starter model is ready ({NAME})", 1.0)
    return starter_folder()


def _make(report: OnProgress) -> None:
    wheel = find_wheel() or download(lambda part: report("Downloading the starter model", part * _FETCH_SHARE))
    report("Unpacking the starter model", _FETCH_SHARE)
    gguf, licence = unpack(wheel)
    report("Importing the starter model", _UNPACK_SHARE)
    _drop_half_models(older_than=SECONDS_PER_HOUR)
    _import(gguf, licence, report)
    shutil.rmtree(gguf.parent)
    if wheel.parent == downloads():
        wheel.unlink()


def _require_space() -> None:
    room = room_for(NEEDED_BYTES, models_dir())
    if room.missing:
        raise UserError(
            error(
                str(room.place),
                f"The starter model needs {format_bytes(NEEDED_BYTES)} while it is imported, and only "
                f"{format_bytes(room.free)} are free.",
                home_advice(room),
            ),
            exit_code=ExitCode.FAILED,
        )


def _import(gguf: Path, licence: Path, report: OnProgress) -> None:
    """Has the engine turn the GGUF file into a model folder."""
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    folder = create_job(
        "import_gguf",
        {
            "source": str(gguf),
            "target": str(starter_folder()),
            "name": NAME,
            "dtype": "bf16",
            "licence": LICENCE,
            "licence_file": str(licence),
        },
    )
    words, done = "Importing the starter model", 0.0

    def follow(event: Event) -> None:
        nonlocal words, done
        if isinstance(event.body, PhaseStarted):
            words = f"Importing the starter model: {event.body.message}"
        elif isinstance(event.body, Progress) and event.body.total:
            done = min(event.body.done / event.body.total, 1.0)
        else:
            return
        report(words, _UNPACK_SHARE + done * (0.99 - _UNPACK_SHARE))

    supervisor = Supervisor(folder)
    supervisor.start()
    try:
        outcome = supervisor.wait(follow)
    except BaseException:
        supervisor.kill()  # an import has nothing to save and would only finish its work first
        supervisor.wait()
        _drop_half_models(older_than=0)
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    # asked of the disk, not of the outcome: an engine that outlived a killed process may have been the first to finish
    if not has_starter():
        raise UserError(_import_problem(outcome.message, outcome.hint, folder.log), exit_code=ExitCode.FAILED)
    shutil.rmtree(folder.path)


def _drop_half_models(older_than: float) -> None:
    """Deletes what engines that were killed left of the model, if nothing was written there for so many seconds."""
    for half in models_dir().glob(f".{starter_folder().name}.*.part"):
        if time.time() - half.stat().st_mtime >= older_than:
            shutil.rmtree(half, ignore_errors=True)


def _import_problem(message: str, hint: str, log: Path) -> Problem:
    return error(
        str(starter_folder()),
        f"The starter model was fetched but could not be imported: {message}",
        f"{hint} The engine's log is {log}. {ELSE_FINE}".strip(),
    )


def _say_nothing(message: str, part: float) -> None:
    """Stands for no listener."""
