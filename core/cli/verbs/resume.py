"""``lowrank resume``: goes on with a run where its last saved state left off."""

import argparse

from core.cli.console import Console
from core.errors import ExitCode, UserError, error
from core.runs.layout import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of the run")
    parser.add_argument(
        "--processes", metavar="N", help="share the work among so many processes from now on (hardware.processes)"
    )
    parser.add_argument("--detach", action="store_true", help="start it and return at once")
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="go on although data, model or settings have changed since the state was saved; says what",
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Launches the engine on the same folder again."""
    from core.cli.launching import start_and_follow
    from core.runs.outcome import read_outcome
    from core.runs.store import find_run

    folder = find_run(options.run)
    outcome = read_outcome(folder)
    if outcome is not None and outcome.kind == "completed":
        message = f"The run “{folder.path.name}” is complete: {outcome.message}"
        raise UserError(error(str(folder.path), message, f"“lowrank extend {folder.path.name}” trains it further."))
    if options.accept_changes or options.processes is not None:
        _look_again(folder, options, console)
    return start_and_follow(folder, console, detach=options.detach)


def _look_again(folder: RunFolder, options: argparse.Namespace, console: Console) -> None:
    """Makes the plan anew from what is there now, and says in which ways that is not what was saved.

    Raises:
        UserError: something has changed and the user did not consent, or no consent helps.
    """
    from core.runs.resuming import accept, look_again, refusal
    from core.runs.store import load_spec
    from core.spec.codec import apply_assignments

    spec = load_spec(folder)
    if options.processes is not None:
        spec = apply_assignments(spec, [f"hardware.processes={options.processes}"])
    seen = look_again(folder, spec)
    if seen.blocked:
        raise refusal(seen)
    if seen.changes and not options.accept_changes:
        message = f"More has changed since the state was saved: {' '.join(change.message for change in seen.changes)}"
        raise UserError(
            error(str(folder.path), message, "Put it back, or add --accept-changes."), exit_code=ExitCode.FAILED
        )
    accept(seen)
    if seen.changes:
        console.line("Going on although this has changed since the state was saved:")
    elif options.accept_changes:
        console.line("Nothing has changed since the state was saved.")
    for change in seen.changes:
        console.line(f"  {change.message}")
