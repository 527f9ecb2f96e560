"""What people do with the queue: put runs into it, start it, and hold it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from core import paths
from core.errors import ExitCode, UserError, error
from core.plan.types import Plan
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand, spawn
from core.runs.layout import RunFolder
from core.runs.outcome import read_outcome
from core.runs.prepare import Prepared
from core.runs.process_record import living_process
from core.runs.queue import Entry, Hold, Queue, change_queue, queue_dir
from core.runs.store import create_run, load_plan

RUNNER_OPTION = "--queue-runner"
"""What makes the packaged application the process at the queue."""


def add_runs(folders: Sequence[RunFolder], *, first: bool = False, group: str = "") -> Queue:
    """Puts runs into the queue, in their order; a process that is at work takes them up by itself.

    Args:
        folders: runs that were never started, or that can go on.
        first: before all others that wait.
        group: name of the sweep that they belong to.

    Raises:
        UserError: a run is complete, at work outside the queue, or in the queue already; none is added then.
    """
    entries = [_entry(folder, group) for folder in folders]

    def add(queue: Queue) -> Queue:
        for entry in reversed(entries) if first else entries:
            queue = queue.added(entry, first=first)
        return queue

    return change_queue(add)


def add_prepared(prepared: Prepared) -> RunFolder:
    """Makes a run of a prepared spec, and puts it into the queue.

    Raises:
        UserError: the plan has more against it than too little room, or the folder cannot be made.
    """
    require_plannable(prepared.plan)
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    add_runs([folder])
    return folder


def require_plannable(plan: Plan) -> None:
    """Refuses a plan for the queue that has more against it than too little room, which may be there at night.

    Raises:
        UserError: carries the plan's problems.
    """
    if not plan.can_start and not plan.lacks_only_room:
        raise UserError(*plan.problems)


def _entry(folder: RunFolder, group: str) -> Entry:
    name, path = folder.path.name, str(folder.path)
    if living_process(folder) is not None:
        message = f"The run “{name}” is at work already."
        raise UserError(error(path, message, "Add it when it has been stopped."))
    outcome = read_outcome(folder)
    if outcome is not None and outcome.kind == "completed":
        raise UserError(error(path, f"The run “{name}” is complete.", "Add a new run to train further."))
    plan = load_plan(folder)
    return Entry(folder.path, group=group, expected_seconds=plan.duration.seconds if plan.duration is not None else 0.0)


def runner_command() -> LaunchCommand:
    """The command that works the queue off; in a packaged application the application itself."""
    argv: tuple[str, ...]
    if getattr(sys, "frozen", False):
        argv = (sys.executable, RUNNER_OPTION)
    else:
        argv = (sys.executable, "-P", "-m", "core.runs.queue_runner")
    # It works in another folder, from which a relative data folder would be another one.
    return LaunchCommand(argv, {**child_env(), paths.HOME_VARIABLE: str(paths.home())}, queue_dir())


def start_queue(command: LaunchCommand | None = None) -> Queue:
    """Lets the queue go on: takes back what held it, and starts a process to work it off where none does.

    Args:
        command: what is started, by default `runner_command`.

    Raises:
        UserError: nothing waits, or the process cannot be started.
    """

    def start(queue: Queue) -> Queue:
        if not queue.waiting and queue.running is None:
            raise UserError(error("", "There is nothing in the queue that could begin.", "Add runs to it first."))
        queue = replace(queue, hold="")
        if queue.is_worked_off:
            return queue
        return replace(queue, at_work=True, runner=spawn(command or runner_command(), queue_dir() / "runner.log"))

    queue_dir().mkdir(parents=True, exist_ok=True)
    try:
        return change_queue(start)
    except OSError as failure:
        message = f"The queue cannot be started: {failure.strerror or failure}."
        advice = "Check that the program and the data folder exist and that the disk is not full."
        raise UserError(error(os.fspath(queue_dir()), message, advice), exit_code=ExitCode.FAILED) from failure


def hold_queue(hold: Hold) -> Queue:
    """Holds the queue: "stop" lets the present run end, "pause" has it save its state and end now.

    Raises:
        UserError: the file cannot be read or written.
    """
    return change_queue(lambda queue: replace(queue, hold=hold) if queue.entries else queue)
