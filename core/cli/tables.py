"""Tables of plain text."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The same cells, each filled up to the widest of its column, so that they can be coloured and joined."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]


def joined(cells: Sequence[str]) -> str:
    """A row of `columns` as a line."""
    return "  ".join(cells).rstrip()
