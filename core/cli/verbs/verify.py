"""``lowrank verify``: an export, compared once more with what was trained."""

import argparse
from pathlib import Path

from core.cli.console import Console
from core.errors import ExitCode, UserError, error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("export", metavar="EXPORT", help="folder or .gguf file that an export has written")
    parser.add_argument("--run", metavar="RUN", required=True, help="name or folder of the run that it came from")
    parser.add_argument(
        "--kind",
        choices=("adapter", "merged", "gguf", "gguf_adapter"),
        help="what it is; found out from its files if left out",
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Opens the export in a process of its own and prints the report."""
    from core.cli.jobs import run_job
    from core.export.sizes import is_adapter
    from core.export.verification import read_verification, report_record, report_text
    from core.runs.results import require_result, result_base
    from core.runs.store import find_run

    export = Path(options.export).expanduser().absolute()
    kind = options.kind or kind_of(export)
    folder = find_run(options.run)
    result = require_result(folder)
    tuned = is_adapter(result)
    arguments = {
        "export": str(export),
        "kind": kind,
        "base": str(result_base(folder) if tuned else result),
        "adapter": str(result) if tuned else "",
    }
    finished = run_job("verify", arguments, console)
    if finished.outcome.kind != "completed":
        return finished.outcome.exit_code
    found = read_verification(export)
    if found is None:
        raise UserError(error(str(export), "The report could not be kept.", "Check that its folder can be written."))
    console.line(report_text(found))
    console.result(report_record(found))
    return ExitCode.DONE if found.passed else ExitCode.FAILED


def kind_of(export: Path) -> str:
    """What an export is, by its files.

    Raises:
        UserError: nothing that is known.
    """
    if not export.exists():
        raise UserError(error("EXPORT", f"There is nothing at {export}.", "Give the folder or file of an export."))
    if export.is_file() and export.suffix == ".gguf":
        from core.facts.gguf_header import read_gguf_header

        try:
            told = read_gguf_header(export).metadata.get("general.type")
        except UserError:
            return "gguf"  # the report says that it is broken
        return "gguf_adapter" if told == "adapter" else "gguf"
    if (export / "adapter_config.json").is_file():
        return "adapter"
    if (export / "config.json").is_file():
        return "merged"
    if export.is_dir() and any(export.rglob("*.gguf")):
        return "gguf"
    raise UserError(error("EXPORT", f"{export} is no export that is known here.", "Say what it is with --kind."))
