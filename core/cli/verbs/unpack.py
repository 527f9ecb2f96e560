"""``lowrank unpack``: takes in the models and data sets of an offline pack."""

import argparse
from pathlib import Path

from core.cli.console import Console
from core.cli.packs import following, print_items
from core.errors import ExitCode, UserError
from core.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the pack, or a copy of it")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="only these of it; everything if left out")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--list", action="store_true", help="only say what is in it")
    only.add_argument("--check", action="store_true", help="only compare every file with what was packed")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Copies what is not here yet; nothing is overwritten, and nothing is believed without its hash."""
    from core.hub.pack.manifest import read_pack
    from core.hub.pack.taking import check_pack, plan_taking, take_pack
    from core.records import to_plain

    pack = read_pack(options.folder)
    taking = plan_taking(pack, options.models)
    if options.list:
        print_items(taking.items, console, dict.fromkeys(taking.is_here, "is here"))
        console.result({"folder": str(pack.folder), "items": [to_plain(item) for item in taking.items]})
        return ExitCode.DONE
    if options.check:
        with following(console, "Nothing was changed.") as report:
            problems = check_pack(pack, options.models, report)
        if problems:
            raise UserError(*problems, exit_code=ExitCode.FAILED)
        console.line(f"Every file of the pack is what was packed: {format_bytes(pack.bytes)} in {pack.folder}.")
        console.result({"folder": str(pack.folder), "ok": True})
        return ExitCode.DONE
    if taking.bytes and not taking.problems:
        console.line(f"{format_bytes(taking.bytes)} are to be copied; {format_bytes(taking.free)} are free.")
    with following(console, "What is whole by now is kept; the same command goes on from there.") as report:
        taken = take_pack(taking, report)
    for entry, item in zip(taken, taking.items, strict=True):
        setting = "data.train" if item.kind == "hub data" else "model.base"
        extra = "" if entry.is_newest or item.kind == "hub data" else f" --set model.revision={item.commit[:12]}"
        words = "was here already" if entry.was_here else "is here now"
        console.line(f"“{entry.name}” {words}, in {entry.path}; use it with “--set {setting}={entry.name}{extra}”.")
    console.result({"items": [to_plain(entry) for entry in taken]})
    return ExitCode.DONE
