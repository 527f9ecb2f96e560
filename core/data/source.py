"""Bytes of a data file as clean lines: opened, unpacked, freed of byte order marks, bounded in memory."""

import codecs
import difflib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.data.encodings import BOMS, guess_encoding, legacy_text
from core.data.packed import BrokenFileError, OnBytes, Packing, byte_chunks, packing_of, unreadable
from core.errors import Edit, Fix, Problem, UserError, error
from core.spec.hub_data import PREFIX, could_be_hub_data
from core.units import MIB, format_bytes

MAX_LINE_BYTES = 8 * MIB
"""A longer line is reported, not read: no row of a training set is that long, and no model reads so much at once. (The
longest row that a spec may ask for has 1,048,576 tokens, some 4 MiB; a row of 8 MiB takes 0.6 to 1.3 GB of memory while
it becomes tokens, as measured with SmolLM2's tokenizer.)"""

_JUDGED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Source:
    """A file as a text: where it is, how it is packed, and how its bytes are read.

    Attributes:
        encoding: “utf-8”, or “utf-16-le” and “utf-16-be” where no byte order mark says so.
        fallback: what Python calls the encoding of the lines that are no UTF-8; empty where they are a mistake.
        bare_returns: its lines end with a carriage return alone, as on a Mac before 2001; they are read as line breaks.
    """

    path: Path
    packing: Packing = ""
    encoding: str = "utf-8"
    fallback: str = ""
    bare_returns: bool = False


class Line(NamedTuple):
    """One line of a file; a tuple, because a file may have millions of empty ones.

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
            raise UserError(error(str(path), "This is a folder, not a file.", "Name a file inside it."))
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


def _missing_problem(path: Path) -> Problem:
    try:
        names = [item.name for item in path.parent.iterdir() if item.is_file()]
    except OSError:
        return error(str(path), "There is no such file; its folder cannot be read either.", _check_or_hub(path))
    by_stem = [name for name in names if Path(name).stem == path.stem]
    close = by_stem or difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    advice = f"Did you mean “{path.parent / close[0]}”?" if close else "Check the path."
    return error(str(path), "There is no such file.", advice)


def _check_or_hub(path: Path) -> str:
    name = "/".join(path.parts[-2:])
    if path.suffix.lower() in (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt") or not could_be_hub_data(name):
        return "Check the path."
    return f"Check the path; for the data set of that name on the Hugging Face Hub, write {PREFIX}{name}."


def read_head(path: Path, size: int = 64 * 1024) -> tuple[bytes, Packing]:
    """The first bytes of a file, unpacked if it is an archive of one file, and how it is packed.

    Raises:
        UserError: the file cannot be read or unpacked.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(size)
    except OSError as failure:
        raise UserError(unreadable(path, failure)) from failure
    packing = packing_of(head)
    if not packing:
        return head, ""
    pieces: list[bytes] = []
    for piece in byte_chunks(path, packing):
        pieces.append(piece)
        if sum(map(len, pieces)) >= size:
            break
    return b"".join(pieces)[:size], packing


