"""One event, one line of JSON: ``{"seq": 7, "time": 1730000000.25, "rank": 0, "type": "step", "loss": 1.93, …}``."""

import dataclasses
import json
import re
import typing
from collections.abc import Mapping

from core.events.types import PROTOCOL_VERSION, Body, Event, Hello, Unknown
from core.records import RecordError, from_plain, hints_of, to_plain

_HEADER = ("seq", "time", "rank", "type")
_SCALARS = (str, int, float, bool)


class EventError(ValueError):
    """A line is not an event; the message says what is wrong with it."""


def type_name(cls: type) -> str:
    """The ``type`` of an event class on disk: ``PhaseStarted`` -> ``"phase_started"``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


EVENT_TYPES: Mapping[str, type] = {type_name(cls): cls for cls in typing.get_args(Body) if cls is not Unknown}


def encode_event(event: Event) -> str:
    """The event as one line of JSON without its line end; non-finite numbers become strings.

    Raises:
        core.records.RecordError: a field holds something that has no plain form.
    """
    header: dict[str, object] = {"seq": event.seq, "time": event.time, "rank": event.rank}
    if isinstance(event.body, Unknown):
        fields = {key: value for key, value in to_plain(event.body.fields).items() if key not in _HEADER}
        record = {**header, "type": event.body.type, **fields}
    else:
        record = {**header, "type": type_name(type(event.body)), **to_plain(event.body)}
    line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half a surrogate pair (a tokenizer can produce one) has no UTF-8 form; escaped, it survives.
    return line if _has_utf8(line) else json.dumps(record, allow_nan=False, separators=(",", ":"))


def decode_event(line: str) -> Event:
    """The event that a line describes; a type that this program does not know becomes `Unknown`.

    Raises:
        EventError: the line is not JSON, lacks a part of the header, or does not fit its type.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as failure:
        raise EventError(f"not JSON: {failure}") from None
    if not isinstance(record, dict):
        raise EventError(f"expected an object, found {type(record).__name__}")
    seq, time, rank = record.pop("seq", None), record.pop("time", None), record.pop("rank", 0)
    name = record.pop("type", None)
    if type(seq) is not int or type(rank) is not int or type(time) not in (int, float) or not isinstance(name, str):
        raise EventError("the header needs a whole “seq”, a number “time”, a whole “rank” and a text “type”")
    try:
        return Event(seq, float(time), rank, _read_body(name, record))
    except RecordError as failure:
        raise EventError(str(failure)) from None


def _read_body(name: str, fields: dict[str, object]) -> Body:
    cls = EVENT_TYPES.get(name)
    if cls is None:
        return Unknown(name, fields)
    scalars = _SCALAR_FIELDS.get(cls)
    if scalars is not None and all(type(fields.get(key)) in kinds for key, kinds in scalars):
        body = cls(**{key: fields.get(key) for key, _ in scalars})  # the usual case, five times as fast as `from_plain`
    elif cls is Hello and fields.get("protocol") != PROTOCOL_VERSION:
        body = _foreign_hello(fields)
    else:
        body = from_plain(cls, fields, path=name)
    return typing.cast("Body", body)


def _foreign_hello(fields: dict[str, object]) -> Hello:
    """What can be read of a greeting in another protocol: enough to refuse it with its version."""
    protocol = fields.get("protocol")
    pid = fields.get("pid")
    if type(protocol) is not int:
        raise RecordError(f"hello.protocol: expected int, found {protocol!r}")
    version, job, python = (str(fields.get(key, "")) for key in ("version", "job", "python"))
    return Hello(protocol, version, job, pid if type(pid) is int else 0, python)


def _scalar_fields(cls: type) -> tuple[tuple[str, tuple[type, ...]], ...] | None:
    """Names and types of a class made of plain scalars only, or of none in their place; None for any other class."""
    hints = hints_of(cls)
    fields = tuple(
        (field.name, typing.get_args(hints[field.name]) or (hints[field.name],)) for field in dataclasses.fields(cls)
    )
    return fields if all(kind in (*_SCALARS, type(None)) for _, kinds in fields for kind in kinds) else None


def _has_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_SCALAR_FIELDS: Mapping[type, tuple[tuple[str, tuple[type, ...]], ...] | None] = {
    cls: _scalar_fields(cls) for cls in EVENT_TYPES.values()
}
