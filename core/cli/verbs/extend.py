"""``lowrank extend``: trains a finished run further."""

import argparse

from core.cli.console import Console
from core.errors import ExitCode, UserError, error
from core.spec.run_spec import field_at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of a run that is complete")
    more = parser.add_mutually_exclusive_group(required=True)
    more.add_argument("--steps", type=int, default=0, metavar="N", help="how many steps more")
    more.add_argument("--epochs", type=float, default=0.0, metavar="N", help="how many epochs more")
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        metavar="RATE",
        help="learning rate to begin at; by default the schedule's here, had the run been planned so long",
    )
    parser.add_argument(
        "--schedule",
        choices=[choice.value for choice in field_at("training.schedule").setting.choices],
        help="what the learning rate does from there on; the run's own schedule by default",
    )
    parser.add_argument("--accept-changes", action="store_true", help="also if something else has changed; says what")
    parser.add_argument("--detach", action="store_true", help="start it and return at once")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Writes the longer plan into the run's folder and launches the engine."""
    from core.cli.launching import start_and_follow
    from core.cli.plan_report import rate_words
    from core.runs.extending import extend, plan_extension
    from core.runs.resuming import refusal
    from core.runs.store import find_run

    folder = find_run(options.run)
    planned = plan_extension(
        folder, steps=options.steps, epochs=options.epochs, rate=options.rate, schedule=options.schedule
    )
    if planned.seen.blocked:
        raise refusal(planned.seen)
    if planned.unmeant and not options.accept_changes:
        message = f"More has changed since the run ended: {' '.join(planned.unmeant)}"
        raise UserError(
            error(str(folder.path), message, "Put it back, or add --accept-changes."), exit_code=ExitCode.FAILED
        )
    extend(planned)
    more = planned.steps - planned.start
    console.line(f"Going on after step {planned.start:,} for {more:,} steps more.")
    curve = planned.seen.prepared.plan.curve
    if curve is not None:
        console.line(f"The learning rate begins anew: {rate_words(curve)}.")
    for sentence in planned.unmeant:
        console.line(f"  {sentence}")
    return start_and_follow(folder, console, detach=options.detach)