def utf8_chunks(source: Source, *, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    """The text of a file as UTF-8 without byte order mark. UTF-16 is converted; other bytes are passed on as they are.

    Raises:
        UserError: the file cannot be read, or its UTF-16 is broken.
    """
    chunks = _plain_chunks(source, on_bytes)
    return (chunk.replace(b"\r", b"\n") for chunk in chunks) if source.bare_returns else chunks


def _plain_chunks(source: Source, on_bytes: OnBytes | None) -> Iterator[bytes]:
    pieces = byte_chunks(source.path, source.packing, on_bytes=on_bytes)
    first = next(pieces, b"")
    while len(first) < 4 and (more := next(pieces, b"")):
        first += more
    announced = next((codec for mark, codec in BOMS if first.startswith(mark)), "")
    if announced == "utf-32":
        raise UserError(error(str(source.path), "The file is in UTF-32.", "Save it as UTF-8."))
    if announced == "utf-16" or (not announced and source.encoding.startswith("utf-16")):
        yield from _from_utf16(source.path, announced or source.encoding, first, pieces)
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _from_utf16(path: Path, codec: str, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)()
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
        raise BrokenFileError(error(str(path), message, "Save it again as UTF-8.")) from failure


def lines(source: Source, *, on_bytes: OnBytes | None = None) -> Iterator[Line]:
    """The lines of a text file, never more than one of them in memory.

    Raises:
        UserError: the file cannot be read.
    """
    number, offset, overflow = 1, 0, 0
    parts: list[bytes] = []
    held = 0
    for chunk in utf8_chunks(source, on_bytes=on_bytes):
        position = 0
        while position < len(chunk):
            end = chunk.find(b"\n", position) + 1
            piece = chunk[position : end or len(chunk)]
            position += len(piece)
            if end and not held and not overflow and len(piece) <= MAX_LINE_BYTES:
                yield Line(number, offset, piece)
                offset += len(piece)
                number += 1
                continue
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


def decode(source: Source, line: Line) -> str | Problem:
    """The text of a line, or what is wrong with its bytes."""
    try:
        text = line.data.decode("utf-8")
    except UnicodeDecodeError as failure:
        found = _legacy(source, line, failure.start)
        if isinstance(found, Problem):
            return found
        text = found
    if "\0" in text:
        place = line.offset + max(0, line.data.find(0))
        message = f"The line contains a NUL byte (at byte {place}), so the file is damaged."
        return error(f"{source.path}:{line.number}", message, "Write the file again from its source, as UTF-8 text.")
    return text


def _legacy(source: Source, line: Line, start: int) -> str | Problem:
    if not source.fallback:
        return not_utf8(source.path, line.number, line.offset, line.data, start)
    try:
        return legacy_text(line.data, source.fallback)
    except UnicodeDecodeError as failure:
        return wrong_encoding(source, line.number, line.offset + failure.start)


def wrong_encoding(source: Source, line: int, offset: int) -> Problem:
    """What to say where bytes are not in the encoding that was stated or found."""
    message = f"The bytes (from byte {offset} on) are neither UTF-8 nor {source.fallback}."
    return error(f"{source.path}:{line}", message, "Set data.encoding to what the file is in, or save it as UTF-8.")


def not_utf8(path: Path, line: int, offset: int, data: bytes, start: int) -> Problem:
    """Names the first byte that is not UTF-8, and the encoding that is likely meant."""
    if _ends_inside_a_character(data[start:]):
        message = f"The text ends inside a character of UTF-8 (at byte {offset + start}): the file seems to be cut off."
        return error(f"{path}:{line}", message, "Copy or download the file again.")
    sample = data[max(0, start - _JUDGED_BYTES) : start + _JUDGED_BYTES]
    choice = guess_encoding(sample)
    named = "another encoding"
    if choice == "windows_1252":
        named = "Windows-1252" if any(0x80 <= item < 0xA0 for item in sample) else "Latin-1"
    elif choice:
        named = choice.replace("_", "-")
    message = f"The byte 0x{data[start]:02X} (at byte {offset + start}) is not UTF-8; "
    message += f"the file is probably in {named}."
    advice = "Save it as UTF-8, in a spreadsheet as “CSV UTF-8”, and choose it again."
    if not choice:
        return error(f"{path}:{line}", message, advice)
    advice = f"Set data.encoding to “{choice}”, or save the file as UTF-8."
    return error(f"{path}:{line}", message, advice, Fix(f"Read it as {named}", (Edit("data.encoding", choice),)))


def _ends_inside_a_character(rest: bytes) -> bool:
    try:
        rest.decode("utf-8")
    except UnicodeDecodeError as failure:
        return failure.reason == "unexpected end of data" and failure.start == 0
    return False


def elide(text: str, width: int = 60) -> str:
    """The beginning of a text on one line, for quoting it in a sentence; halves of character pairs become “?”."""
    flat = " ".join(text[: 4 * width].encode("utf-8", "replace").decode().split())
    return flat if len(flat) <= width and len(text) <= 4 * width else flat[: width - 1].rstrip() + "…"
