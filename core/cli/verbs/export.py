"""``lowrank export``: a run's result as an adapter, or merged into its base."""

import argparse
from pathlib import Path

from core.cli.console import Console
from core.errors import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of a run with a result")
    parser.add_argument(
        "--kind",
        choices=("adapter", "merged"),
        default="merged",
        help="merged: one model that any program loads (default); adapter: the small difference to the base model",
    )
    parser.add_argument(
        "--to", metavar="FOLDER", help="where to write it; must be empty or not exist (exports/RUN/KIND if left out)"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Writes the result into a folder of its own."""
    from core.cli.exporting import export_result
    from core.export.result import default_target
    from core.runs.store import find_run

    folder = find_run(options.run)
    target = Path(options.to).expanduser().absolute() if options.to else default_target(folder, options.kind)
    exported = export_result(folder, options.kind, target, console)
    console.result({"kind": options.kind, "path": str(target), "bytes": exported.bytes, "exit_code": exported.code})
    return exported.code
