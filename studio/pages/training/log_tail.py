"""Reads the end of a log that grows, a piece at a time, as text that people can read."""

import re
from dataclasses import dataclass
from pathlib import Path

LOG_BYTES = 200_000

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


@dataclass(frozen=True, slots=True)
class Piece:
    """What has come since the last look.

    Attributes:
        text: whole lines, without colours; of a line that was written over several times only the last state.
        offset: where the next look begins.
        skipped: something between the last look and this text was left out, because it was too much.
        fresh: the log was cut or replaced; what was shown before is no longer in it.
    """

    text: str = ""
    offset: int = 0
    skipped: bool = False
    fresh: bool = False


def read_piece(path: Path, offset: int, limit: int = LOG_BYTES) -> Piece:
    """The lines after ``offset``, the last ``limit`` bytes of them at most; nothing while there is no log.

    Raises:
        OSError: the log is there and cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return Piece("", 0, fresh=offset > 0)
    with file:
        size = file.seek(0, 2)
        fresh = size < offset
        start = 0 if fresh else offset
        skipped = size - start > limit
        if skipped:
            start = size - limit
        file.seek(start)
        blob = file.read(size - start)
    end = blob.rfind(b"\n") + 1
    if skipped:
        first = blob.find(b"\n") + 1
        blob, start, end = blob[first:], start + first, end - first
    return Piece(readable(blob[:end]), start + max(0, end), skipped, fresh)


def readable(blob: bytes) -> str:
    """Bytes of a terminal as plain lines."""
    lines = blob.decode("utf-8", errors="replace").replace("\r\n", "\n").split("\n")
    return "\n".join(_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines)
