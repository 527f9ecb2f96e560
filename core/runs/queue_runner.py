"""Works the queue off, one run after another, in a process that outlives the window and the shell.

``python -m core.runs.queue_runner``. There is one for each data folder. What it knows is in the queue's file and in the
run folders, so another one goes on where a dead one left off; an engine that outlived it is found again.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from core import paths
from core.errors import ExitCode, UserError
from core.events.types import Stopped
from core.runs.file_lock import lock_within
from core.runs.history import run_names
from core.runs.layout import RunFolder
from core.runs.lock import FolderBusy
from core.runs.outcome import Outcome
from core.runs.process_record import living_process
from core.runs.process_tree import identify
from core.runs.queue import Entry, EntryState, Queue, change_queue, queue_dir, read_queue
from core.runs.recheck import recheck
from core.runs.supervisor import STOP_SECONDS, Supervisor

POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""How often the queue is read for what is asked of it."""
_SIGNAL_SECONDS = 2.0
"""Between the system's wish to an engine to end and the same to this process: at a shutdown both hear it at once."""
_PATIENCE_SECONDS = 10.0
"""For the process before, which has said its last word and is just ending."""

MakeSupervisor = Callable[[RunFolder], Supervisor]
_log = logging.getLogger(__name__)


class Runner:
    """One process at the queue.

    Attributes:
        signalled: the system has asked this process to end: the run at work is paused, and goes on another time.
    """

    def __init__(self, make_supervisor: MakeSupervisor = Supervisor) -> None:
        self._make_supervisor = make_supervisor
        self.signalled = False
        self._asked = 0.0

    def work(self) -> None:
        """Begins run after run until none waits or somebody holds the queue.

        Raises:
            UserError: the queue's file cannot be read or written.
        """
        own = identify(os.getpid())
        change_queue(lambda queue: replace(queue, at_work=True, runner=own))
        while (entry := self._next()) is not None:
            self._perform(entry)

    def _next(self) -> Entry | None:
        """The run to work on now: one that was broken off, else the first that waits; None when there is an end."""
        self._wait_for_others()

        def take(queue: Queue) -> Queue:
            if queue.hold or self.signalled:
                return replace(queue, at_work=False, waiting_for="", hold=queue.hold if queue.waiting else "")
            if queue.running is not None:
                return queue
            if not queue.waiting:
                return replace(queue, at_work=False, waiting_for="", hold="")
            first = replace(queue.waiting[0], state="running", began=time.time(), reason="")
            return replace(queue.with_entry(first), waiting_for="")

        queue = change_queue(take)
        return queue.running if queue.at_work else None

    def _wait_for_others(self) -> None:
        """Waits while a run outside the queue is at work: two would take memory and time from each other."""
        while not self.signalled:
            queue = read_queue()
            if queue.hold or not (queue.waiting or queue.running):
                return
            own = queue.running.path if queue.running is not None else None
            other = next((name for name in _living_runs() if own is None or name != own.name), "")
            if other != queue.waiting_for:
                change_queue(lambda now, name=other: replace(now, waiting_for=name))  # type: ignore[misc]
            if not other:
                return
            time.sleep(LOOK_SECONDS)

    # --- one run

    def _perform(self, entry: Entry) -> None:
        """Begins or finds a run, waits for its end, and writes down what became of it."""
        _log.info("begins %s", entry.name)
        try:
            supervisor = self._begin(entry)
        except FolderBusy:
            time.sleep(LOOK_SECONDS)  # somebody was faster; it is found at work the next time
        except (UserError, OSError) as failure:
            self._leave_out(entry, failure)
        else:
            self._write_down(entry, supervisor, self._wait(supervisor))

    def _begin(self, entry: Entry) -> Supervisor:
        """A supervisor of the run at work, or of one that ended while nobody watched."""
        folder = entry.folder
        if living_process(folder) is not None or self._has_ended(entry):
            supervisor = self._make_supervisor(folder)
            supervisor.attach()
            return supervisor
        recheck(folder)
        supervisor = self._make_supervisor(folder)
        supervisor.start()
        return supervisor

    def _has_ended(self, entry: Entry) -> bool:
        """Whether a run that this queue began came to an end of its own while no process was at the queue."""
        if not entry.folder.process.exists() or not entry.folder.events().exists():
            return False
        supervisor = self._make_supervisor(entry.folder)
        supervisor.attach()
        outcome = self._wait(supervisor)
        since_begun = outcome.ended >= entry.began > 0
        return since_begun and outcome.kind != "lost" and not _goes_on(supervisor, outcome)

    def _wait(self, supervisor: Supervisor) -> Outcome:
        """Waits for the end, and passes on what is asked of the queue meanwhile."""
        looked, self._asked = 0.0, 0.0
        while True:
            try:
                supervisor.poll()
            except OSError as failure:
                _log.warning("%s cannot be read now: %s", supervisor.folder.events(), failure)
            if supervisor.outcome is not None:
                return supervisor.outcome
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._pass_on(supervisor, now)
            time.sleep(POLL_SECONDS)

    def _pass_on(self, supervisor: Supervisor, now: float) -> None:
        """Asks the engine to pause when the queue is, and ends it when it does not listen."""
        if self._asked and now - self._asked > STOP_SECONDS:
            supervisor.stop(grace_seconds=0)
        elif not self._asked and (self.signalled or read_queue().hold == "pause"):
            self._asked = now
            try:
                supervisor.request("pause")
            except OSError:  # a full disk takes no request; the stop ladder has rungs that need none
                supervisor.stop()

    def _write_down(self, entry: Entry, supervisor: Supervisor, outcome: Outcome) -> None:
        """What became of a run; one that was paused waits again, at the head of the queue."""
        if outcome.kind == "stopped" and not outcome.paused and _was_signalled(supervisor):
            self._await_own_signal()
        asked = bool(self._asked) or (self.signalled and _was_signalled(supervisor))
        paused = outcome.paused or (outcome.kind == "stopped" and asked)
        state: EntryState = "queued" if paused else _state_of(outcome)
        _log.info("%s: %s. %s", entry.name, state, outcome.message)

        def write(queue: Queue) -> Queue:
            ended = 0.0 if paused else outcome.ended
            reason = "" if state == "done" else outcome.text
            queue = queue.with_entry(replace(entry, state=state, reason=reason, ended=ended))
            # Whoever pauses a run wants its memory for something else, which the next run would take.
            hold = queue.hold or ("pause" if outcome.paused and not self.signalled else "")
            queue = replace(queue, hold=hold)
            return queue.moved(entry.path, "first") if paused and queue.waiting else queue

        change_queue(write)

    def _await_own_signal(self) -> None:
        deadline = time.monotonic() + _SIGNAL_SECONDS
        while not self.signalled and time.monotonic() < deadline:
            time.sleep(0.05)

    def _leave_out(self, entry: Entry, failure: UserError | OSError) -> None:
        """Writes down why a run did not begin; the queue goes on with the next one."""
        if isinstance(failure, UserError):
            reason = " ".join(f"{problem.message} {problem.advice}".strip() for problem in failure.problems)
        else:
            reason = f"The run folder cannot be used: {failure.strerror or failure}."
        failed = isinstance(failure, UserError) and failure.exit_code is ExitCode.FAILED
        state: EntryState = "failed" if failed else "skipped"
        _log.info("%s: %s. %s", entry.name, state, reason)
        left_out = replace(entry, state=state, reason=reason, ended=time.time())
        change_queue(lambda queue: queue.with_entry(left_out))


