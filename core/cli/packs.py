"""What ``lowrank pack`` and ``lowrank unpack`` have in common: the list of what is in a pack, and the progress line."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.progress import bar
from core.units import format_bytes

if TYPE_CHECKING:
    from core.hub.pack.copying import OnProgress
    from core.hub.pack.manifest import PackedItem


def print_items(items: Iterable["PackedItem"], console: Console, remarks: Mapping[str, str]) -> None:
    """A line for each model or data set; ``remarks`` says something about some of them, by name."""
    items = tuple(items)
    width = max((len(item.name) for item in items), default=0)
    for item in items:
        count = f"{len(item.files)} file{'s' if len(item.files) > 1 else ''}"
        pieces = [format_bytes(item.bytes), count, item.licence, remarks.get(item.name, "")]
        words = ", ".join(piece for piece in pieces if piece)
        console.paragraph(words, " " * (width + 2), f"{console.bold(item.name.ljust(width))}  ")


@contextmanager
def following(console: Console, afterwards: str) -> Iterator["OnProgress"]:
    """Shows how far the block is; ``afterwards`` says what is so when Ctrl+C ends it."""

    def report(done: int, total: int, words: str) -> None:
        share = done / total if total else 1.0
        console.progress(f"{bar(share)} {share:4.0%}  {format_bytes(done)} of {format_bytes(total)}  {words}")

    try:
        yield report
    except KeyboardInterrupt:
        console.end_progress()
        console.line(afterwards)
        raise
    finally:
        console.end_progress()
