"""The line format: every type goes there and back, and nothing on a line can break the reader."""

import contextlib
import dataclasses
import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import types
from core.events.codec import EVENT_TYPES, EventError, decode_event, encode_event, type_name
from core.events.types import PROTOCOL_VERSION, Body, Completed, Event, Hello, Notice, Step, Unknown

STEP = Step(3, 0.5, 1.25, 2e-4, 0.7, 900, 400, 0.25, 10**9)
HELLO = Hello(PROTOCOL_VERSION, "0.1.0", "train", 1234, "3.11.9")


def bodies() -> st.SearchStrategy[Any]:
    finite = st.floats(allow_nan=False, allow_infinity=True)
    kinds = [cls for cls in get_args(Body) if cls not in (Unknown, Completed)]
    strategies = [st.from_type(cls) for cls in kinds]
    strategies.append(
        st.builds(
            Completed,
            result=st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(), st.booleans())),
            seconds=finite,
        )
    )
    return st.one_of(strategies)


def same(left: object, right: object) -> bool:
    """Equal, where NaN equals NaN."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if dataclasses.is_dataclass(left) and type(left) is type(right):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    return left == right


@given(body=bodies(), seq=st.integers(0, 2**53), time=st.floats(0, 4e9), rank=st.integers(0, 1000))
def test_every_event_survives_the_way_to_disk(body: Any, seq: int, time: float, rank: int) -> None:
    event = Event(seq, time, rank, body)
    line = encode_event(event)
    assert "\n" not in line
    assert same(decode_event(line.encode().decode()), event)


def test_the_line_is_flat_json_with_its_header_first() -> None:
    record = json.loads(encode_event(Event(7, 1730000000.25, 0, STEP)))
    assert list(record)[:4] == ["seq", "time", "rank", "type"]
    assert record["type"] == "step"
    assert record["loss"] == 1.25


def test_type_names_come_from_the_classes() -> None:
    assert type_name(types.PhaseStarted) == "phase_started"
    assert set(EVENT_TYPES) == {
        "hello", "phase_started", "phase_finished", "progress", "started", "step", "memory_measured", "evaluated",
        "checkpoint_saved", "sampled", "chat_ready", "chat_voice", "chat_piece", "chat_answer", "notice", "heartbeat",
        "stopped", "failed", "completed",
    }  # fmt: skip


def test_what_was_measured_keeps_its_peaks_by_moment() -> None:
    body = types.MemoryMeasured(3, "AMD EPYC", 1000, 1100, {"loading": 900, "step": 1100}, pass_tokens=2048)
    assert decode_event(encode_event(Event(0, 1.0, 0, body))).body == body
    assert body.residual == pytest.approx(0.1)
    assert dataclasses.replace(body, predicted_bytes=0).residual is None


def test_no_body_field_collides_with_the_header() -> None:
    for cls in EVENT_TYPES.values():
        assert not {"seq", "time", "rank", "type"} & {field.name for field in dataclasses.fields(cls)}, cls


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_strict_json(value: float) -> None:
    line = encode_event(Event(0, 1.0, 0, dataclasses.replace(STEP, loss=value)))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert same(decode_event(line).body, dataclasses.replace(STEP, loss=value))


def test_half_a_surrogate_pair_survives() -> None:
    notice = Notice("info", "x", "half \ud83d, whole 🙂")
    assert decode_event(encode_event(Event(0, 1.0, 0, notice)).encode().decode()).body == notice


def test_whole_numbers_serve_as_floats_and_unknown_fields_are_ignored() -> None:
    record = {"seq": 0, "time": 5, "rank": 0, "type": "heartbeat", "idle_seconds": 3, "added_later": [1]}
    event = decode_event(json.dumps(record))
    assert event == Event(0, 5.0, 0, types.Heartbeat(3.0))
    assert isinstance(event.body, types.Heartbeat)
    assert type(event.body.idle_seconds) is float


def test_missing_fields_take_their_default() -> None:
    record = json.loads(encode_event(Event(0, 1.0, 0, STEP)))
    del record["applied"], record["passes"]
    assert decode_event(json.dumps(record)).body == STEP


def test_an_unknown_type_is_kept_and_goes_back_unchanged() -> None:
    line = '{"seq":4,"time":2.0,"rank":1,"type":"teleported","to":"Mars","list":[1,null]}'
    event = decode_event(line)
    assert event.body == Unknown("teleported", {"to": "Mars", "list": [1, None]})
    assert encode_event(event) == line


def test_a_greeting_in_another_protocol_can_still_be_refused_by_its_number() -> None:
    line = json.dumps({"seq": 0, "time": 1, "rank": 0, "type": "hello", "protocol": 99, "version": "9.1", "pid": "?"})
    assert decode_event(line).body == Hello(99, "9.1", "", 0, "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "expected an object"),
        ("[1]", "expected an object"),
        ("{}", "header"),
        ('{"seq":true,"time":1,"rank":0,"type":"step"}', "header"),
        ('{"seq":1,"time":"now","rank":0,"type":"step"}', "header"),
        ('{"seq":1,"time":1,"rank":0,"type":7}', "header"),
        ('{"seq":1,"time":1,"rank":0,"type":"heartbeat"}', "heartbeat.idle_seconds is missing"),
        ('{"seq":1,"time":1,"rank":0,"type":"heartbeat","idle_seconds":"long"}', "expected float"),
        ('{"seq":1,"time":1,"rank":0,"type":"phase_finished","phase":"dance","seconds":1}', "expected one of"),
        ('{"seq":1,"time":1,"rank":0,"type":"hello","protocol":"new"}', "hello.protocol"),
    ],
)
def test_a_broken_line_says_what_is_wrong(line: str, words: str) -> None:
    with pytest.raises(EventError, match=words.replace(".", r"\.")):
        decode_event(line)


@given(st.text())
def test_no_text_can_do_worse_than_an_event_error(line: str) -> None:
    with contextlib.suppress(EventError):
        decode_event(line)
