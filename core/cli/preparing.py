"""From a spec to a run that may start, with words for what takes time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.hub import fetch_hub_data
from core.errors import ExitCode, Severity, UserError
from core.spec.hub_data import is_hub_data
from core.spec.rules import check
from core.spec.run_spec import RunSpec

if TYPE_CHECKING:
    from core.runs.prepare import OnProgress, Prepared


def prepare_spec(spec: RunSpec, console: Console, *, rows_needed: bool = True) -> "Prepared":
    """Facts and plan of a spec; data sets of the hub that it names are fetched first where they are not here.

    Args:
        spec: what was asked for.
        console: told what takes time.
        rows_needed: refuses a spec without data.

    Raises:
        UserError: the model or the data cannot be read or had.
    """
    from core.runs.prepare import prepare

    names_hub = any(is_hub_data(name) for name in (*spec.data.train, *spec.data.validation))
    if names_hub and not any(problem.severity is Severity.ERROR for problem in check(spec)):
        fetch_hub_data(spec.data, console)
    with telling(console) as report:
        return prepare(spec, on_progress=report, rows_needed=rows_needed)


@contextmanager
def telling(console: Console) -> Iterator["OnProgress"]:
    """Says what takes time, and how much of it is done, while the block runs."""

    def report(what: str, done: int, total: int) -> None:
        console.progress(f"{what}: {done / total:.0%}" if total else what)

    try:
        yield report
    finally:
        console.end_progress()


def require_start(prepared: "Prepared", console: Console) -> None:
    """Prints what is worth knowing before the start.

    Raises:
        UserError: something blocks the start.
    """
    from core.cli.plan_report import exit_code_of

    code = exit_code_of(prepared.plan)
    if code is not ExitCode.DONE:
        raise UserError(*prepared.plan.problems, exit_code=code)
    console.problems(problem for problem in prepared.plan.problems if problem.severity is Severity.WARNING)
