"""``lowrank plan``: says what a run will do and need."""

import argparse

from core.cli.console import Console
from core.cli.spec_options import add_spec_arguments, read_spec_options
from core.errors import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_spec_arguments(parser)


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints the plan and its problems."""
    from core.cli.plan_report import exit_code_of, print_plan
    from core.cli.preparing import prepare_spec
    from core.records import to_plain
    from core.spec.codec import to_mapping

    prepared = prepare_spec(read_spec_options(options), console)
    print_plan(console, prepared.spec, prepared.facts, prepared.plan)
    if prepared.plan.problems:
        console.line()
        console.problems(prepared.plan.problems, to_errors=False)
    code = exit_code_of(prepared.plan)
    if code is ExitCode.DONE:
        console.line()
        console.line(console.colour("green", "This can start."))
    console.result(
        {
            "can_start": prepared.plan.can_start,
            "exit_code": int(code),
            "problems": [to_plain(problem) for problem in prepared.plan.problems],
            "spec": to_mapping(prepared.spec, full=True),
            "facts": to_plain(prepared.facts),
            "plan": to_plain(prepared.plan),
        }
    )
    return code
