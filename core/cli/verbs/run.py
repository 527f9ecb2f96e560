"""``lowrank run``: plans, starts and follows a run."""

import argparse
from pathlib import Path

from core.cli.console import Console
from core.cli.spec_options import add_spec_arguments, read_spec_options
from core.errors import ExitCode, UserError, error
from core.spec.run_spec import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_spec_arguments(parser)
    parser.add_argument("--detach", action="store_true", help="start it, print its name and return at once")
    parser.add_argument(
        "--processes", metavar="N", help="share the work among so many processes, one for each GPU (hardware.processes)"
    )
    parser.add_argument(
        "--prepare", metavar="FOLDER", help="make the run's folder, which must not be there yet, and start nothing"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Starts the run and follows it to its end; Ctrl+C stops and saves it."""
    from core.cli.launching import start_and_follow
    from core.cli.plan_report import print_short_plan
    from core.cli.preparing import prepare_spec, require_start
    from core.runs.store import create_run

    if options.processes is not None:
        options.assignments.append(f"hardware.processes={options.processes}")
    spec = read_spec_options(options)
    if options.prepare:
        spec = _in_folder(spec, Path(options.prepare))
    prepared = prepare_spec(spec, console)
    print_short_plan(console, prepared.spec, prepared.facts, prepared.plan)
    require_start(prepared, console)
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    if options.prepare:
        console.line(f"Prepared {folder.path}; nothing has been started.")
        console.result({"run": folder.path.name, "folder": str(folder.path), "started": False})
        return ExitCode.DONE
    return start_and_follow(folder, console, detach=options.detach)


def _in_folder(spec: RunSpec, folder: Path) -> RunSpec:
    """The spec of a run that lies in exactly this folder.

    Raises:
        UserError: it is there already, or cannot have that name.
    """
    from core.runs.store import safe_name

    folder = folder.expanduser().absolute()
    if folder.exists():
        raise UserError(error(str(folder), "The folder is there already.", "Name one that is not."))
    if safe_name(folder.name) != folder.name:
        raise UserError(error(str(folder), f"A run cannot be called “{folder.name}”.", "Name another folder."))
    return spec.replace("output.folder", str(folder.parent)).replace("output.name", folder.name)
