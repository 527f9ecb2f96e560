"""Watches one engine process: starts it or finds it again, passes its events on, stops it, and says how it ended.

Two clocks decide. The terminal event decides the result; the exit of the process decides whether it lives. Both are
bounded: a process that never says hello, does not stop when asked, or lingers after its last word is ended with
everything it started. No Qt: a thread polls it, or a command waits for it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from core.errors import ExitCode, FailureKind, UserError, error
from core.events.run_state import RunState, fold
from core.events.tail import EventTail
from core.events.types import PROTOCOL_VERSION, TERMINAL, Event, Failed, Hello, Step
from core.events.writer import next_seq
from core.runs import crash
from core.runs.control import clear_requests, place_request
from core.runs.launch import LaunchCommand, engine_command, exit_status, launch
from core.runs.layout import Request, RunFolder
from core.runs.lock import require_free
from core.runs.outcome import Outcome, Terminal, outcome_of, process_name, read_outcome, summed_up, write_outcome
from core.runs.process_record import ProcessRecord, log_size, read_process, write_process
from core.runs.process_tree import family, kill, rebooted_since, terminate
from core.runs.run_room import require_room_to_go_on
from core.runs.store import load_plan

POLL_SECONDS = 0.1
STOP_SECONDS = 120.0

# Whoever started an engine knows its exit code and writes the better outcome; others let it go first.
_COURTESY_SECONDS = 1.0


class State(StrEnum):
    """Where the supervised process is in its life."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to be patient, in seconds.

    Attributes:
        hello: from the launch to the first event; the first import on a cold disk is slow.
        terminate: from the system's wish to end (SIGTERM) to ending it by force.
        kill: from force to giving up on a process that even the system cannot end.
        linger: from the last word to the exit.
    """

    hello: float = 120.0
    terminate: float = 30.0
    kill: float = 10.0
    linger: float = 30.0


class _Rung(IntEnum):
    """How far the stop ladder has been climbed."""

    GROUND = 0
    ASKED = 1
    TERMINATED = 2
    KILLED = 3


class Supervisor:
    """One engine and whoever watches it. All methods may be called from any thread.

    Attributes:
        folder: the run or job folder.
        state: see `State`.
        outcome: how it ended; None until then.
        run_state: the fold of all events so far, earlier attempts included.
    """

    def __init__(
        self,
        folder: RunFolder,
        command: LaunchCommand | None = None,
        *,
        limits: Limits | None = None,
        keep_steps: bool = True,
    ) -> None:
        """Watches ``folder``; ``command`` is what `start` launches, by default the engine.

        Without ``keep_steps``, `poll` returns no `Step` events: they are in `run_state`, and a long run has a million.
        """
        self.folder = folder
        self.state = State.IDLE
        self.outcome: Outcome | None = None
        self.run_state = RunState()
        self._command = command
        self._limits = limits or Limits()
        self._keep_steps = keep_steps
        self._lock = threading.RLock()
        self._tail = EventTail(folder.events())
        self._unread: list[Event] = []
        self._record = ProcessRecord(0, "", 0.0)
        self._started_here = self._seen_alive = False
        self._terminal: Terminal | None = None
        self._foreign: Hello | None = None
        self._rung = _Rung.GROUND
        self._asked = self._forced = self._silent = False
        self._deadline: float | None = None
        self._gone_since: float | None = None
        self._memory_kills = crash.memory_kills()

    def start(self) -> None:
        """Launches the engine on the folder; events of earlier attempts come with the first `poll`.

        Raises:
            UserError: another engine works on the folder, its disk is too full, or this one cannot be launched.
        """
        with self._lock:
            self._require_idle()
            try:
                require_free(self.folder)
                if self.folder.plan.exists():
                    require_room_to_go_on(load_plan(self.folder).disk, self.folder)
                clear_requests(self.folder)
                self._catch_up(first_seq=None)
                first_seq, log_start = next_seq(self.folder.events()), log_size(self.folder)
            except OSError as failure:
                raise _unusable(self.folder, failure) from failure
            key = launch(self._command or engine_command(self.folder), self.folder)
            try:
                self._record = write_process(self.folder, key, first_seq=first_seq, log_start=log_start)
                self.folder.outcome.unlink(missing_ok=True)
            except OSError as failure:
                kill(family(key))
                raise _unusable(self.folder, failure) from failure
            self._started_here = self._seen_alive = True
            self.state = State.STARTING
            self._deadline = time.monotonic() + self._limits.hello

    def attach(self) -> None:
        """Takes over a run that somebody else started, or that has ended; the first `poll` replays all its events.

        Raises:
            UserError: the run was never started, or its engine speaks another protocol; it is left alone then.
        """
        with self._lock:
            self._require_idle()
            try:
                record = read_process(self.folder)
                alive = record is not None and record.alive
                self._record = record or self._record
                self._seen_alive = alive
                found = self._catch_up(first_seq=self._record.first_seq)
                outcome = None if alive else read_outcome(self.folder, of=record)
            except OSError as failure:
                raise _unusable(self.folder, failure) from failure
            if record is None and outcome is None and not found:
                raise UserError(error(str(self.folder.path), "This run has not been started yet.", "Start it first."))
            if alive and self._foreign is not None:
                raise UserError(crash.foreign(self.folder, self._foreign), exit_code=ExitCode.FAILED)
            if outcome is not None:
                self._end(outcome)
            elif alive and self.state is State.IDLE:  # it has not said hello yet
                self.state = State.STARTING
                self._deadline = time.monotonic() + self._limits.hello
            else:
                self.state = State.RUNNING
                self._advance(gone=not alive)

    def poll(self) -> list[Event]:
        """Events since the last call; also moves the state on, so it must be called now and then.

        Raises:
            OSError: the event log is there and cannot be read right now.
        """
        with self._lock:
            if self.state not in (State.IDLE, State.ENDED):
                gone = self._is_gone()  # asked first: what it wrote before it went is then read below
                self._catch_up(first_seq=self._record.first_seq)
                self._advance(gone=gone)
            events, self._unread = self._unread, []
            return events

    def wait(self, on_event: Callable[[Event], None] | None = None) -> Outcome:
        """Polls until the run has ended and returns how; every event is passed to ``on_event``.

        An exception in between (such as Ctrl+C) leaves everything as it is: `wait` may simply be called again.
        """
        while True:
            events = self.poll()
            for index, event in enumerate(events):
                try:
                    if on_event is not None:
                        on_event(event)
                except BaseException:
                    with self._lock:
                        self._unread = events[index + 1 :] + self._unread
                    raise
            if self.outcome is not None:
                return self.outcome
            if self.state is State.IDLE:
                raise RuntimeError("nothing to wait for: neither started nor attached")
            time.sleep(POLL_SECONDS)

    def request(self, name: Request) -> None:
        """Asks the engine for something, to be answered between two steps; ``stop`` is `stop`.

        Raises:
            OSError: the request cannot be placed.
        """
        if name == "stop":
            self.stop()
            return
        with self._lock:
            if self.state not in (State.IDLE, State.ENDED):
                place_request(self.folder, name)

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Stops the run: asks, after ``grace_seconds`` has the system ask, and at last ends the whole tree by force.

        Calling it again with less patience shortens the wait on the present rung of that ladder.
        """
        with self._lock:
            if self.state in (State.IDLE, State.ENDED):
                return
            deadline = time.monotonic() + grace_seconds
            if self._rung is _Rung.GROUND:
                self._rung = _Rung.ASKED
                self._asked = True
                self._deadline = deadline
                try:
                    place_request(self.folder, "stop")
                except OSError:
                    self._deadline = time.monotonic()  # a full disk takes no request, but the next rung needs none
            elif self._deadline is not None:
                self._deadline = min(self._deadline, deadline)
            self.state = State.STOPPING

    def kill(self) -> None:
        """Ends the engine and everything it started at once; what came after the last saved state is lost."""
        with self._lock:
            if self.state not in (State.IDLE, State.ENDED) and not self._is_gone():
                self._kill_tree()

    # --- what the engine says

    def _catch_up(self, *, first_seq: int | None) -> bool:
        """Takes everything new of the log, a piece at a time; whether there was anything."""
        found = False
        while events := self._tail.read_some():
            self._take(events, first_seq=first_seq)
            found = True
        return found

    def _take(self, events: list[Event], *, first_seq: int | None) -> None:
        """Folds events and keeps them for the reader; those of this attempt (from ``first_seq`` on) also decide."""
        self._unread += events if self._keep_steps else [item for item in events if not isinstance(item.body, Step)]
        self.run_state = fold(events, self.run_state)
        for event in events:
            if first_seq is not None and event.seq >= first_seq:
                self._observe(event)

    def _observe(self, event: Event) -> None:
        body = event.body
        if isinstance(body, Hello):
            self._terminal = None
            if body.protocol != PROTOCOL_VERSION:
                self._foreign = body
                if self._started_here:
                    self._kill_tree()
            elif self.state in (State.IDLE, State.STARTING):
                self.state = State.RUNNING
                self._deadline = None
        elif isinstance(body, TERMINAL):
            self._terminal = body
            if self._rung < _Rung.TERMINATED:
                self._deadline = time.monotonic() + self._limits.linger

    # --- whether it lives

    def _is_gone(self) -> bool:
        if self._started_here:
            return exit_status(self._record.key) is not None
        return not self._record.alive

    def _exit(self) -> crash.Exit | None:
        """How the process ended, where this program may know: it has to be its parent."""
        status = exit_status(self._record.key)
        return None if status is None else crash.Exit.from_status(status)

    # --- what follows from both

    def _advance(self, *, gone: bool) -> None:
        if gone:
            self._finish()
            return
        if self._terminal is not None and self.state is not State.STOPPING:
            self.state = State.STOPPING
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        if self.state is State.STARTING:
            self._silent = True
            self._kill_tree()
        elif self._rung is _Rung.KILLED:
            self._finish(unkillable=True)
        elif self._terminal is not None or self._rung is _Rung.TERMINATED:
            self._kill_tree()
        else:
            self._rung = _Rung.TERMINATED
            self._forced = True
            self._deadline = time.monotonic() + self._limits.terminate
            terminate(self._record.key)

    def _kill_tree(self) -> None:
        self._rung = _Rung.KILLED
        self._forced = True
        self.state = State.STOPPING
        self._deadline = time.monotonic() + self._limits.kill
        kill(family(self._record.key))

    def _finish(self, *, unkillable: bool = False) -> None:
        """The process is gone (or cannot be ended): finds out how, and writes it down once."""
        if self._seen_alive:
            kill(family(self._record.key))  # what it left behind would keep the GPU
        known = None
        if self._terminal is None and not self._forced and self._exit() is None:
            known = read_outcome(self.folder, of=self._record)
            now = time.monotonic()
            self._gone_since = self._gone_since or now
            if known is None and now - self._gone_since < _COURTESY_SECONDS:
                return
        outcome = known or replace(self._judge(), process=process_name(self._record))
        if unkillable:
            outcome = _with_note(outcome, f"Process {self._record.pid} could not be ended; a restart frees its memory.")
        if known is None and (self._started_here or read_outcome(self.folder, of=self._record) is None):
            try:
                write_outcome(self.folder, outcome)
            except OSError as failure:
                reason = failure.strerror or failure
                outcome = _with_note(outcome, f"This could not be saved in {self.folder.path}: {reason}.")
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.state = State.ENDED
        self._deadline = None

    def _judge(self) -> Outcome:
        exit_, state, record = self._exit(), self.run_state, self._record
        if self._foreign is not None and self._started_here:
            problem = crash.foreign(self.folder, self._foreign)
            failure = FailureKind.PLAN_MISMATCH
            return summed_up("failed", problem.message, problem.advice, state, failure=failure)
        if self._silent:
            return crash.silent(self.folder, state, log_start=record.log_start, seconds=self._limits.hello)
        terminal = self._terminal
        if terminal is None or isinstance(terminal, Failed):
            # When one of several processes dies, the others fail because of it; the first failure is the cause.
            terminal = crash.first_rank_failure(self.folder, record.started) or terminal
        if terminal is not None:
            return outcome_of(terminal, state, exit_status=exit_.code if exit_ else None)
        if self._forced:
            return crash.forced(state, exit_, asked=self._asked, measured=self.folder.reference.exists())
        if exit_ is None:
            return crash.lost(self.folder, state, log_start=record.log_start, rebooted=rebooted_since(record.key))
        memory_ran_out = crash.memory_kills() > self._memory_kills
        return crash.crashed(self.folder, state, exit_, log_start=record.log_start, memory_ran_out=memory_ran_out)

    def _require_idle(self) -> None:
        if self.state is not State.IDLE:
            raise RuntimeError("a Supervisor watches one attempt; make another one for the next")


def _with_note(outcome: Outcome, note: str) -> Outcome:
    return replace(outcome, hint=f"{outcome.hint} {note}".lstrip())


def _unusable(folder: RunFolder, failure: OSError) -> UserError:
    return UserError(
        error(
            str(folder.path),
            f"The run folder cannot be used: {failure.strerror or failure}.",
            "Check that it exists, that you may write to it, and that its disk is not full.",
        ),
        exit_code=ExitCode.FAILED,
    )
