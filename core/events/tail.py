"""Reads an event log that somebody else is still writing."""

import os
from pathlib import Path
from typing import BinaryIO

from core.events.codec import EventError, decode_event
from core.events.types import Event, Unknown

BROKEN_LINE = "broken_line"

_CHUNK_BYTES = 512 * 1024


class EventTail:
    """Follows one event log: every `read` returns what has been completed since the one before.

    A file that is not there yet is empty. A line without its end is left until it has one. A line that is no event
    becomes an `Unknown` of type `BROKEN_LINE` with its text, and reading goes on behind it. A file that was replaced or
    cut is read again from its start.

    Attributes:
        restarts: how often the file was found replaced or cut; whoever folds events starts over when it grows.
    """

    def __init__(self, path: Path) -> None:
        """Begins at the start of ``path``, which need not exist yet."""
        self.path = path
        self.restarts = 0
        self._offset = 0
        self._identity: tuple[int, int] | None = None
        self._last_seq = -1
        self._last_time = 0.0

    def read(self) -> list[Event]:
        """New complete events, in the order of the file.

        Raises:
            OSError: the file is there and cannot be read.
        """
        events: list[Event] = []
        while some := self.read_some():
            events += some
        return events

    def read_some(self) -> list[Event]:
        """The next complete events, about as many as fit into `_CHUNK_BYTES`; none only when there is nothing new.

        Whoever folds a long log this way never holds all of it, and never keeps other threads waiting for long.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            self._notice_replacement(file)
            events: list[Event] = []
            file.seek(self._offset)
            rest = b""
            while not events and (chunk := file.read(_CHUNK_BYTES)):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._offset += len(line) + 1
                    if line.strip():
                        events.append(self._decode(line))
            return events

    def _notice_replacement(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        replaced = self._identity is not None and identity != self._identity
        self._identity = identity
        if replaced or status.st_size < self._offset or not self._stands_at_line_start(file):
            self.restarts += 1
            self._offset = 0
            self._last_seq = -1

    def _stands_at_line_start(self, file: BinaryIO) -> bool:
        """Whether the byte before the offset still ends a line; a file cut and grown again in between shows here."""
        if self._offset == 0:
            return True
        file.seek(self._offset - 1)
        return file.read(1) == b"\n"

    def _decode(self, line: bytes) -> Event:
        text = line.decode("utf-8", errors="replace")
        try:
            event = decode_event(text)
        except EventError as failure:
            fields = {"text": text, "error": str(failure)}
            return Event(self._last_seq, self._last_time, 0, Unknown(BROKEN_LINE, fields))
        self._last_seq = event.seq
        self._last_time = event.time
        return event
