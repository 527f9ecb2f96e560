"""Rows from JSON: one value a line, or one document with a list in it. Every row knows the line it begins on."""

import codecs
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.data.source import OnBytes, decode, elide, lines, not_utf8, too_long, utf8_chunks
from core.data.types import Row
from core.errors import Problem, UserError, error
from core.units import GIB, format_bytes

_MAX_DOCUMENT_BYTES = 1 * GIB
_LIST_NAMES = ("data", "train", "rows", "examples", "samples", "items", "conversations")
_SPACE = " \t\r\n"
_EXPECTED = {
    "Expecting value": "a value was expected",
    "Expecting ',' delimiter": "a comma was expected",
    "Expecting ':' delimiter": "a colon was expected",
    "Expecting property name enclosed in double quotes": "a name in double quotes was expected",
    "Illegal trailing comma before end of object": "a name in double quotes was expected after the comma",
    "Illegal trailing comma before end of array": "a value was expected after the comma",
    "Unterminated string starting at": "the text that begins there has no closing quotation mark",
    "Invalid control character at": "a line break or control character inside a text must be written as \\n or \\u0000",
    "Invalid \\escape": "a backslash inside a text must be written as \\\\",
    "Invalid \\uXXXX escape": "\\u must be followed by four hexadecimal digits",
    "Extra data": "the row should have ended there",
}


