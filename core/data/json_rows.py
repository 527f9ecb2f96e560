"""Rows from JSON with one value a line, and what is said about JSON that is none."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.data.packed import OnBytes
from core.data.source import Line, Source, decode, elide, lines, too_long
from core.data.types import Row
from core.errors import Problem, error

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


def read_json_lines(source: Source, *, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """One row for each line; blank lines are passed over, broken ones become problems.

    Raises:
        UserError: the file cannot be read.
    """
    for line in lines(source, on_bytes=on_bytes):
        yield from _rows_of(source, line)


def read_some_json_lines(source: Source, numbers: Iterable[int]) -> Iterator[tuple[int, Row | Problem]]:
    """The rows with these numbers (ascending, counted from 0), much faster than reading all: others are not decoded.

    Raises:
        UserError: the file cannot be read.
    """
    wanted = iter(numbers)
    next_one, number = next(wanted, None), 0
    for line in lines(source):
        if next_one is None:
            return
        if number < next_one and line.data[:1] == b"{" and b"\r" not in line.data.rstrip(b"\r\n"):
            number += 1  # one row, or one problem
            continue
        for row in _rows_of(source, line):
            if number == next_one:
                yield number, row
                next_one = next(wanted, None)
            number += 1


def _rows_of(source: Source, line: Line) -> Iterator[Row | Problem]:
    if line.too_long:
        yield too_long(source.path, line.number, "line")
        return
    text = decode(source, line)
    if isinstance(text, Problem):
        yield text
    elif text.strip():
        yield from _line_rows(source.path, line.number, text.rstrip("\r\n"))


def _line_rows(path: Path, number: int, text: str) -> Iterator[Row | Problem]:
    """The row of a line; several where bare carriage returns stand between them, as where files were joined."""
    found = _line_row(path, number, text)
    if isinstance(found, Problem) and "\r" in text:
        yield from (_line_row(path, number, part) for part in text.split("\r") if part.strip())
    else:
        yield found


def _line_row(path: Path, number: int, text: str) -> Row | Problem:
    try:
        return as_row(path, number, json.loads(text))
    except json.JSONDecodeError as failure:
        cut = failure.pos >= len(text) or failure.msg.startswith("Unterminated string")
        ends = " The line seems to be cut off." if cut else ""
        message = f"The line is not valid JSON: at column {failure.colno}, {expected(failure)}.{ends}"
    except (ValueError, RecursionError) as failure:
        message = f"The line is not usable JSON: {why_unusable(failure)}."
    return error(f"{path}:{number}", f"{message} It begins with “{elide(text)}”.", "Mend or remove the line.")


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


def expected(failure: json.JSONDecodeError) -> str:
    """What should have stood where a JSON text breaks, as part of a sentence."""
    return _EXPECTED.get(failure.msg, failure.msg[:1].lower() + failure.msg[1:])


def why_unusable(failure: ValueError | RecursionError) -> str:
    """Why JSON that is valid cannot be read all the same, as part of a sentence."""
    if isinstance(failure, RecursionError):
        return "it is nested too deeply"
    return "it holds a number with thousands of digits" if "digits" in str(failure) else str(failure)
