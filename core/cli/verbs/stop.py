"""``lowrank stop``: asks a run to stop and save, and has the last word if it does not."""

import argparse

from core.cli.console import Console
from core.errors import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of the run")
    parser.add_argument("--now", action="store_true", help="do not wait for the step to end; nothing more is saved")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Stops the run and waits until its process has gone."""
    from core.cli.follow import follow, settle
    from core.cli.run_report import print_after_run, print_outcome, run_record
    from core.runs.process_record import living_process
    from core.runs.store import find_run
    from core.runs.supervisor import Supervisor

    folder = find_run(options.run)
    supervisor = Supervisor(folder)
    supervisor.attach()
    if living_process(folder) is None:
        settle(supervisor)
        outcome = supervisor.outcome
        console.line(f"“{folder.path.name}” is not running{f': {outcome.message}' if outcome else '.'}")
        console.result({**run_record(folder, supervisor.run_state, outcome), "was_running": False})
        return ExitCode.DONE
    console.line("Ending the engine now." if options.now else "Stopping: the engine finishes its step and saves.")
    if options.now:
        supervisor.stop(grace_seconds=0)
    else:
        supervisor.stop()
    outcome = follow(supervisor, console)
    assert outcome is not None, "it is not left alone"
    print_outcome(console, outcome)
    print_after_run(console, folder, outcome)
    console.result({**run_record(folder, supervisor.run_state, outcome), "was_running": True})
    return ExitCode.DONE
