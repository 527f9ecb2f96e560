"""``lowrank run``: plans, starts and follows a run."""

import argparse

from core.cli.console import Console
from core.cli.spec_options import add_spec_arguments, read_spec_options
from core.errors import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_spec_arguments(parser)
    parser.add_argument("--detach", action="store_true", help="start it, print its name and return at once")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Starts the run and follows it to its end; Ctrl+C stops and saves it."""
    from core.cli.launching import start_and_follow
    from core.cli.plan_report import print_short_plan
    from core.cli.preparing import prepare_spec, require_start
    from core.runs.store import create_run

    prepared = prepare_spec(read_spec_options(options), console)
    print_short_plan(console, prepared.spec, prepared.facts, prepared.plan)
    require_start(prepared, console)
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    return start_and_follow(folder, console, detach=options.detach)