def _state_of(outcome: Outcome) -> EntryState:
    return {"completed": "done", "stopped": "stopped"}.get(outcome.kind, "failed")  # type: ignore[return-value]


def _was_signalled(supervisor: Supervisor) -> bool:
    ended = supervisor.run_state.ended
    return isinstance(ended, Stopped) and ended.reason == "signal"


def _goes_on(supervisor: Supervisor, outcome: Outcome) -> bool:
    """Whether a run that ended while nobody watched only saved itself: it was paused, or the system went down."""
    return outcome.paused or (outcome.kind == "stopped" and _was_signalled(supervisor))


def _living_runs() -> list[str]:
    """Names of the runs in the usual folder that an engine works on."""
    parent = paths.runs_dir()
    return [name for name in run_names(parent) if living_process(RunFolder(parent / name)) is not None]


def main(make_supervisor: MakeSupervisor = Supervisor) -> int:
    """Works the queue off, unless another process does so already."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    queue_dir().mkdir(parents=True, exist_ok=True)
    handle = os.open(queue_dir() / "runner.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not lock_within(handle, _PATIENCE_SECONDS):
            _log.info("another process is at the queue already")
            return ExitCode.DONE
        runner = Runner(make_supervisor)

        def remember(_number: int, _frame: object) -> None:
            runner.signalled = True

        signal.signal(signal.SIGTERM, remember)
        runner.work()
    except UserError as failure:
        _log.error("%s", failure)
        return failure.exit_code
    finally:
        os.close(handle)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
