"""Run and job folders on disk: made whole or not at all, read with clear complaints, deleted into a trash."""

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core import paths
from core.errors import ExitCode, UserError, error
from core.facts.types import Facts
from core.paths import staged_folder, write_atomic, write_json
from core.plan.types import Plan
from core.records import RecordError, from_plain, to_plain
from core.runs.history import RunSummary, find_run, list_runs
from core.runs.layout import TRASH, JobKind, RunFolder
from core.runs.lock import FolderBusy
from core.runs.process_record import living_process
from core.runs.run_room import require_room_to_start
from core.spec.codec import read_spec, to_yaml
from core.spec.run_spec import RunSpec

__all__ = [
    "Job",
    "RunSummary",
    "create_job",
    "create_run",
    "delete_run",
    "empty_trash",
    "find_run",
    "list_runs",
    "load_facts",
    "load_job",
    "load_plan",
    "load_spec",
    "run_name",
    "runs_folder",
    "safe_name",
]

T = TypeVar("T")

_NAME_LENGTH = 80
_MOST_TRIES = 1000
_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10)))
)  # names that Windows keeps for devices
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine does in a folder: a kind of work and its arguments; a training takes them from its spec."""

    kind: JobKind
    arguments: Mapping[str, object] = field(default_factory=dict)


def create_run(spec: RunSpec, facts: Facts, plan: Plan) -> RunFolder:
    """Makes the folder of a new run with its spec, facts and plan; it appears whole or not at all.

    Its name is ``output.name``, else made from model, data and time; an existing one is never touched, the new one
    gets a number behind its name.

    Raises:
        UserError: the disk has no room for the run, or the folder cannot be made.
    """
    parent = runs_folder(spec)
    require_room_to_start(plan.disk, parent)

    def fill(folder: RunFolder) -> None:
        write_atomic(folder.spec, to_yaml(spec, full=True))  # in full: a later version may have other defaults
        write_json(folder.facts, to_plain(facts))
        write_json(folder.plan, to_plain(plan))
        folder.control.mkdir()

    return _create(parent, run_name(spec, time.localtime()), fill)


def create_job(kind: JobKind, arguments: Mapping[str, object]) -> RunFolder:
    """Makes the folder of a short engine job among the application's jobs.

    Raises:
        UserError: the folder cannot be made.
    """

    def fill(folder: RunFolder) -> None:
        write_json(folder.job, to_plain(Job(kind, arguments)))
        folder.control.mkdir()

    name = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return _create(paths.jobs_dir(), name, fill)


def _create(parent: Path, name: str, fill: Callable[[RunFolder], None]) -> RunFolder:
    try:
        for number in range(1, _MOST_TRIES):
            target = parent / (name if number == 1 else f"{name}-{number}")
            if target.exists():
                continue
            try:
                with staged_folder(target) as staging:
                    fill(RunFolder(staging))
            except OSError as failure:
                if target.exists() and (failure.errno in _TAKEN or isinstance(failure, FileExistsError)):
                    continue  # somebody else was faster
                raise
            return RunFolder(target)
    except OSError as failure:
        raise UserError(
            error(
                "output.folder",
                f"The folder {parent / name} cannot be made: {failure.strerror or failure}.",
                "Check that the runs folder may be written to and that its disk has space, or choose another one.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure
    raise UserError(
        error("output.name", f"There are too many runs called “{name}” in {parent}.", "Choose another name.")
    )


def runs_folder(spec: RunSpec) -> Path:
    """Where the folder of a run of this spec goes."""
    return Path(spec.output.folder).expanduser().absolute() if spec.output.folder.strip() else paths.runs_dir()


def run_name(spec: RunSpec, now: time.struct_time) -> str:
    """The folder name that a run of this spec gets at a time, before it is made unique."""
    chosen = safe_name(spec.output.name)
    if chosen:
        return chosen
    model = re.split(r"[/\\]", spec.model.base.strip().rstrip("/\\"))[-1]
    parts = (
        safe_name(model.removesuffix(".gguf")),
        safe_name(Path(spec.data.train[0]).stem if spec.data.train else ""),
    )
    return "-".join([*(part[: _NAME_LENGTH // 3] for part in parts if part), time.strftime("%Y%m%d-%H%M%S", now)])


def safe_name(text: str) -> str:
    """``text`` as a folder name that every system takes; may be empty. Letters of all languages stay."""
    name = re.sub(r"[^\w.+-]+", "-", text.strip())
    name = name[:_NAME_LENGTH].strip(".-_")
    return f"{name}-run" if name.partition(".")[0].lower() in _RESERVED else name


def load_spec(folder: RunFolder) -> RunSpec:
    """The run's spec.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_spec(folder.spec)


def load_facts(folder: RunFolder) -> Facts:
    """The facts that the run's plan was made from.

    Raises:
        UserError: they are missing or damaged.
    """
    return _load(Facts, folder.facts)


def load_plan(folder: RunFolder) -> Plan:
    """The run's plan.

    Raises:
        UserError: it is missing or damaged.
    """
    return _load(Plan, folder.plan)


def load_job(folder: RunFolder) -> Job:
    """What an engine has to do in the folder; a training where nothing else is said.

    Raises:
        UserError: the description is damaged.
    """
    return _load(Job, folder.job) if folder.job.exists() else Job("train")


def _load(cls: type[T], path: Path) -> T:
    try:
        return from_plain(cls, _read_json(path))
    except FileNotFoundError:
        message = "The file is missing, so this is not a whole run folder."
    except OSError as failure:
        message = f"The file cannot be read: {failure.strerror or failure}."
    except (ValueError, RecursionError, RecordError) as failure:
        message = f"The file is damaged: {failure}."
    advice = "Restore it from a copy, or plan the run again from its spec.yaml."
    raise UserError(error(str(path), message, advice), exit_code=ExitCode.FAILED)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def delete_run(folder: RunFolder) -> Path:
    """Moves a run into the trash beside it and returns where it lies now.

    Raises:
        UserError: an engine works on it, or it cannot be moved.
    """
    record = living_process(folder)
    if record is not None:
        raise FolderBusy(folder, record.pid)
    trash = folder.path.parent / TRASH
    try:
        trash.mkdir(exist_ok=True)
        number, target = 1, trash / folder.path.name
        while target.exists():
            number, target = number + 1, trash / f"{folder.path.name}-{number + 1}"
        os.replace(folder.path, target)
    except OSError as failure:
        raise UserError(
            error(
                str(folder.path),
                f"The run cannot be moved to the trash: {failure.strerror or failure}.",
                "Check that the folder exists, that you may write there, and that no program has a file of it open.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure
    return target


def empty_trash(folder: Path | None = None) -> None:
    """Removes deleted runs for good; ``folder`` is the runs folder, by default the application's.

    Raises:
        UserError: something cannot be removed.
    """
    trash = (folder or paths.runs_dir()) / TRASH
    if not trash.exists():
        return
    try:
        shutil.rmtree(trash)
    except OSError as failure:
        raise UserError(
            error(
                str(trash),
                f"The trash cannot be emptied: {failure.strerror or failure}.",
                "Close programs that use it.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure
