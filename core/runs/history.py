"""The runs there are, live and past: a summary of each, whatever state its folder is in, and how to find one."""

import difflib
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core import paths
from core.errors import ExitCode, UserError, error
from core.events.codec import EventError, decode_event
from core.events.run_state import RunState, fold
from core.events.types import Event
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome, outcome_of, read_outcome
from core.runs.process_record import ProcessRecord, read_process
from core.spec.codec import read_spec
from core.units import MIB

Status = Literal["new", "running", "completed", "stopped", "failed", "crashed", "lost", "damaged"]
LAST = "last"

# The newest events of a live run say all that a list shows; reading a long log whole would take seconds.
_RECENT_BYTES = MIB
_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line in the list of runs.

    Attributes:
        created: Unix time.
        status: "new" was never started; "lost" is gone without a word; "damaged" cannot be read, see `problem`.
        step, steps: optimizer steps done and planned; 0 while unknown.
        loss, validation_loss: the newest values.
        seconds: how long engines have worked on it; of a live run, how long the present one has.
        problem: what is wrong with a damaged folder, or what ended the run, in one or two sentences.
    """

    name: str
    path: Path
    created: float
    status: Status
    base: str = ""
    method: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    validation_loss: float | None = None
    seconds: float = 0.0
    problem: str = ""

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.path)


def list_runs(folder: Path | None = None) -> tuple[RunSummary, ...]:
    """All runs in a runs folder (by default the application's), newest first; none if it does not exist.

    Raises:
        UserError: the folder cannot be read. A single run never raises: what cannot be read is listed as damaged.
    """
    parent = folder or paths.runs_dir()
    try:
        children = [Path(item.path) for item in os.scandir(parent) if not item.name.startswith(".") and item.is_dir()]
    except FileNotFoundError:
        return ()
    except OSError as failure:
        raise UserError(
            error(str(parent), f"The runs folder cannot be read: {failure.strerror or failure}.", "Check the path."),
            exit_code=ExitCode.FAILED,
        ) from failure
    found = [summarise(RunFolder(path)) for path in children if is_run(RunFolder(path))]
    return tuple(sorted(found, key=lambda run: (run.created, run.name), reverse=True))


def is_run(folder: RunFolder) -> bool:
    """Whether a folder has anything of a run in it; one that cannot be looked into may be one."""
    try:
        return any(path.exists() for path in (folder.spec, folder.plan, folder.process, folder.events()))
    except OSError:
        return True


def summarise(folder: RunFolder) -> RunSummary:
    """The summary of one run; never raises, a folder that cannot be read is "damaged"."""
    try:
        created = _created(folder)
    except OSError as failure:
        return _damaged(folder, 0.0, f"The folder cannot be read: {failure.strerror or failure}.")
    try:
        spec = read_spec(folder.spec)
        record = read_process(folder)
        state = RunState()
        outcome = None
        live = record is not None and record.alive
        if not live:
            outcome = read_outcome(folder, of=record)
        if outcome is None:
            state = _recent_state(folder, record)
            outcome = None if live or state.ended is None else outcome_of(state.ended, state)
        status, problem = _status(outcome, live=live, started=record is not None or state.first_time > 0)
        return RunSummary(
            name=folder.path.name,
            path=folder.path,
            created=created,
            status=status,
            base=spec.model.base,
            method=spec.adapter.method,
            step=outcome.step if outcome else state.step,
            steps=(outcome.steps if outcome else state.steps) or _planned_steps(folder),
            loss=outcome.loss if outcome else state.loss,
            validation_loss=outcome.validation_loss if outcome else state.validation_loss,
            seconds=_seconds(outcome, record, state, live=live),
            problem=problem,
        )
    except UserError as failure:
        return _damaged(folder, created, str(failure.problems[0].message))
    except OSError as failure:
        return _damaged(folder, created, f"A file cannot be read: {failure.strerror or failure}.")


def _damaged(folder: RunFolder, created: float, problem: str) -> RunSummary:
    return RunSummary(folder.path.name, folder.path, created, "damaged", problem=problem)


def _created(folder: RunFolder) -> float:
    """The spec is written once, when the run is made; in a damaged folder its own time has to do."""
    path = folder.spec if folder.spec.exists() else folder.path
    return path.stat().st_mtime


def _status(outcome: Outcome | None, *, live: bool, started: bool) -> tuple[Status, str]:
    if live:
        return "running", ""
    if outcome is not None:
        return outcome.kind, "" if outcome.kind == "completed" else outcome.message
    if not started:
        return "new", ""
    return "lost", "The engine ended while nobody was watching, and left no word about why."


def _seconds(outcome: Outcome | None, record: ProcessRecord | None, state: RunState, *, live: bool) -> float:
    if outcome is not None:
        return outcome.seconds
    if record is None:
        return 0.0
    return max(0.0, (time.time() if live else state.last_time) - record.started)


def _recent_state(folder: RunFolder, record: ProcessRecord | None) -> RunState:
    """What the newest events say; without the last word of an attempt before the recorded one."""
    events = recent_events(folder.events())
    state = fold(events)
    if record is not None and not any(event.seq >= record.first_seq for event in events):
        return replace(state, ended=None)
    return state


def recent_events(path: Path, size: int = _RECENT_BYTES) -> list[Event]:
    """The whole events among the last ``size`` bytes of a log; none if there is no log.

    Raises:
        OSError: the log is there and cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []
    with file:
        start = max(0, file.seek(0, os.SEEK_END) - size)
        file.seek(start)
        lines = file.read().split(b"\n")
    events = []
    for line in lines[1 if start else 0 : -1]:
        try:
            events.append(decode_event(line.decode("utf-8", errors="replace")))
        except EventError:
            continue  # a torn line; the full reader shows it
    return events


def _planned_steps(folder: RunFolder) -> int:
    """Steps according to the plan; 0 where it does not say."""
    try:
        steps = json.loads(folder.plan.read_text("utf-8"))["batch"]["steps"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return 0
    return steps if isinstance(steps, int) else 0


def find_run(name_or_path: str) -> RunFolder:
    """The run that a person means: its name, the unique beginning of one, a path, or “last” for the newest.

    Raises:
        UserError: there is none, or there are several; the message names what comes close.
    """
    wanted = name_or_path.strip()
    if not wanted:
        raise _not_found("No run is named.", "Give the name of a run, its folder, or “last”.")
    parent = paths.runs_dir()
    if not _is_path(wanted):
        runs = run_names(parent)
        if wanted in runs:
            return RunFolder(parent / wanted)
        if wanted == LAST:
            return _newest(parent, runs)
        starting = [name for name in runs if name.lower().startswith(wanted.lower())]
        if len(starting) == 1:
            return RunFolder(parent / starting[0])
        if starting:
            raise _not_found(f"“{wanted}” begins the names of {len(starting)} runs.", f"Say which: {_some(starting)}.")
    path = Path(wanted).expanduser().absolute()
    if path.is_dir() and is_run(RunFolder(path)):
        return RunFolder(path)
    if path.is_dir():
        raise _not_found(f"{path} is not a run: it has neither a spec nor events.", "Name a run's own folder.")
    if _is_path(wanted):
        raise _not_found(f"There is no folder {path}.", "Check the path.")
    close = difflib.get_close_matches(wanted, run_names(parent), n=_SHOWN_NAMES)
    advice = f"Did you mean {_some(close)}?" if close else "“lowrank runs” lists the runs there are."
    raise _not_found(f"There is no run “{wanted}” in {parent}.", advice)


def _is_path(text: str) -> bool:
    return "/" in text or os.sep in text or text in (".", "..") or text.startswith("~")


def run_names(parent: Path) -> list[str]:
    """The names of the runs in a runs folder, sorted; none where it cannot be read."""
    try:
        children = sorted(item.name for item in os.scandir(parent) if item.is_dir() and not item.name.startswith("."))
    except OSError:
        return []
    return [name for name in children if is_run(RunFolder(parent / name))]


def _newest(parent: Path, names: list[str]) -> RunFolder:
    folders = [RunFolder(parent / name) for name in names]
    if not folders:
        raise _not_found(f"There are no runs in {parent} yet.", "Start one with “lowrank run”.")
    return max(folders, key=lambda folder: (_created(folder), folder.path.name))


def _some(names: list[str]) -> str:
    shown = [f"“{name}”" for name in names[:_SHOWN_NAMES]]
    more = [f"{len(names) - _SHOWN_NAMES} more"] if len(names) > _SHOWN_NAMES else []
    parts = shown + more
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _not_found(message: str, advice: str) -> UserError:
    return UserError(error("", message, advice))