def read_json_lines(path: Path, *, compressed: bool, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """One row for each line; blank lines are passed over, broken ones become problems.

    Raises:
        UserError: the file cannot be read.
    """
    for line in lines(path, compressed=compressed, on_bytes=on_bytes):
        if line.too_long:
            yield too_long(path, line.number, "line")
            continue
        text = decode(path, line)
        if isinstance(text, Problem):
            yield text
        elif text.strip():
            yield _line_row(path, line.number, text.rstrip("\r\n"))


def _line_row(path: Path, number: int, text: str) -> Row | Problem:
    try:
        return as_row(path, number, json.loads(text))
    except json.JSONDecodeError as failure:
        cut = failure.pos >= len(text) or failure.msg.startswith("Unterminated string")
        ends = " The line seems to be cut off." if cut else ""
        message = f"The line is not valid JSON: at column {failure.colno}, {_expected(failure)}.{ends}"
    except (ValueError, RecursionError) as failure:
        message = f"The line is not usable JSON: {_why(failure)}."
    return error(f"{path}:{number}", f"{message} It begins with “{elide(text)}”.", "Mend or remove the line.")


def read_json_document(path: Path, *, compressed: bool, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """The rows of a JSON document: of the list that it is, of the list inside it, or the one object itself.

    The whole document is held in memory, so there is a limit to its size.

    Raises:
        UserError: the file cannot be read, is not valid JSON, is too large, or holds no list of rows.
    """
    yield from _document_rows(path, _whole_text(path, compressed=compressed, on_bytes=on_bytes))


def read_json_head(
    path: Path, *, compressed: bool, most_bytes: int, on_bytes: OnBytes | None = None
) -> tuple[Iterator[Row | Problem], bool]:
    """The rows in the first bytes of a JSON document, and whether there are more bytes than those.

    The row in which the bytes end is left out. Where a longer document is an object, its first list of rows is taken,
    because nobody knows what else is in it. The rows come with the same `UserError` as from `read_json_document`.

    Raises:
        UserError: the file cannot be read or is not UTF-8.
    """
    blob = b""
    for piece in utf8_chunks(path, compressed=compressed, on_bytes=on_bytes):
        blob += piece
        if len(blob) > most_bytes:
            break
    cut = len(blob) > most_bytes
    text = _decoded(path, blob[:most_bytes], cut=cut)
    return (_head_rows(path, text) if cut else _document_rows(path, text)), cut


def _head_rows(path: Path, text: str) -> Iterator[Row | Problem]:
    try:
        start = _skip(text, 0)
        where = start if text[start : start + 1] == "[" else _first_list(text, start)
        yield from _elements(path, text, where, whole=False)
    except json.JSONDecodeError as failure:
        if not _is_at_the_cut(text, failure):
            raise UserError(_document_problem(path, text, failure)) from None
    except (ValueError, RecursionError) as failure:
        raise UserError(_unusable(path, failure)) from None


def _document_rows(path: Path, text: str) -> Iterator[Row | Problem]:
    start = _skip(text, 0)
    try:
        if text[start : start + 1] == "[":
            yield from _elements(path, text, start, whole=True)
            return
        value, end = json.JSONDecoder().raw_decode(text, start)
        _check_end(text, end)
        where = _list_inside(path, text, start, value) if isinstance(value, dict) else None
        if where is None:
            yield as_row(path, _line_of(text, start), value)
        else:
            yield from _elements(path, text, where, whole=False)
    except json.JSONDecodeError as failure:
        raise UserError(_document_problem(path, text, failure)) from None
    except (ValueError, RecursionError) as failure:
        raise UserError(_unusable(path, failure)) from None


def _unusable(path: Path, failure: ValueError | RecursionError) -> Problem:
    message = f"The file is not usable JSON: {_why(failure)}."
    return error(str(path), message, "Write it as JSONL: one object a line.")


def _is_at_the_cut(text: str, failure: json.JSONDecodeError) -> bool:
    """Whether a complaint comes from reading only the beginning: a text without end, or one about the last letters."""
    return failure.msg.startswith("Unterminated string") or failure.pos >= len(text) - len("\\uXXXX")


def _first_list(text: str, start: int) -> int:
    """Where the first list of rows inside the object at ``start`` begins.

    Raises:
        json.JSONDecodeError: there is none before the text ends, or it is no object.
    """
    decoder = json.JSONDecoder()
    if text[start : start + 1] != "{":
        raise json.JSONDecodeError("Expecting value", text, start)
    position = _skip(text, start + 1)
    while True:
        _, end = decoder.raw_decode(text, position)
        begin = _skip(text, _skip(text, end) + 1)
        if text[begin : begin + 1] == "[":
            first = _skip(text, begin + 1)
            if text[first : first + 1] in ("{", "[") and _holds_rows([decoder.raw_decode(text, first)[0]]):
                return begin
        _, end = decoder.raw_decode(text, begin)
        position = _skip(text, _skip(text, end) + 1)


def _whole_text(path: Path, *, compressed: bool, on_bytes: OnBytes | None) -> str:
    pieces: list[bytes] = []
    size = 0
    for piece in utf8_chunks(path, compressed=compressed, on_bytes=on_bytes):
        size += len(piece)
        if size > _MAX_DOCUMENT_BYTES:
            message = f"A JSON document is read as a whole, and this one has more than {format_bytes(size - 1)}."
            raise UserError(error(str(path), message, "Write it as JSONL: one object a line."))
        pieces.append(piece)
    return _decoded(path, b"".join(pieces), cut=False)


def _decoded(path: Path, blob: bytes, *, cut: bool) -> str:
    """The text of some bytes; with ``cut`` the last character may be incomplete, and is left out then."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(blob, final=not cut)
    except UnicodeDecodeError as failure:
        line = blob.count(b"\n", 0, failure.start) + 1
        raise UserError(not_utf8(path, line, 0, blob, failure.start)) from None


def _elements(path: Path, text: str, start: int, *, whole: bool) -> Iterator[Row | Problem]:
    """The items of the list that begins at ``start``, each with its own line."""
    decoder = json.JSONDecoder()
    position = _skip(text, start + 1)
    line, counted = _line_of(text, position), position
    while text[position : position + 1] != "]":
        value, end = decoder.raw_decode(text, position)
        line, counted = line + text.count("\n", counted, position), position
        yield as_row(path, line, value)
        position = _skip(text, end)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
            if text[position : position + 1] == "]":
                raise json.JSONDecodeError("Expecting value", text, position)
        elif text[position : position + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    if whole:
        _check_end(text, position + 1)


def _check_end(text: str, position: int) -> None:
    rest = _skip(text, position)
    if rest != len(text):
        raise json.JSONDecodeError("Extra data", text, rest)


def _list_inside(path: Path, text: str, start: int, value: Mapping[str, Any]) -> int | None:
    """Where the list of rows inside a top-level object begins; None if the object is a row itself.

    Raises:
        UserError: several lists might be meant, or there is none and the object is no row.
    """
    named = [name for name, item in value.items() if isinstance(item, list) and _holds_rows(item)]
    chosen = named[0] if len(named) == 1 else next((name for name in _LIST_NAMES if name in named), None)
    if chosen is not None:
        return _position_of(text, start, chosen)
    if named:
        lists = ", ".join(f"“{name}”" for name in named)
        message = f"The file is one object with several lists of rows: {lists}."
        raise UserError(error(str(path), message, "Keep one list, or write the rows as JSONL: one object a line."))
    if value and all(isinstance(item, dict) for item in value.values()):
        message = "The file is one object whose values are objects, so it is not clear what a row is."
        raise UserError(error(str(path), message, "Write the rows as a list, or as JSONL: one object a line."))
    return None


def _holds_rows(items: list[Any]) -> bool:
    """Whether a list is a list of rows, and not the turns of one conversation or the columns of a table."""
    first = items[0] if items else None
    if isinstance(first, list):
        return bool(first) and isinstance(first[0], dict)
    return isinstance(first, dict) and not {"role", "from"} & first.keys()


def _position_of(text: str, start: int, name: str) -> int:
    """Where the value of the last member called ``name`` begins in the valid object at ``start``."""
    decoder = json.JSONDecoder()
    position, found = _skip(text, start + 1), start
    while text[position] != "}":
        key, end = decoder.raw_decode(text, position)
        begin = _skip(text, _skip(text, end) + 1)
        found = begin if key == name else found
        _, end = decoder.raw_decode(text, begin)
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def as_row(path: Path, line: int, value: object) -> Row | Problem:
    """A JSON value as a row: an object as it is, a bare text as its text, a bare list of turns as a conversation."""
    if isinstance(value, dict):
        return Row(str(path), line, value)
    if isinstance(value, str):
        return Row(str(path), line, {"text": value})
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return Row(str(path), line, {"messages": value})
    found = {list: "a list", bool: "true or false", type(None): "null"}.get(type(value), "a number")
    message = f"A row must be an object with named values; this one is {found}: “{elide(json.dumps(value))}”."
    return error(f"{path}:{line}", message, 'Write each row like {"prompt": "…", "completion": "…"}.')


def _document_problem(path: Path, text: str, failure: json.JSONDecodeError) -> Problem:
    line = _line_of(text, failure.pos)
    column = failure.pos - text.rfind("\n", 0, failure.pos)
    message = f"The file is not valid JSON: at column {column}, {_expected(failure)}."
    if failure.pos >= len(text.rstrip()):
        message += " The file seems to be cut off."
    if failure.msg == "Extra data" and text[failure.pos] in "{[":
        return error(
            f"{path}:{line}",
            message,
            "If it holds several objects, write each on one line and give the file the ending .jsonl.",
        )
    near = elide(text[failure.pos : failure.pos + 200])
    return error(f"{path}:{line}", f"{message} There stands “{near}”." if near else message, "Mend the file there.")


def _expected(failure: json.JSONDecodeError) -> str:
    return _EXPECTED.get(failure.msg, failure.msg[:1].lower() + failure.msg[1:])


def _why(failure: ValueError | RecursionError) -> str:
    if isinstance(failure, RecursionError):
        return "it is nested too deeply"
    return "it holds a number with thousands of digits" if "digits" in str(failure) else str(failure)


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
