"""Reading a log that grows, tears, shrinks and vanishes."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.codec import encode_event
from core.events.tail import BROKEN_LINE, EventTail
from core.events.types import Event, Heartbeat, Step, Unknown


def line(seq: int) -> bytes:
    return encode_event(Event(seq, 1.0, 0, Heartbeat(float(seq)))).encode() + b"\n"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def seqs(tail: EventTail) -> list[int]:
    return [event.seq for event in tail.read()]


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    tail = EventTail(tmp_path / "events.jsonl")
    assert tail.read() == []
    append(tail.path, line(0))
    assert seqs(tail) == [0]
    assert tail.restarts == 0


def test_only_what_is_new_and_complete_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    append(path, line(0) + line(1)[:9])
    assert seqs(tail) == [0]
    assert seqs(tail) == []
    append(path, line(1)[9:] + line(2))
    assert seqs(tail) == [1, 2]


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_splitting_of_the_writes_gives_the_same_events(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    data = b"".join(line(seq) for seq in range(5))
    path = tmp_path_factory.mktemp("tail") / "events.jsonl"
    tail = EventTail(path)
    found: list[int] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        append(path, data[start:end])
        found += seqs(tail)
    assert found == [0, 1, 2, 3, 4]


def test_a_broken_line_is_kept_as_text_and_reading_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append(path, line(0) + b'{"seq": 1, "ti\n' + b"\xff\xfe\n" + b"\n" + line(1))
    events = EventTail(path).read()
    assert [event.seq for event in events] == [0, 0, 0, 1]
    broken = events[1].body
    assert isinstance(broken, Unknown)
    assert broken.type == BROKEN_LINE
    assert broken.fields["text"] == '{"seq": 1, "ti'
    assert "not JSON" in str(broken.fields["error"])


def test_a_file_cut_short_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append(path, line(0) + line(1))
    tail = EventTail(path)
    assert seqs(tail) == [0, 1]
    path.write_bytes(line(7))
    assert seqs(tail) == [7]
    assert tail.restarts == 1


def test_a_file_cut_and_grown_again_between_two_looks_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append(path, line(0))
    tail = EventTail(path)
    tail.read()
    path.write_bytes(b'{"seq":8,"time":100000.125,"rank":0,"type":"heartbeat","idle_seconds":0.123456789}\n' + line(9))
    assert seqs(tail) == [8, 9]
    assert tail.restarts == 1


def test_a_replaced_file_is_read_again_and_a_vanished_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append(path, line(0))
    tail = EventTail(path)
    assert seqs(tail) == [0]
    (tmp_path / "other").write_bytes(line(5) + line(6))
    os.replace(tmp_path / "other", path)
    assert seqs(tail) == [5, 6]
    path.unlink()
    assert seqs(tail) == []
    assert tail.restarts == 1


def test_a_partial_line_that_is_taken_back_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append(path, line(0) + b'{"torn')
    tail = EventTail(path)
    assert seqs(tail) == [0]
    os.truncate(path, len(line(0)))
    append(path, line(1))
    assert seqs(tail) == [1]
    assert tail.restarts == 0


def test_a_hundred_thousand_events_and_lines_longer_than_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    one = encode_event(Event(11, 1.0, 0, Step(1, 0.1, 1.0, 1e-4, 0.5, 10, 5, 0.1, 1))).encode() + b"\n"
    huge = b'{"seq":12,"time":1,"rank":0,"type":"x","text":"' + b"y" * 9_000_000 + b'"}\n'
    path.write_bytes(one * 100_000 + huge + line(13))
    events = EventTail(path).read()
    assert len(events) == 100_002
    assert [event.seq for event in events[-2:]] == [12, 13]
