"""Sweeps in words: the runs there will be, and the table of what they found."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.cli.console import Console
from core.cli.run_report import print_commands, program
from core.cli.tables import columns, joined
from core.errors import ExitCode, UserError, error
from core.records import to_plain
from core.runs.prepare import Prepared
from core.runs.sweep import Axis, Point, alpha_would_follow, described
from core.runs.sweep_groups import Group
from core.runs.sweep_table import SweepRow, best_row
from core.spec.run_spec import RunSpec, field_at
from core.spec.values import to_plain as plain_value
from core.units import format_bytes, format_count, format_duration

_MARK = "✓"


def total_seconds(prepared: Sequence[Prepared]) -> float:
    """How long all runs take one after another according to their plans."""
    return sum(one.plan.duration.seconds for one in prepared if one.plan.duration is not None)


def total_words(prepared: Sequence[Prepared]) -> str:
    """The same in words."""
    return f"about {format_duration(total_seconds(prepared))}"


def print_points(
    spec: RunSpec,
    axes: Sequence[Axis],
    found: Sequence[Point],
    prepared: Sequence[Prepared],
    console: Console,
    *,
    alpha_follows: bool,
) -> None:
    """The runs that there will be, and what is worth knowing about them all."""
    head = ("RUN", *(_column(axis.path) for axis in axes), "PARAMETERS", "MEMORY", "TIME", "")
    rows = []
    for point, one in zip(found, prepared, strict=True):
        plan = one.plan
        rows.append(
            (
                point.spec.output.name,
                *(_cell(point.values[axis.path]) for axis in axes),
                format_count(plan.parameters.trainable) if plan.parameters else "",
                format_bytes(plan.memory.peak_bytes) if plan.memory else "",
                format_duration(plan.duration.seconds) if plan.duration else "",
                "" if plan.can_start else "does not fit now",
            )
        )
    _print_rows(head, rows, console)
    console.line()
    console.line(f"{len(found)} runs, {total_words(prepared)} together, each with the seed {spec.training.seed}.")
    if alpha_follows and alpha_would_follow(spec, axes):
        times = spec.adapter.alpha / spec.adapter.rank
        console.line(f"Alpha follows the rank: it is {times:g} times as large. Keep it with --keep-alpha.")
    if any(axis.path == "training.seed" for axis in axes):
        console.line("The seed is varied, so the runs differ in the order of their rows and in those held back, too.")
    if any(not one.plan.can_start for one in prepared):
        console.line("What does not fit now is looked at again when its turn comes, and left out if it still does not.")


def print_made(group: Group, console: Console, *, started: bool) -> None:
    """Where the runs are, and what comes next."""
    console.line()
    console.line(f"The sweep “{group.name}” is in the queue{', which is at work' if started else ''}.")
    call = program()
    commands = [] if started else [(f"{call} queue start", "train them one after another")]
    print_commands(
        console,
        [*commands, (f"{call} queue", "see the queue"), (f"{call} sweep show {group.name}", "compare the runs")],
    )


def print_groups(groups: Sequence[Group], console: Console) -> None:
    """The sweeps there are."""
    if not groups:
        console.line("There are no sweeps yet.")
        print_commands(console, [(f"{program()} sweep SPEC.yaml --vary adapter.rank=8,16,32 --start", "make one")])
        return
    rows = [
        (
            group.name,
            str(len(group.members)),
            ", ".join(group.paths),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(group.created)),
        )
        for group in groups
    ]
    _print_rows(("SWEEP", "RUNS", "VARIED", "MADE"), rows, console)


def print_table(group: Group, rows: Sequence[SweepRow], console: Console) -> None:
    """What each run found out; the best one has a mark."""
    best = best_row(rows)
    head = (
        "", "RUN", *(_column(path) for path in group.paths), "STATUS", "PARAMETERS", "LOSS", "VALIDATION", "BEST",
        "TOKENS/S", "MEMORY", "TIME",
    )  # fmt: skip
    table = [
        (
            _MARK if row is best else "",
            row.run.name,
            *(_cell(row.values.get(path)) for path in group.paths),
            row.run.status,
            format_count(row.trainable) if row.trainable else "",
            _loss(row.loss),
            _loss(row.validation_loss),
            _loss(row.best_validation_loss),
            f"{row.tokens_per_second:,.0f}" if row.tokens_per_second else "",
            format_bytes(row.memory_bytes) if row.memory_bytes else "",
            format_duration(row.seconds) if row.seconds else "",
        )
        for row in rows
    ]
    console.line(console.bold(group.name))
    _print_rows(head, table, console)
    gone = len(group.members) - len(rows)
    if gone:
        console.line(f"{gone} of its {len(group.members)} runs are no longer there.")
    if best is not None:
        by = "validation loss" if best.best_validation_loss is not None else "training loss of its last steps"
        console.line()
        console.line(f"“{best.run.name}” has the lowest {by}: {described(best.values)}.")


def sweep_record(group: Group, rows: Sequence[SweepRow]) -> dict[str, Any]:
    """A sweep for programs."""
    best = best_row(rows)
    return {
        "group": group.name,
        "created": group.created,
        "paths": list(group.paths),
        "best": best.run.name if best is not None else None,
        "runs": [
            {
                "run": row.run.name,
                "folder": str(row.run.path),
                "status": row.run.status,
                "values": {path: plain_value(value) for path, value in row.values.items()},
                "trainable": row.trainable,
                "loss": to_plain(row.loss),
                "validation_loss": to_plain(row.validation_loss),
                "best_validation_loss": to_plain(row.best_validation_loss),
                "tokens_per_second": to_plain(row.tokens_per_second),
                "memory_peak_bytes": row.memory_bytes,
                "seconds": row.seconds,
            }
            for row in rows
        ],
    }


def draw_curves(group: Group, rows: Sequence[SweepRow], path: Path, console: Console) -> None:
    """Draws the loss curves of a sweep over each other.

    Raises:
        UserError: there is nothing to draw yet, or the file cannot be written.
    """
    from core.export.curve import draw_curves_over

    if path.suffix.lower() != ".png":
        raise UserError(error("--curve", f"{path.name} is not the name of a PNG file.", "Let it end in “.png”."))
    try:
        draw_curves_over([(described(row.values), row.state) for row in rows], path.absolute(), title=group.name)
    except ValueError:
        message = f"No run of the sweep “{group.name}” has a loss to draw yet."
        raise UserError(error("--curve", message, "Wait for its first step."), exit_code=ExitCode.FAILED) from None
    except OSError as failure:
        message = f"The curves could not be written to {path.absolute()}: {failure.strerror or failure}."
        raise UserError(error("--curve", message, "Choose another place."), exit_code=ExitCode.FAILED) from failure
    console.line(f"The loss curves are in {path.absolute()}.")


def _column(path: str) -> str:
    return field_at(path).name.replace("_", " ").upper()


def _cell(value: object) -> str:
    plain = plain_value(value)
    if isinstance(plain, float):
        return f"{plain:g}"
    return ", ".join(map(str, plain)) if isinstance(plain, list) else str(plain)


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], console: Console) -> None:
    title, *lines = map(joined, columns((head, *rows)))
    console.line(console.bold(title))
    console.lines(lines)
