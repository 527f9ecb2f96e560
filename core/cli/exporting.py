"""Writing a run's result from the command line: checked before anything is written, whole or not there at all."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.cli.console import Console
from core.errors import ExitCode, Problem, UserError, error
from core.export.copying import copy_result
from core.export.objections import KIND, PRECISION, REPO
from core.export.places import TARGET, target_problems
from core.export.result import USUAL, ExportKind, ExportOptions, ExportPlan, plan_export
from core.export.sizes import bytes_in, is_adapter
from core.runs.layout import RunFolder
from core.runs.passing_folder import passing_folder
from core.units import format_bytes

_OPTIONS = {KIND: "--kind", TARGET: "--to", PRECISION: "--precision", REPO: "--repo"}
_WRITTEN = {
    "merged": "base and adapter as one model",
    "gguf": "base and adapter as one GGUF file",
    "gguf_adapter": "the adapter as a GGUF file",
    "ollama": "a model for Ollama",
    "lm_studio": "a model for LM Studio",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        path: what was written.
        bytes: how large it is; 0 where it came to nothing.
        verification: the report of the checks, as in ``verification.json``; None where none was made.
        url: where it lies on the hub; empty for anything else.
    """

    code: ExitCode
    kind: ExportKind
    path: Path
    bytes: int = 0
    verification: object = None
    url: str = ""

    @property
    def record(self) -> dict[str, object]:
        """For ``--json``."""
        told: dict[str, object] = {
            "kind": self.kind, "path": str(self.path), "bytes": self.bytes, "verification": self.verification,
            "exit_code": int(self.code),
        }  # fmt: skip
        return told | ({"url": self.url} if self.url else {})


def export_result(
    folder: RunFolder,
    kind: ExportKind,
    place: Path | None,
    console: Console,
    options: ExportOptions = USUAL,
    *,
    source: Path | None = None,
    verify: bool = True,
) -> Exported:
    """Writes the run's result to ``place`` (see `plan_export`), checks it afresh, and uploads it if that is its kind.

    Raises:
        UserError: there is no result, the base model has gone, the target cannot take it, or an engine failed.
    """
    plan = require_plan(folder, kind, place, options, source)
    written = _write(plan, console)
    if written.code is not ExitCode.DONE:
        return written
    if verify:
        written = _verified(plan, written, console)
    if kind == "hub" and written.code is ExitCode.DONE:
        return _uploaded(plan, written, console)
    return written


def require_plan(
    folder: RunFolder, kind: ExportKind, place: Path | None, options: ExportOptions, source: Path | None = None
) -> ExportPlan:
    """The plan of an export that can start.

    Raises:
        UserError: everything that stands against it, by the options that would mend it.
    """
    plan = plan_export(folder, kind, place, options, source=source)
    if not plan.can_start:
        raise UserError(*_as_options(plan.problems), exit_code=plan.exit_code)
    return plan


def require_empty(target: Path) -> None:
    """Checks that an export may go there.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    problems = _as_options(target_problems(target))
    if problems:
        raise UserError(*problems)


@contextmanager
def combined_source(own: RunFolder, weight: float, others: Sequence[str], console: Console) -> Iterator[Path | None]:
    """The run's adapter with others added to it, in a folder that goes away afterwards; None where there are none.

    Args:
        own: the run whose adapter is added to.
        weight: of its own adapter.
        others: as they are typed: names of runs or folders of adapters, each with ``=`` and its weight.
        console: for what is said meanwhile.

    Raises:
        UserError: one of them is no adapter, or they cannot be combined.
    """
    from core.cli.jobs import run_job
    from core.runs.results import require_result

    if not others and weight == 1:
        yield None
        return
    parts = [(require_result(own), weight), *(_part(text) for text in others)]
    with passing_folder(own.path.name) as target:
        arguments = {
            "kind": "combined", "target": str(target), "parts": [[str(path), share] for path, share in parts],
        }  # fmt: skip
        finished = run_job("export", arguments, console)
        if finished.outcome.kind != "completed":
            message = "Combining the adapters was stopped."
            raise UserError(error("", message, "Nothing was written."), exit_code=finished.outcome.exit_code)
        yield target


def _part(text: str) -> tuple[Path, float]:
    from core.runs.results import require_result
    from core.runs.store import find_run

    name, mark, number = text.rpartition("=")
    try:
        weight = float(number) if mark else 1.0
    except ValueError:
        message = f"“{number}” is no weight."
        raise UserError(error("--with", message, "Write it as OTHER=0.5, OTHER being a run or a folder.")) from None
    chosen = Path(name if mark else text).expanduser()
    folder = chosen if is_adapter(chosen) else require_result(find_run(str(chosen)))
    if not is_adapter(folder):
        message = f"“{chosen}” has trained every weight, so there is no adapter to add."
        raise UserError(error("--with", message, "Choose a run with an adapter, or the folder of one."))
    return folder.absolute(), weight


def _as_options(problems: Iterable[Problem]) -> list[Problem]:
    """The problems with the options that would mend them."""
    return [dataclasses.replace(problem, path=_OPTIONS.get(problem.path, problem.path)) for problem in problems]


def _write(plan: ExportPlan, console: Console) -> Exported:
    from core.cli.jobs import run_job

    if not plan.is_job:
        size = copy_result(plan)
        what = "the adapter" if plan.writes == "adapter" else "the tuned model"
        console.line(f"Copied {what} ({format_bytes(size)}) to {plan.target}.")
        return Exported(ExitCode.DONE, plan.kind, plan.target, size)
    finished = run_job("export", plan.arguments, console)
    if finished.outcome.kind != "completed":
        return Exported(finished.outcome.exit_code, plan.kind, plan.target)
    size = bytes_in(plan.target)
    console.line(f"Wrote {_WRITTEN[plan.writes]} ({format_bytes(size)}) to {plan.target}.")
    return Exported(ExitCode.DONE, plan.kind, plan.target, size)


def _uploaded(plan: ExportPlan, written: Exported, console: Console) -> Exported:
    from core.cli.jobs import run_job
    from core.hub.job import download_command
    from core.hub.token import token_text

    token = token_text()
    finished = run_job("export", plan.upload_arguments, console, command=lambda folder: download_command(folder, token))
    if finished.outcome.kind != "completed":
        return dataclasses.replace(written, code=finished.outcome.exit_code)
    url = str(finished.outcome.result.get("url", ""))
    console.line(finished.outcome.message)
    console.line(url)
    return dataclasses.replace(written, url=url)


def _verified(plan: ExportPlan, written: Exported, console: Console) -> Exported:
    """The export, opened in a process of its own and compared with the run's result; checks that fail make it so."""
    from core.cli.jobs import run_job
    from core.export.verification import read_verification, report_record, report_text

    arguments = plan.verify_arguments
    if arguments is None:
        if plan.base is None:
            console.line("Not verified: the base model is not here, so there is nothing to compare the adapter with.")
        return written
    finished = run_job("verify", arguments, console)
    if finished.outcome.kind != "completed":
        return dataclasses.replace(written, code=finished.outcome.exit_code)
    found = read_verification(plan.target)
    if found is None:
        message = "The export was checked, but the report could not be kept beside it."
        raise UserError(error(str(plan.target), message, "Check that its folder can be written."))
    console.line(report_text(found))
    code = ExitCode.FAILED if found.failed else ExitCode.DONE  # what nobody could look at is written all the same
    return dataclasses.replace(written, verification=report_record(found), code=code)
