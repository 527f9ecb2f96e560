"""Short engine jobs as a command runs them: in a folder of their own that goes away when all is well."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.cli.console import Console
from core.cli.follow import follow
from core.cli.run_report import print_outcome
from core.errors import ExitCode, UserError, error
from core.events.run_state import RunState
from core.runs.launch import LaunchCommand
from core.runs.layout import JobKind, RunFolder
from core.runs.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that completed or was stopped."""

    state: RunState
    outcome: Outcome


def run_job(
    kind: JobKind,
    arguments: Mapping[str, object],
    console: Console,
    *,
    answers: bool = True,
    command: Callable[[RunFolder], LaunchCommand] | None = None,
) -> Finished:
    """Runs a job to its end; Ctrl+C stops it. ``command`` makes another command than the engine's own of its folder.

    Raises:
        UserError: it failed; its folder stays, because the log in it may tell more.
    """
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    folder = create_job(kind, arguments)
    supervisor = Supervisor(folder, command(folder) if command else None)
    outcome = follow(supervisor, console, start=True, answers=answers)
    assert outcome is not None, "a job that Ctrl+C stops is never left alone"
    if outcome.kind not in ("completed", "stopped"):
        where = f" The engine's log is {folder.log}." if folder.log.exists() else ""
        raise UserError(error("", outcome.message, f"{outcome.hint}{where}".strip()), exit_code=ExitCode.FAILED)
    if outcome.kind == "stopped":
        print_outcome(console, outcome)
    shutil.rmtree(folder.path, ignore_errors=True)
    return Finished(supervisor.run_state, outcome)
