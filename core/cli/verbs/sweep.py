"""``lowrank sweep``: a group of runs that differ in some settings, made, queued and compared."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.spec_options import add_spec_arguments, read_spec_options
from core.errors import ExitCode, Severity, UserError, error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.runs.prepare import Prepared
    from core.runs.sweep import Axis, Point
    from core.spec.run_spec import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.usage = (
        "lowrank sweep SPEC --vary PATH=VALUE,VALUE … [--start]\n       lowrank sweep show GROUP\n       "
        "lowrank sweep list"
    )
    add_spec_arguments(parser)
    parser.add_argument("group", nargs="?", metavar="GROUP", help="with “show”: name of the sweep, or “last”")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="PATH=VALUE,VALUE",
        help="a setting and its values, such as adapter.rank=8,16,32; may be repeated, every value meets every other",
    )
    parser.add_argument("--keep-alpha", action="store_true", help="a varied rank does not take alpha with it")
    parser.add_argument("--start", action="store_true", help="start the queue as well")
    parser.add_argument("--dry-run", action="store_true", help="only say which runs there would be, and how long")
    parser.add_argument("--curve", metavar="FILE.png", help="with “show”: also draw all loss curves over each other")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Makes a sweep and puts its runs into the queue, or shows one."""
    if options.spec == "list" and options.group is None and not options.vary:
        return _list(console)
    if options.spec == "show":
        return _show(options, console)
    if options.group is not None:
        raise UserError(
            error("", f"“{options.group}” is one argument too many.", "“lowrank sweep --help” explains it.")
        )
    return _make(options, console)


def _make(options: argparse.Namespace, console: Console) -> ExitCode:
    import time

    from core.cli.sweep_report import print_made, print_points
    from core.runs.queueing import add_runs, start_queue
    from core.runs.sweep import points, read_axes
    from core.runs.sweep_groups import create_group, group_name

    if not options.vary:
        message = "Nothing is varied, so there would be one run."
        raise UserError(error("", message, "Write for example --vary adapter.rank=8,16,32."))
    spec, axes = read_spec_options(options), read_axes(options.vary)
    name = group_name(spec, time.localtime())
    found = points(spec, axes, name, alpha_follows=not options.keep_alpha)
    prepared = _prepare(spec, found, console)
    _require_few(found, prepared, sure=options.yes or options.dry_run)
    print_points(spec, axes, found, prepared, console, alpha_follows=not options.keep_alpha)
    told = {problem: None for one in prepared for problem in one.plan.problems if problem.severity is Severity.WARNING}
    console.problems(told, to_errors=False)
    if options.dry_run:
        console.result(_record(name, None, axes, found, prepared))
        return ExitCode.DONE
    group = create_group(name, found, prepared)
    add_runs([member.folder for member in group.members], group=name)
    if options.start:
        start_queue()
    print_made(group, console, started=options.start)
    console.result(_record(name, [str(member.path) for member in group.members], axes, found, prepared))
    return ExitCode.DONE


def _prepare(spec: "RunSpec", found: "Sequence[Point]", console: Console) -> "tuple[Prepared, ...]":
    from core.cli.hub import fetch_hub_data
    from core.cli.preparing import telling
    from core.runs.sweep import prepare_points

    fetch_hub_data(spec.data, console)
    with telling(console) as report:
        return prepare_points(found, on_progress=report)


def _require_few(found: "Sequence[Point]", prepared: "Sequence[Prepared]", *, sure: bool) -> None:
    from core.cli.sweep_report import total_words
    from core.runs.sweep import MANY_RUNS

    if len(found) > MANY_RUNS and not sure:
        message = f"These values make {len(found)} runs, {total_words(prepared)} together."
        raise UserError(error("", message, "Add --yes to make them all the same, or leave out some values."))


def _record(
    name: str,
    folders: list[str] | None,
    axes: "Sequence[Axis]",
    found: "Sequence[Point]",
    prepared: "Sequence[Prepared]",
) -> dict[str, object]:
    from core.cli.sweep_report import total_seconds
    from core.spec.values import to_plain

    runs = []
    for index, (point, one) in enumerate(zip(found, prepared, strict=True)):
        plan = one.plan
        runs.append(
            {
                "run": Path(folders[index]).name if folders else point.spec.output.name,
                "folder": folders[index] if folders else None,
                "values": {path: to_plain(value) for path, value in point.values.items()},
                "fits": plan.can_start,
                "trainable": plan.parameters.trainable if plan.parameters else None,
                "seconds": plan.duration.seconds if plan.duration else None,
                "memory_bytes": plan.memory.peak_bytes if plan.memory else None,
            }
        )
    return {"group": name, "paths": [axis.path for axis in axes], "seconds": total_seconds(prepared), "runs": runs}


def _list(console: Console) -> ExitCode:
    from core.cli.sweep_report import print_groups
    from core.records import to_plain
    from core.runs.sweep_groups import list_groups

    groups = list_groups()
    print_groups(groups, console)
    console.result(
        {
            "groups": [
                {
                    "group": group.name,
                    "created": group.created,
                    "paths": list(group.paths),
                    "runs": [to_plain(member.path) for member in group.members],
                }
                for group in groups
            ]
        }
    )
    return ExitCode.DONE


def _show(options: argparse.Namespace, console: Console) -> ExitCode:
    from core.cli.sweep_report import print_table, sweep_record
    from core.runs.sweep_groups import find_group
    from core.runs.sweep_table import read_rows

    group = find_group(options.group or "last")
    rows = read_rows(group)
    if options.curve:
        from core.cli.sweep_report import draw_curves

        draw_curves(group, rows, Path(options.curve).expanduser(), console)
    print_table(group, rows, console)
    console.result({**sweep_record(group, rows), "curve": options.curve})
    return ExitCode.DONE
