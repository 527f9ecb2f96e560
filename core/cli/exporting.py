"""Writing a run's result: checked before anything is written, whole or not there at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.cli.console import Console
from core.cli.run_files import require_result, result_base
from core.errors import ExitCode, UserError, error
from core.paths import existing_parent, staged_folder
from core.runs.layout import RunFolder
from core.units import format_bytes

ExportKind = Literal["adapter", "merged"]


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
    from core.export.peft_adapter import CONFIG_FILE

    result = require_result(folder)
    require_empty(target)
    is_adapter = (result / CONFIG_FILE).is_file()
    if kind == "adapter" and not is_adapter:
        message = f"The run “{folder.path.name}” trained every weight, so its result is a whole model and no adapter."
        raise UserError(error("--kind", message, "Export it with --kind merged."))
    if kind == "merged" and is_adapter:
        return _merge(result_base(folder), result, target, console)
    size = _copy(result, target)
    console.line(f"Copied {'the adapter' if is_adapter else 'the tuned model'} ({format_bytes(size)}) to {target}.")
    return Exported(ExitCode.DONE, size)


def require_empty(target: Path) -> None:
    """Checks that an export may go there.

    Raises:
        UserError: something is there already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        message = f"{target} already exists{' and is not empty' if target.is_dir() else ''}; nothing is overwritten."
        raise UserError(error("--to", message, "Choose another folder."))


def _merge(base: Path, adapter: Path, target: Path, console: Console) -> Exported:
    from core.cli.jobs import run_job
    from core.export.sizes import predict_sizes

    _require_space(target, predict_sizes(base, adapter, target).merged_bytes)
    arguments = {"base": str(base), "adapter": str(adapter), "target": str(target)}
    finished = run_job("merge", arguments, console)
    size = _bytes_in(target) if target.is_dir() else 0
    if finished.outcome.kind == "completed":
        console.line(f"Wrote base and adapter as one model ({format_bytes(size)}) to {target}.")
    return Exported(finished.outcome.exit_code, size)


def _copy(source: Path, target: Path) -> int:
    size = _bytes_in(source)
    _require_space(target, size)
    try:
        with staged_folder(target) as staging:
            shutil.copytree(source, staging, dirs_exist_ok=True)
    except OSError as failure:
        message = f"The result could not be copied: {failure.strerror or failure}."
        advice = "Check that the folder may be written to and that its disk is not full; nothing was left behind."
        raise UserError(error(str(target), message, advice), exit_code=ExitCode.FAILED) from failure
    return size


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _require_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(existing_parent(target)).free
    if needed > free:
        message = f"The export takes {format_bytes(needed)}, and {format_bytes(free)} are free at {target.parent}."
        raise UserError(
            error("--to", message, "Free some space, or choose a folder on another disk."),
            exit_code=ExitCode.DOES_NOT_FIT,
        )
