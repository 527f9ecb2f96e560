"""Rows from running text: paragraphs, lines, whole files, or what stands between separators."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core.data.packed import OnBytes
from core.data.source import MAX_LINE_BYTES, Source, decode, lines, too_long
from core.data.types import Row
from core.errors import Problem

Unit = Literal["paragraphs", "lines", "file", "separator"]


@dataclass(frozen=True, slots=True)
class TextCut:
    """What a row of a text file is; ``separator`` is what stands between two of them, where that decides."""

    unit: Unit = "paragraphs"
    separator: str = ""


def read_text(source: Source, cut: TextCut, *, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """The rows of a text file; each knows the line it begins on. Blank rows are passed over.

    Raises:
        UserError: the file cannot be read.
    """
    if cut.unit == "separator":
        return _between(source, cut.separator, on_bytes)
    return _blocks(source, cut.unit, on_bytes)


def _blocks(source: Source, unit: Unit, on_bytes: OnBytes | None) -> Iterator[Row | Problem]:
    name = {"paragraphs": "paragraph", "lines": "line"}.get(unit, "text")
    block = _Block(source, name)
    for line in lines(source, on_bytes=on_bytes):
        text = too_long(source.path, line.number, "line") if line.too_long else decode(source, line)
        if isinstance(text, Problem):
            yield text
            continue
        if text.strip() or unit == "file":
            block.add(text, line.number, len(line.data))
        ends = block.is_full or unit == "lines" or (unit == "paragraphs" and not text.strip())
        if ends and (row := block.take()):
            yield row
    if row := block.take():
        yield row


class _Block:
    """Lines that make up one row."""

    def __init__(self, source: Source, name: str) -> None:
        self._source, self._name = source, name
        self._held: list[str] = []
        self._start, self._size = 1, 0

    @property
    def is_full(self) -> bool:
        return self._size > MAX_LINE_BYTES

    def add(self, text: str, number: int, size: int) -> None:
        if not self._held:
            if not text.strip():
                return
            self._start = number
        self._held.append(text)
        self._size += size

    def take(self) -> Row | Problem | None:
        """The row, and an empty block."""
        held, full = self._held, self.is_full
        self._held, self._size = [], 0
        if full:
            return too_long(self._source.path, self._start, self._name)
        text = "".join(held)
        if self._name == "text":
            text = text.rstrip()
        return Row(str(self._source.path), self._start, {"text": text.strip("\r\n")}) if text.strip() else None


def _between(source: Source, separator: str, on_bytes: OnBytes | None) -> Iterator[Row | Problem]:
    """What stands between two separators. The file counts as if it began and ended with a line break."""
    held, number = "\n", 0
    overflow = False
    path = source.path
    for line in lines(source, on_bytes=on_bytes):
        text = too_long(path, line.number, "line") if line.too_long else decode(source, line)
        if isinstance(text, Problem):
            yield text
            continue
        held += text.replace("\r\n", "\n")
        # A separator may span lines, so the text is searched again from where a beginning of it may stand.
        *whole, rest = held.split(separator) if separator in held else (held,)
        for piece in whole:
            if overflow:
                yield too_long(path, number + 1, "text between two separators")
            elif piece.strip():
                yield _piece(source, piece, number)
            number += (piece + separator).count("\n")
            overflow = False
        held = rest
        if len(held) > MAX_LINE_BYTES:
            kept = held[-len(separator) :]
            number += held.count("\n") - kept.count("\n")
            held, overflow = kept, True
    held = held if held.endswith("\n") else f"{held}\n"
    for piece in held.split(separator):
        if overflow:
            yield too_long(path, number + 1, "text between two separators")
        elif piece.strip():
            yield _piece(source, piece, number)
        number += (piece + separator).count("\n")
        overflow = False


def _piece(source: Source, piece: str, number: int) -> Row:
    blank = piece[: len(piece) - len(piece.lstrip())].count("\n")
    return Row(str(source.path), max(1, number + blank), {"text": piece.strip("\r\n")})
