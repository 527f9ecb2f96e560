"""Rows from one JSON document: of the list or the object of named rows that it is, of the list inside, or itself."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.data.json_rows import as_row, expected, why_unusable
from core.data.json_text import BrokenJsonError, JsonText, ValueTooLongError
from core.data.packed import BrokenFileError, OnBytes, unreadable
from core.data.source import MAX_LINE_BYTES, Source, elide
from core.data.types import Row
from core.errors import Problem, UserError, error
from core.units import format_bytes

_LIST_NAMES = ("data", "train", "rows", "examples", "samples", "items", "conversations")
_DEEPEST = 4
_EDGE = 4096
_SHOWN = 12
_ENOUGH_MEMBERS = 20
"""So many objects alike are the rows of a long document that nobody wants to read to its end first."""


@dataclass(slots=True)
class _Found:
    """What an object holds.

    Attributes:
        lists: name of each list of rows, with the names of the objects around it -> where it begins.
        has_turns: one of its own lists is a conversation, so the object looks like a row itself.
        only_objects: all its values are objects.
        members: how many values it has.
        shared: the names that all its values have, where those are objects.
    """

    lists: dict[str, int] = field(default_factory=dict)
    has_turns: bool = False
    only_objects: bool = True
    members: int = 0
    shared: frozenset[str] | None = None

    @property
    def is_named_rows(self) -> bool:
        """Whether the object is a list of rows in which each has a name: objects alike, columns with words as names."""
        columns = [name for name in self.shared or () if not name.isdecimal()]
        return self.only_objects and self.members > 1 and bool(columns)


class _EnoughError(Exception):
    """The first list is good enough."""


def read_json_document(
    source: Source, *, first_list: bool = False, on_bytes: OnBytes | None = None
) -> Iterator[Row | Problem]:
    """The rows of a JSON document, one at a time; an object is read twice, first to find the list inside it.

    Args:
        source: the file.
        first_list: take the first list of rows inside an object without looking whether there are others.
        on_bytes: told how far the file has been read.

    Raises:
        BrokenFileError: the text is no JSON from some place on.
        UserError: the file cannot be read, holds a row that is too long, or no list of rows.
    """
    path = source.path
    text = JsonText(source, on_bytes=on_bytes)
    try:
        first = text.peek()
        if first == "[":
            yield from _elements(path, text, whole=True)
            return
        where = _list_inside(source, first_list=first_list, on_bytes=on_bytes) if first == "{" else None
        if where == 0:
            yield from _members(path, text)
        elif where is None:
            line = text.line
            value = text.value()
            _check_end(text)
            yield as_row(path, line, value)
        else:
            text.seek(where)
            yield from _elements(path, text, whole=False)
    except BrokenJsonError as broken:
        raise BrokenFileError(_broken_problem(path, text, broken)) from None
    except ValueTooLongError as long:
        raise BrokenFileError(_long_problem(path, long.line)) from None
    except (ValueError, RecursionError) as failure:
        raise BrokenFileError(_unusable(path, text.line, failure)) from None


def cut_off(source: Source) -> Problem | None:
    """Whether a document that is one list or object ends as one does, seen without reading what lies between."""
    try:
        with source.path.open("rb") as file:
            start = file.read(_EDGE).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _EDGE))
            end = file.read().rstrip()[-1:]
    except OSError as failure:
        return unreadable(source.path, failure)
    wanted = {b"[": b"]", b"{": b"}"}.get(start)
    if source.encoding != "utf-8" or wanted is None or not end or end == wanted:
        return None
    first, last = start.decode(), wanted.decode()
    message = f"The file begins with “{first}” and does not end with “{last}”: it seems to be cut off."
    advice = "Copy or download it again; with data.bad_rows=skip the rows before that place are used."
    return error(str(source.path), message, advice)


def _elements(path: Path, text: JsonText, *, whole: bool) -> Iterator[Row | Problem]:
    """The items of the list that begins here, each with its own line."""
    text.step()
    if text.peek() != "]":
        while True:
            text.peek()
            line = text.line
            yield as_row(path, line, text.value())
            if not _goes_on(text, "]"):
                break
    text.step()
    if whole:
        _check_end(text)


def _members(path: Path, text: JsonText) -> Iterator[Row | Problem]:
    """The values of the object that begins here; their names only tell them apart."""
    text.step()
    while True:
        _name(text)
        line = text.line
        yield as_row(path, line, text.value())
        if not _goes_on(text, "}"):
            break
    text.step()
    _check_end(text)


def _name(text: JsonText) -> str:
    """The name of a member of an object, passed over with the colon behind it.

    Raises:
        BrokenJsonError: there is none.
    """
    if text.peek() != '"':
        raise text.broken("Expecting property name enclosed in double quotes")
    name = str(text.value())
    if text.peek() != ":":
        raise text.broken("Expecting ':' delimiter")
    text.step()
    text.peek()
    return name


def _goes_on(text: JsonText, end: str) -> bool:
    """Passes over the comma to the next item; False at the end of the list or object.

    Raises:
        BrokenJsonError: neither stands here.
    """
    mark = text.peek()
    if mark == end:
        return False
    if mark != ",":
        raise text.broken("Expecting ',' delimiter")
    text.step()
    if text.peek() == end:
        raise text.broken("Expecting value" if end == "]" else "Expecting property name enclosed in double quotes")
    return True


def _check_end(text: JsonText) -> None:
    if text.peek():
        raise text.broken("Extra data")


def _list_inside(source: Source, *, first_list: bool, on_bytes: OnBytes | None) -> int | None:
    """Where the list of rows inside a top-level object begins, 0 where it is one itself; None if it is a single row.

    Raises:
        UserError: several lists might be meant, or there is none and the object is no row.
    """
    path, text, found = source.path, JsonText(source, on_bytes=on_bytes), _Found()
    text.peek()
    try:
        _walk(text, found, "", 0, first_list=first_list)
        _check_end(text)
    except _EnoughError:
        pass
    except BrokenJsonError as broken:
        if not found.lists:
            raise BrokenFileError(_broken_problem(path, text, broken)) from None
    except ValueTooLongError as long:
        if not found.lists:
            raise BrokenFileError(_long_problem(path, long.line)) from None
    except (ValueError, RecursionError) as failure:
        if not found.lists:
            raise BrokenFileError(_unusable(path, text.line, failure)) from None
    named = [name for name in found.lists if not found.has_turns or name in _LIST_NAMES]
    chosen = named[0] if len(named) == 1 else _preferred(named)
    if chosen is not None:
        return found.lists[chosen]
    if named:
        lists = ", ".join(f"“{elide(name)}”" for name in named[:_SHOWN])
        message = f"The file is one object with several lists of rows: {lists}."
        raise UserError(error(str(path), message, "Keep one list, or write the rows as JSONL: one object a line."))
    if found.is_named_rows:
        return 0
    if found.members and found.only_objects:
        message = "The file is one object whose values are objects, so it is not clear what a row is."
        raise UserError(error(str(path), message, "Write the rows as a list, or as JSONL: one object a line."))
    return None


def _preferred(names: list[str]) -> str | None:
    """The list whose name says that it holds the rows; lists further outside go first."""
    for wanted in _LIST_NAMES:
        matching = [name for name in names if name.rpartition(".")[2] == wanted]
        if matching:
            return min(matching, key=lambda name: name.count("."))
    return None


def _walk(text: JsonText, found: _Found, prefix: str, depth: int, *, first_list: bool) -> frozenset[str]:
    """Goes through the object that begins here and notes every list of rows in it; returns the names in it."""
    names: list[str] = []
    text.step()
    if text.peek() == "}":
        text.step()
        return frozenset()
    while True:
        name = _name(text)
        if depth:
            names.append(name)
        mark = text.peek()
        if depth == 0:
            found.members += 1
            found.only_objects = found.only_objects and mark == "{"
        if mark == "[":
            _note_list(text, found, prefix + name, first_list=first_list)
        elif mark == "{" and depth < _DEEPEST:
            inner = _walk(text, found, f"{prefix}{name}.", depth + 1, first_list=first_list)
            if depth == 0:
                found.shared = inner if found.shared is None else found.shared & inner
        else:
            text.value()
        if first_list and depth == 0 and found.members == _ENOUGH_MEMBERS and found.is_named_rows and not found.lists:
            raise _EnoughError
        if not _goes_on(text, "}"):
            text.step()
            return frozenset(names)


def _note_list(text: JsonText, found: _Found, name: str, *, first_list: bool) -> None:
    begin = text.offset
    text.step()
    if text.peek() == "]":
        text.step()
        return
    first: Any = text.value()
    if _is_row(first) and ("." not in name or name.rpartition(".")[2] in _LIST_NAMES):
        found.lists[name] = begin
        if first_list:
            raise _EnoughError
    elif isinstance(first, dict) and "." not in name:
        found.has_turns = True
    while _goes_on(text, "]"):
        text.value()
    text.step()


def _is_row(first: object) -> bool:
    """Whether a list that begins so is a list of rows, and not the turns of one conversation or a table's columns."""
    if isinstance(first, list):
        return bool(first) and isinstance(first[0], dict)
    return isinstance(first, dict) and not {"role", "from"} & first.keys()


def _broken_problem(path: Path, text: JsonText, broken: BrokenJsonError) -> Problem:
    failure, place = broken.failure, f"{path}:{broken.line}"
    message = f"The file is not valid JSON: at column {broken.column}, {expected(failure)}."
    if broken.at_end:
        message += " The file seems to be cut off."
    near = text.near(failure)
    if failure.msg == "Extra data" and near[:1] in ("{", "["):
        advice = "If it holds several objects, write each on one line and give the file the ending .jsonl."
        return error(place, message, advice)
    shown = elide(near)
    return error(place, f"{message} There stands “{shown}”." if shown else message, "Mend the file there.")


def _long_problem(path: Path, line: int) -> Problem:
    message = f"A value that begins there is longer than {format_bytes(MAX_LINE_BYTES)}."
    return error(f"{path}:{line}", message, "Check that every row is closed; a row of a training set is not that long.")


def _unusable(path: Path, line: int, failure: ValueError | RecursionError) -> Problem:
    message = f"The file is not usable JSON: {why_unusable(failure)}."
    return error(f"{path}:{line}", message, "Write it as JSONL: one object a line.")
