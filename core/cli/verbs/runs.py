"""``lowrank runs``: every run, newest first."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.tables import columns, joined
from core.errors import ExitCode
from core.units import format_duration

if TYPE_CHECKING:
    from core.runs.store import RunSummary

_COLOURS = {"completed": "green", "running": "bold", "stopped": "yellow", "new": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--folder", metavar="FOLDER", help="list the runs in this folder instead of the usual one")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints a table of the runs."""
    from core.paths import runs_dir
    from core.records import to_plain
    from core.runs.store import list_runs

    folder = Path(options.folder).expanduser().absolute() if options.folder else runs_dir()
    found = list_runs(folder)
    if not found:
        console.line(f"There are no runs in {folder} yet.")
    else:
        _print_table(found, console)
    console.result({"folder": str(folder), "runs": [to_plain(run) for run in found]})
    return ExitCode.DONE


def _print_table(runs: "tuple[RunSummary, ...]", console: Console) -> None:
    head = ("NAME", "STATUS", "STEP", "LOSS", "VALIDATION", "TIME", "STARTED")
    rows = [
        (
            run.name,
            run.status,
            f"{run.step:,}/{run.steps:,}" if run.steps else "",
            _loss(run.loss),
            _loss(run.validation_loss),
            format_duration(run.seconds) if run.seconds else "",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created)),
        )
        for run in runs
    ]
    title, *lines = columns((head, *rows))
    console.line(console.bold(joined(title)))
    for run, (name, status, *others) in zip(runs, lines, strict=True):
        console.line(joined((name, console.colour(_COLOURS.get(run.status, "red"), status), *others)))
        if run.status in ("failed", "crashed", "lost", "damaged") and run.problem:
            console.paragraph(run.problem, "    ")


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
