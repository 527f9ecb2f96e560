"""Writing: numbering across restarts, torn lines, threads, and a disk that is full."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.events import writer as writer_module
from core.events.codec import decode_event
from core.events.tail import EventTail
from core.events.types import Event, Heartbeat, Notice, Progress, Unknown
from core.events.writer import EventWriter, next_seq


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_each_event_is_one_line_and_numbers_grow_by_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path, rank=2, clock=lambda: 12.0) as writer:
        first = writer.emit(Heartbeat(1.0))
        writer.emit(Heartbeat(2.0))
    assert first == Event(0, 12.0, 2, Heartbeat(1.0))
    assert [decode_event(line) for line in lines(path)] == [first, Event(1, 12.0, 2, Heartbeat(2.0))]


def test_numbers_go_on_in_an_existing_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for expected in range(3):
        with EventWriter(path) as writer:
            assert writer.emit(Heartbeat(0.0)).seq == expected
    assert next_seq(path) == 3


@pytest.mark.parametrize("torn", [b"{", b'{"seq":9,"time":1,"ra', b"\x00\x00\x00", "é".encode()[:1]])
def test_a_torn_last_line_is_closed_and_costs_only_itself(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.emit(Heartbeat(0.0))
    with path.open("ab") as file:
        file.write(torn)
    with EventWriter(path) as writer:
        assert writer.emit(Heartbeat(1.0)).seq == 1
    events = EventTail(path).read()
    assert [event.body for event in events if not isinstance(event.body, Unknown)] == [Heartbeat(0.0), Heartbeat(1.0)]
    assert len(events) == 3


def test_a_complete_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq":5,"time":1,"rank":0,"type":"heartbeat","idle_seconds":0}')
    with EventWriter(path) as writer:
        assert writer.emit(Heartbeat(1.0)).seq == 6
    assert [event.seq for event in EventTail(path).read()] == [5, 6]


def test_the_last_number_is_found_behind_long_lines_and_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        for _ in range(3):
            writer.emit(Notice("info", "long", "x" * 100_000))
    with path.open("ab") as file:
        file.write(b"rubbish\n" * 30_000)
    assert next_seq(path) == 3
    (tmp_path / "empty").touch()
    assert next_seq(tmp_path / "empty") == 0
    assert next_seq(tmp_path / "absent") == 0


def test_many_threads_write_whole_lines_with_distinct_numbers(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        threads = [threading.Thread(target=lambda: [writer.emit(Heartbeat(1.0)) for _ in range(200)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [decode_event(line).seq for line in lines(path)] == list(range(1600))


def test_progress_is_thinned_out_but_never_its_first_or_last(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        for done in range(10_001):
            writer.emit(Progress("load", done, 10_000, "tensors"))
        writer.emit(Progress("data", 0, 10, "rows"))
    bodies = [event.body for event in EventTail(path).read()]
    assert bodies[0] == Progress("load", 0, 10_000, "tensors")
    assert bodies[-2:] == [Progress("load", 10_000, 10_000, "tensors"), Progress("data", 0, 10, "rows")]
    assert len(bodies) < 1000
    assert [event.seq for event in EventTail(path).read()] == list(range(len(bodies)))


class FullDisk:
    """Stands in for `os.write`: fails, or writes only a part, while `full` says so."""

    def __init__(self) -> None:
        self.full: Callable[[bytes], int] | None = None
        self._write = os.write

    def __call__(self, file: int, data: bytes) -> int:
        if self.full is None:
            return self._write(file, data)
        room = self.full(data)
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(file, data[:room])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    disk = FullDisk()
    monkeypatch.setattr(writer_module.os, "write", disk)
    return disk


@pytest.mark.parametrize("room", [0, 1, 10])
def test_a_full_disk_drops_counts_and_reports(tmp_path: Path, disk: FullDisk, room: int) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.emit(Heartbeat(0.0))
        disk.full = lambda data: room
        for _ in range(4):
            writer.emit(Heartbeat(1.0))
        assert writer.dropped == 4
        disk.full = None
        writer.emit(Heartbeat(2.0))
        assert writer.dropped == 0
        writer.emit(Heartbeat(3.0))
    events = [event for event in EventTail(path).read() if not isinstance(event.body, Unknown)]
    assert [event.seq for event in events] == [0, 1, 2, 3]
    notice = events[1].body
    assert isinstance(notice, Notice)
    assert notice.code == "events_dropped"
    assert "4 lines" in notice.message
    assert [event.body for event in events[2:]] == [Heartbeat(2.0), Heartbeat(3.0)]


def test_a_line_that_lost_only_its_end_is_not_lost(tmp_path: Path, disk: FullDisk) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        disk.full = lambda data: len(data) - 1
        writer.emit(Heartbeat(1.0))
        assert writer.dropped == 0
        disk.full = None
        writer.emit(Heartbeat(2.0))
    assert [(event.seq, event.body) for event in EventTail(path).read()] == [(0, Heartbeat(1.0)), (1, Heartbeat(2.0))]


def test_room_for_the_notice_alone_drops_the_event_once(tmp_path: Path, disk: FullDisk) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        disk.full = lambda data: 0
        writer.emit(Heartbeat(1.0))
        disk.full = lambda data: len(data) if b"events_dropped" in data else 0
        writer.emit(Heartbeat(2.0))
        assert writer.dropped == 1
        disk.full = None
        writer.emit(Heartbeat(3.0))
    codes = [event.body.code for event in EventTail(path).read() if isinstance(event.body, Notice)]
    assert codes == ["events_dropped", "events_dropped"]


def test_a_log_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EventWriter(tmp_path / "no" / "such" / "events.jsonl")


def test_closing_twice_is_fine_and_writing_after_it_is_not(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.emit(Heartbeat(0.0))
