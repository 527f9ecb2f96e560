"""``lowrank pack``: puts models and data sets into a folder that one copies to a computer without a network."""

import argparse
from pathlib import Path

from core.cli.console import Console
from core.cli.packs import following, print_items
from core.errors import ExitCode
from core.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a model on this computer by its name or folder, or a data set of the hub that is here (hf:owner/name)",
    )
    parser.add_argument(
        "--to",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="the pack: a new or empty folder, or one made before, to add to it or to go on with it",
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Copies what is named into the pack; what is in it already stays as it is."""
    from core.hub.pack.making import make_pack, plan_making
    from core.records import to_plain

    making = plan_making(options.to, options.models)
    if making.fresh:
        size = format_bytes(sum(source.bytes for source in making.fresh))
        console.line(f"{size} go into {making.pack.folder}; {format_bytes(making.room.free)} are free there.")
    with following(console, "What is whole in the pack is kept; the same command goes on from there.") as report:
        pack = make_pack(making, report)
    fresh = frozenset(source.name for source in making.fresh)
    print_items(pack.items, console, {item.name: "" if item.name in fresh else "was there" for item in pack.items})
    console.line(f"The pack is whole: {format_bytes(pack.bytes)} in {pack.folder}.")
    console.line("Copy the folder, and on the other computer say: lowrank unpack FOLDER")
    console.result({"folder": str(pack.folder), "bytes": pack.bytes, "items": [to_plain(item) for item in pack.items]})
    return ExitCode.DONE
