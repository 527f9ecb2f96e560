"""``lowrank resume``: goes on with a run where its last saved state left off."""

import argparse

from core.cli.console import Console
from core.errors import ExitCode, UserError, error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of the run")
    parser.add_argument("--detach", action="store_true", help="start it and return at once")
    parser.add_argument(
        "--processes", metavar="N", default="0", help="share the rest of the work among so many processes"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Launches the engine on the same folder again."""
    from core.cli.launching import start_and_follow
    from core.runs.outcome import read_outcome
    from core.runs.store import find_run

    folder = find_run(options.run)
    if not options.processes.isdigit():
        message = f"“{options.processes}” is not a number of processes."
        raise UserError(error("--processes", message, "Write for example --processes 2."))
    outcome = read_outcome(folder)
    if outcome is not None and outcome.kind == "completed":
        message = f"The run “{folder.path.name}” is complete: {outcome.message}"
        raise UserError(error(str(folder.path), message, "Start a new run to train further."))
    return start_and_follow(folder, console, detach=options.detach, processes=int(options.processes))
