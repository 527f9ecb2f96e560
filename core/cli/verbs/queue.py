"""``lowrank queue``: runs one after another, such as over night."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from core.cli.console import Console
from core.cli.spec_options import add_change_arguments, change_spec
from core.errors import ExitCode, UserError, error

if TYPE_CHECKING:
    from core.runs.layout import RunFolder
    from core.runs.queue import Move

ACTIONS = ("list", "add", "move", "remove", "start", "pause", "stop")
_PLACES = {"first": "first", "front": "first", "up": "up", "down": "down", "last": "last", "end": "last"}
_SPEC_ENDINGS = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=ACTIONS,
        metavar="ACTION",
        help="“list” (the usual one); “add SPEC|RUN …”; “move RUN first|up|down|last”; “remove RUN …”; “start”; "
        "“pause”: the present run saves and ends, and goes on with the next start; “stop”: after the present run",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="settings files, or runs by name, folder or number")
    parser.add_argument("--first", action="store_true", help="with “add”: before all others that wait")
    parser.add_argument("--start", action="store_true", help="with “add”: start the queue as well")
    parser.add_argument("--ended", action="store_true", help="with “remove”: all runs that have ended")
    add_change_arguments(parser)


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Does what the action says, and prints the queue."""
    from core.cli.queue_report import print_queue, queue_record
    from core.runs.history import summarise
    from core.runs.queue import read_queue
    from core.runs.queueing import hold_queue, start_queue

    if options.action in ("list", "start", "pause", "stop") and options.names:
        message = f"“queue {options.action}” takes no names, but found “{options.names[0]}”."
        raise UserError(error("", message, "“lowrank queue --help” explains it."))
    if options.action == "add":
        _add(options, console)
        if options.start:
            start_queue()
    elif options.action == "move":
        _move(options)
    elif options.action == "remove":
        _remove(options)
    elif options.action == "start":
        start_queue()
    elif options.action in ("pause", "stop"):
        hold_queue(options.action)
    queue = read_queue()
    runs = [summarise(entry.folder) for entry in queue.entries]
    print_queue(queue, runs, console)
    console.result(queue_record(queue, runs))
    return ExitCode.DONE


def _add(options: argparse.Namespace, console: Console) -> None:
    from core.runs.queueing import add_runs

    if not options.names:
        raise UserError(error("", "Nothing is named that could be added.", "Name settings files or runs."))
    folders = [_folder_of(name, options, console) for name in options.names]
    add_runs(folders, first=options.first)


def _folder_of(name: str, options: argparse.Namespace, console: Console) -> "RunFolder":
    """The run that is named, or a new one with the settings of the file that is named."""
    from core.cli.plan_report import print_short_plan
    from core.cli.preparing import prepare_spec
    from core.runs.queueing import require_plannable
    from core.runs.store import create_run, find_run
    from core.spec.codec import read_spec

    if not name.lower().endswith(_SPEC_ENDINGS) and not Path(name).expanduser().is_file():
        if options.preset or options.assignments:
            message = f"The settings of the run “{name}” stand already."
            raise UserError(error("", message, "Leave --preset and --set out, or name a settings file."))
        return find_run(name)
    prepared = prepare_spec(change_spec(read_spec(Path(name).expanduser()), options), console)
    require_plannable(prepared.plan)
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    console.line(f"Added “{folder.path.name}” in {folder.path}.")
    print_short_plan(console, prepared.spec, prepared.facts, prepared.plan)
    console.problems(prepared.plan.problems, to_errors=False)
    if not prepared.plan.can_start:
        console.line(
            "It does not fit now. It is looked at again when its turn comes, and left out if it still does not."
        )
    return folder


def _move(options: argparse.Namespace) -> None:
    from core.runs.queue import change_queue

    if len(options.names) != 2 or options.names[1] not in _PLACES:
        advice = "Write for example “lowrank queue move RUN first”; the places are first, up, down and last."
        raise UserError(error("", "“queue move” takes a run and where it goes.", advice))
    name, move = options.names[0], cast("Move", _PLACES[options.names[1]])
    change_queue(lambda queue: queue.moved(queue.find(name).path, move))


def _remove(options: argparse.Namespace) -> None:
    from core.runs.queue import Queue, change_queue

    if not options.names and not options.ended:
        raise UserError(error("", "No run is named.", "Name runs, or all that have ended with --ended."))

    def remove(queue: Queue) -> Queue:
        for path in [queue.find(name).path for name in options.names]:
            queue = queue.without(path)
        return queue.without_ended() if options.ended else queue

    change_queue(remove)
