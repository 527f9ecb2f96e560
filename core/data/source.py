"""Bytes of a data file as clean lines: opened, unpacked, freed of byte order marks, bounded in memory."""

import codecs
import difflib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import Problem, UserError, error
from core.units import MIB, format_bytes

MAX_LINE_BYTES = 32 * MIB
"""A longer line is reported, not read: no row of a training set is that long."""

_CHUNK_BYTES = 256 * 1024
_SHOWN_NAMES = 5
_GZIP = b"\x1f\x8b"

OnBytes = Callable[[int], None]
"""Told how many bytes of the file on disk have been read so far."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        number: counted from 1.
        offset: where it starts, in bytes of the text as UTF-8.
        data: its bytes, line end included; only the beginning if it was too long.
        too_long: it has more than `MAX_LINE_BYTES`.
    """

    number: int
    offset: int
    data: bytes
    too_long: bool = False


def check_file(path: Path) -> int:
    """The size of a regular, readable, non-empty file.

    Raises:
        UserError: it is none; the sentence says what it is instead and what may have been meant.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UserError(_folder_problem(path))
        if not stat.S_ISREG(found.st_mode):
            raise UserError(error(str(path), "This is a device or a pipe, not a file.", "Name a regular file."))
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(_missing_problem(path)) from None
    except PermissionError:
        advice = "Change its permissions or copy it to a place that you may read."
        raise UserError(error(str(path), "You have no permission to read this file.", advice)) from None
    except (OSError, ValueError) as failure:
        raise UserError(unreadable(path, failure)) from failure
    if found.st_size == 0:
        raise UserError(error(str(path), "The file is empty.", "Choose a file with at least one row."))
    return found.st_size


def unreadable(path: Path, failure: Exception) -> Problem:
    """What to say when the system refuses to read a file that is there."""
    reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    return error(str(path), f"The file cannot be read: {reason}.", "Check the path and the disk it lies on.")


def _missing_problem(path: Path) -> Problem:
    try:
        names = [item.name for item in path.parent.iterdir() if item.is_file()]
    except OSError:
        return error(str(path), "There is no such file; its folder cannot be read either.", "Check the path.")
    by_stem = [name for name in names if Path(name).stem == path.stem]
    close = by_stem or difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    advice = f"Did you mean “{path.parent / close[0]}”?" if close else "Check the path."
    return error(str(path), "There is no such file.", advice)


def _folder_problem(path: Path) -> Problem:
    try:
        names = sorted(item.name for item in path.iterdir() if item.is_file() and not item.name.startswith("."))
    except OSError:
        names = []
    shown = ", ".join(f"“{name}”" for name in names[:_SHOWN_NAMES])
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    holds = f" It holds {shown}{more}." if names else ""
    return error(str(path), f"This is a folder, not a file.{holds}", "Name the data files inside it.")


def read_head(path: Path, size: int = 64 * 1024) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked if it is a gzip file, and whether it is one.

    Raises:
        UserError: the file cannot be read or unpacked.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(size)
    except OSError as failure:
        raise UserError(unreadable(path, failure)) from failure
    if not head.startswith(_GZIP):
        return head, False
    pieces: list[bytes] = []
    for piece in byte_chunks(path, compressed=True):
        pieces.append(piece)
        if sum(map(len, pieces)) >= size:
            break
    return b"".join(pieces)[:size], True


def byte_chunks(path: Path, *, compressed: bool, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    """The content of a file, unpacked, piece by piece.

    Raises:
        UserError: the file cannot be read, or the archive is damaged.
    """
    import gzip
    import zlib

    try:
        with path.open("rb") as raw:
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if compressed else raw  # type: ignore[assignment]  # typeshed: GzipFile is no IO[bytes]
            while piece := stream.read(_CHUNK_BYTES):
                if on_bytes:
                    on_bytes(raw.tell())
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        message = f"The gzip archive is damaged or cut off: {failure}."
        raise UserError(error(str(path), message, "Copy or download the file again.")) from failure
    except OSError as failure:
        raise UserError(unreadable(path, failure)) from failure


def utf8_chunks(path: Path, *, compressed: bool, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    """The text of a file as UTF-8 without byte order mark. UTF-16 is converted; invalid UTF-8 is passed on as it is.

    Raises:
        UserError: the file cannot be read, or its UTF-16 is broken.
    """
    pieces = byte_chunks(path, compressed=compressed, on_bytes=on_bytes)
    first = next(pieces, b"")
    while len(first) < 4 and (more := next(pieces, b"")):
        first += more
    if first.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise UserError(error(str(path), "The file is in UTF-32.", "Save it as UTF-8."))
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from _from_utf16(path, first, pieces)
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _from_utf16(path: Path, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    done = 0
    try:
        piece = first
        while piece:
            yield decoder.decode(piece).encode("utf-8")
            done += len(piece)
            piece = next(rest, b"")
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeDecodeError as failure:
        message = f"The file begins as UTF-16 but breaks off near byte {done + failure.start}."
        raise UserError(error(str(path), message, "Save it again as UTF-8.")) from failure


def lines(path: Path, *, compressed: bool, on_bytes: OnBytes | None = None) -> Iterator[Line]:
    """The lines of a text file, never more than one of them in memory.

    Raises:
        UserError: the file cannot be read.
    """
    number, offset, overflow = 1, 0, 0
    parts: list[bytes] = []
    held = 0
    for chunk in utf8_chunks(path, compressed=compressed, on_bytes=on_bytes):
        position = 0
        while position < len(chunk):
            end = chunk.find(b"\n", position) + 1
            piece = chunk[position : end or len(chunk)]
            position += len(piece)
            if held + len(piece) > MAX_LINE_BYTES:
                overflow += len(piece)
            else:
                parts.append(piece)
                held += len(piece)
            if end:
                yield Line(number, offset, b"".join(parts), too_long=overflow > 0)
                offset += held + overflow
                number, parts, held, overflow = number + 1, [], 0, 0
    if held or overflow:
        yield Line(number, offset, b"".join(parts), too_long=overflow > 0)


def too_long(path: Path, line: int, what: str) -> Problem:
    """What to say about a line that is not read at all."""
    message = f"The {what} is longer than {format_bytes(MAX_LINE_BYTES)}."
    return error(f"{path}:{line}", message, "Check that every row really ends with a line break.")


def decode(path: Path, line: Line) -> str | Problem:
    """The text of a line, or what is wrong with its bytes."""
    try:
        text = line.data.decode("utf-8")
    except UnicodeDecodeError as failure:
        return not_utf8(path, line.number, line.offset, line.data, failure.start)
    if "\0" in text:
        message = f"The line contains a NUL byte (at byte {line.offset + line.data.index(0)}), so the file is damaged."
        return error(f"{path}:{line.number}", message, "Write the file again from its source, as UTF-8 text.")
    return text


def not_utf8(path: Path, line: int, offset: int, data: bytes, start: int) -> Problem:
    """Names the first byte that is not UTF-8, and the encoding that is likely meant."""
    byte = data[start]
    # Western languages have an accent here and there; a text that is full of high bytes is something else.
    western = sum(1 for item in data if item >= 0x80) * 2 < len(data)
    guess = "another encoding"
    if western:
        guess = "Windows-1252" if 0x80 <= byte < 0xA0 else "Latin-1"
    message = f"The byte 0x{byte:02X} (at byte {offset + start}) is not UTF-8; the file is probably in {guess}."
    advice = "Save it as UTF-8, in a spreadsheet as “CSV UTF-8”, and choose it again."
    return error(f"{path}:{line}", message, advice)


def elide(text: str, width: int = 60) -> str:
    """The beginning of a text on one line, for quoting it in a sentence."""
    flat = " ".join(text[: 4 * width].split())
    return flat if len(flat) <= width and len(text) <= 4 * width else flat[: width - 1].rstrip() + "…"
