"""Writing a run's result from the command line: checked before anything is written, whole or not there at all."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.cli.console import Console
from core.errors import ExitCode, Problem, UserError
from core.export.result import (
    KIND,
    TARGET,
    ExportKind,
    ExportPlan,
    bytes_in,
    copy_result,
    plan_export,
    target_problems,
)
from core.runs.layout import RunFolder
from core.units import format_bytes

_OPTIONS = {KIND: "--kind", TARGET: "--to"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to, and how large it is."""

    code: ExitCode
    bytes: int


def export_result(folder: RunFolder, kind: ExportKind, target: Path, console: Console) -> Exported:
    """Writes the run's result into ``target``.

    Raises:
        UserError: there is no result, the base model has gone, or the target cannot take it.
    """
    plan = plan_export(folder, kind, target)
    if not plan.can_start:
        raise UserError(*_as_options(plan.problems), exit_code=plan.exit_code)
    if plan.is_merge:
        return _merge(plan, console)
    size = copy_result(plan)
    what = "the adapter" if kind == "adapter" else "the tuned model"
    console.line(f"Copied {what} ({format_bytes(size)}) to {plan.target}.")
    return Exported(ExitCode.DONE, size)


def require_empty(target: Path) -> None:
    """Checks that an export may go there.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    problems = _as_options(target_problems(target))
    if problems:
        raise UserError(*problems)


def _as_options(problems: Iterable[Problem]) -> list[Problem]:
    """The problems with the options that would mend them."""
    return [dataclasses.replace(problem, path=_OPTIONS.get(problem.path, problem.path)) for problem in problems]


def _merge(plan: ExportPlan, console: Console) -> Exported:
    from core.cli.jobs import run_job

    finished = run_job("merge", plan.arguments, console)
    size = bytes_in(plan.target) if plan.target.is_dir() else 0
    if finished.outcome.kind == "completed":
        console.line(f"Wrote base and adapter as one model ({format_bytes(size)}) to {plan.target}.")
    return Exported(finished.outcome.exit_code, size)
