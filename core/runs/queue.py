"""The queue: runs that are to be trained one after another, kept in one file of the data folder.

The file is the queue. Whoever changes it holds its lock and writes it whole, so the window, commands and the process
that works it off (`core.runs.queue_runner`) may all do so at any time, and nothing is lost when one of them dies.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core import paths
from core.errors import ExitCode, UserError, error
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.file_lock import exclusive
from core.runs.layout import RunFolder
from core.runs.process_tree import ProcessKey, is_alive

EntryState = Literal["queued", "running", "done", "failed", "skipped", "stopped"]
Hold = Literal["", "pause", "stop"]
Move = Literal["first", "up", "down", "last"]
QueueState = Literal["empty", "waiting", "going", "pausing", "stopping", "paused", "interrupted"]

MOVES: tuple[Move, ...] = ("first", "up", "down", "last")
ENDED: tuple[EntryState, ...] = ("done", "failed", "skipped", "stopped")


@dataclass(frozen=True, slots=True)
class Entry:
    """One run in the queue.

    Attributes:
        path: the run's folder.
        state: "skipped" did not begin, because it did not fit or something that it needs is gone; "stopped" was ended
            by somebody, and the queue went on without it.
        reason: why it was skipped or failed, or how it ended, in one or two sentences.
        group: name of the sweep that it belongs to; empty for a single run.
        expected_seconds: how long it takes according to its plan; 0 where that is not known.
        added, began, ended: Unix time; 0 before.
    """

    path: Path
    state: EntryState = "queued"
    reason: str = ""
    group: str = ""
    expected_seconds: float = 0.0
    added: float = 0.0
    began: float = 0.0
    ended: float = 0.0

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.path.name

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.path)


@dataclass(frozen=True, slots=True)
class Queue:
    """The runs in their order, and what was asked of whoever works them off.

    Attributes:
        entries: those that have ended, the one at work, and those that wait, each in the order in which they come.
        hold: nothing more is to begin: "stop" lets the present run end, "pause" has it save and end now.
        at_work: somebody has begun to work the queue off and has not come to an end in good order.
        runner: pid and birth of the process that does, or last did; see `ProcessKey`.
        waiting_for: name of a run outside the queue that has to end before the next one begins.
    """

    entries: tuple[Entry, ...] = ()
    hold: Hold = ""
    at_work: bool = False
    runner: ProcessKey | None = None
    waiting_for: str = ""

    @property
    def waiting(self) -> tuple[Entry, ...]:
        """Those that are still to come, next one first."""
        return tuple(entry for entry in self.entries if entry.state == "queued")

    @property
    def running(self) -> Entry | None:
        """The one at work, or the one that was when everything broke off."""
        return next((entry for entry in self.entries if entry.state == "running"), None)

    @property
    def ended(self) -> tuple[Entry, ...]:
        """Those that have ended, first one first."""
        return tuple(entry for entry in self.entries if entry.state in ENDED)

    @property
    def is_worked_off(self) -> bool:
        """Whether a process works it off right now."""
        return self.runner is not None and self.at_work and is_alive(self.runner)

    @property
    def state(self) -> QueueState:
        """What the queue as a whole is doing; asks the system whether its process lives.

        "waiting" was not started yet, or has nothing that could go on; "interrupted" broke off without a word, as when
        the computer was switched off: it goes on when somebody starts it.
        """
        if self.is_worked_off:
            return {"": "going", "pause": "pausing", "stop": "stopping"}[self.hold]  # type: ignore[return-value]
        if self.at_work and (self.running is not None or self.waiting):
            return "interrupted"
        if self.hold and self.waiting:
            return "paused"
        return "waiting" if self.waiting else "empty"

    @property
    def seconds_left(self) -> float:
        """How long the runs that wait take together according to their plans."""
        return sum(entry.expected_seconds for entry in self.waiting)

    def with_entry(self, changed: Entry) -> "Queue":
        """The queue with the entry of the same run in another state."""
        return self._with_entries(changed if entry.path == changed.path else entry for entry in self.entries)

    def added(self, fresh: Entry, *, first: bool = False) -> "Queue":
        """The queue with one run more; what it held of an earlier attempt of the same run is forgotten.

        Raises:
            UserError: it is in the queue already and has not ended.
        """
        for entry in self.entries:
            if entry.path == fresh.path and entry.state in ("queued", "running"):
                message = f"The run “{entry.name}” is in the queue already."
                raise UserError(error(str(entry.path), message, "“lowrank queue move” changes its place."))
        fresh = replace(fresh, added=fresh.added or time.time())
        others = tuple(entry for entry in self.entries if entry.path != fresh.path)
        return self._with_entries((fresh, *others) if first else (*others, fresh))

    def moved(self, path: Path, move: Move) -> "Queue":
        """The queue with a waiting run earlier or later in it.

        Raises:
            UserError: the run does not wait.
        """
        place = next((index for index, entry in enumerate(self.waiting) if entry.path == path), None)
        if place is None:
            message = f"The run “{path.name}” does not wait in the queue, so it has no place that could change."
            raise UserError(error(str(path), message, "“lowrank queue” shows the runs that wait."))
        last = len(self.waiting) - 1
        return self.placed(path, {"first": 0, "up": max(0, place - 1), "down": place + 1, "last": last}[move])

    def placed(self, path: Path, place: int) -> "Queue":
        """The queue with a waiting run at a place among those that wait, counted from 0; the end where it is beyond."""
        waiting = [entry for entry in self.waiting if entry.path != path]
        moved = [entry for entry in self.waiting if entry.path == path]
        others = (entry for entry in self.entries if entry.state != "queued")
        return self._with_entries((*others, *waiting[:place], *moved, *waiting[place:]))

    def without(self, path: Path) -> "Queue":
        """The queue without a run; its folder stays where it is.

        Raises:
            UserError: the run is at work.
        """
        if any(entry.path == path and entry.state == "running" for entry in self.entries) and self.is_worked_off:
            message = f"The run “{path.name}” is at work."
            raise UserError(error(str(path), message, f"Stop it first with “lowrank stop {path.name}”."))
        return replace(self, entries=tuple(entry for entry in self.entries if entry.path != path))

    def without_ended(self) -> "Queue":
        """The queue without the runs that have ended."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.state not in ENDED))

    def find(self, name: str) -> Entry:
        """The entry that a person means: the run's name, the unique beginning of one, its folder, or its number.

        Raises:
            UserError: there is none, or there are several.
        """
        wanted = name.strip()
        if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(self.entries):
            return self.entries[int(wanted) - 1]
        exact = [entry for entry in self.entries if wanted in (entry.name, str(entry.path))]
        found = exact or [entry for entry in self.entries if wanted and entry.name.lower().startswith(wanted.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            message = f"“{wanted}” begins the names of {len(found)} runs in the queue."
            raise UserError(error("", message, "Give the whole name, or the number in front of it."))
        message = f"There is no run “{wanted}” in the queue."
        raise UserError(error("", message, "“lowrank queue” lists the runs in it."))

    def _with_entries(self, entries: Iterable[Entry]) -> "Queue":
        return replace(self, entries=tuple(sorted(entries, key=_place)))


def _place(entry: Entry) -> tuple[int, float]:
    """Those that have ended by the time of their end, then the one at work, then those that wait as they are."""
    if entry.state in ENDED:
        return 0, entry.ended
    return (1, 0.0) if entry.state == "running" else (2, 0.0)


def queue_dir() -> Path:
    """Where the queue and the log of its process lie."""
    return paths.home() / "queue"


def queue_file() -> Path:
    """The queue itself."""
    return queue_dir() / "queue.json"


def read_queue() -> Queue:
    """The queue as it is now; an empty one before there was any.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    path = queue_file()
    try:
        return from_plain(Queue, json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return Queue()
    except OSError as failure:
        message = f"The queue cannot be read: {failure.strerror or failure}."
        advice = "Check that the file may be read."
    except (ValueError, RecursionError, RecordError) as failure:
        message = f"The queue is damaged: {failure}."
        advice = "Delete the file to begin a new queue; the runs themselves lie in the runs folder and stay."
    raise UserError(error(str(path), message, advice), exit_code=ExitCode.FAILED)


def change_queue(change: Callable[[Queue], Queue]) -> Queue:
    """Changes the queue while nobody else does, and returns it as it is then.

    Raises:
        UserError: the change is refused, or the file cannot be read or written.
    """
    path = queue_file()
    try:
        with exclusive(path.with_name("queue.lock")):
            before = read_queue()
            after = change(before)
            if after != before:
                write_json(path, to_plain(after))
            return after
    except OSError as failure:
        message = f"The queue cannot be written: {failure.strerror or failure}."
        advice = "Check that the data folder may be written to and that its disk has space."
        raise UserError(error(str(path), message, advice), exit_code=ExitCode.FAILED) from failure
