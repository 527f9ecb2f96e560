"""Appends events to a log in a way that no crash, resume or full disk can spoil."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from core.events.codec import EventError, decode_event, encode_event
from core.events.types import Body, Event, Notice, Progress

PROGRESS_INTERVAL_SECONDS = 0.1

_BLOCK_BYTES = 64 * 1024
_FILE_MODE = 0o644


def next_seq(path: Path) -> int:
    """The number that the next event of a log will have; 0 for a log that is not there.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        start = file.seek(0, os.SEEK_END)
        tail = b""
        while start > 0:
            step = min(_BLOCK_BYTES, start)
            start -= step
            file.seek(start)
            tail = file.read(step) + tail
            lines = tail.split(b"\n")
            # The first piece may lack its beginning, and the last is a torn line or empty.
            for line in reversed(lines if start == 0 else lines[1:]):
                seq = _seq_of(line)
                if seq is not None:
                    return seq + 1
            tail = lines[0]
    return 0


def _seq_of(line: bytes) -> int | None:
    if not line.strip():
        return None
    try:
        return decode_event(line.decode("utf-8", errors="replace")).seq
    except EventError:
        return None


class EventWriter:
    """Appends one line for each event, with a single write, so that a reader never sees two lines mixed.

    The numbering goes on after an existing log, and a line that a crash tore is closed first. When the disk is full
    or the folder is gone, events are dropped and counted, never raised; the first one that can be written again is
    preceded by a `Notice` with code ``events_dropped``. All methods may be called from any thread.

    Attributes:
        dropped: how many events have been lost since the last one that was written.
    """

    def __init__(self, path: Path, rank: int = 0, *, clock: Callable[[], float] = time.time) -> None:
        """Opens (or makes) the log at ``path``.

        Raises:
            OSError: the log cannot be opened; a job that cannot say anything must not begin.
        """
        self.path = path
        self.rank = rank
        self.dropped = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._seq = next_seq(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._file: int | None = os.open(path, flags, _FILE_MODE)
        self._torn = _ends_torn(self._file)
        self._last_progress: tuple[str, float] = ("", 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def emit(self, body: Body) -> Event:
        """Writes an event and returns it.

        `Progress` is thinned out to ten a second; the first and the last of a phase are always written. The number
        of an event that was thinned out or dropped goes to the next one.

        Raises:
            core.records.RecordError: a field holds something that cannot be written.
            ValueError: the writer is closed.
        """
        with self._lock:
            if self._file is None:
                raise ValueError(f"the event log {self.path} is closed")
            event = Event(self._seq, round(self._clock(), 6), self.rank, body)
            if isinstance(body, Progress) and not self._is_due(body):
                return event
            line = encode_event(event)
            if self.dropped and self._write(encode_event(Event(self._seq, event.time, self.rank, self._notice()))):
                self.dropped = 0
                event = Event(self._seq, event.time, self.rank, body)
                line = encode_event(event)
            if self.dropped or not self._write(line):
                self.dropped += 1
            return event

    def close(self) -> None:
        """Closes the log; a second call does nothing."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _is_due(self, progress: Progress) -> bool:
        phase, written = self._last_progress
        now = time.monotonic()
        finished = progress.total > 0 and progress.done >= progress.total
        if phase == progress.phase and not finished and now - written < PROGRESS_INTERVAL_SECONDS:
            return False
        self._last_progress = (progress.phase, now)
        return True

    def _notice(self) -> Notice:
        lines = "1 line" if self.dropped == 1 else f"{self.dropped} lines"
        return Notice(
            "warning",
            "events_dropped",
            f"The log could not be written for a while, probably because the disk was full; {lines} of it are missing. "
            "The training itself went on.",
        )

    def _write(self, line: str) -> bool:
        """Appends one line; False when the system refused all or part of it."""
        assert self._file is not None
        data = (b"\n" if self._torn else b"") + line.encode("utf-8") + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError:
            return False  # counted by the caller and reported in the log once it can be written again
        if written >= len(data) - 1:  # without its line end a line still counts: the next one closes it
            self._seq += 1
            self._torn = written < len(data)
            return True
        if written:
            self._torn = not (self._torn and written == 1)
        return False


def _ends_torn(file: int) -> bool:
    """Whether the last byte of an open log is something else than a line end."""
    if os.lseek(file, 0, os.SEEK_END) == 0:
        return False
    os.lseek(file, -1, os.SEEK_END)
    return os.read(file, 1) != b"\n"
