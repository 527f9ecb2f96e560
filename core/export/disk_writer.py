"""Files written in a thread of their own, so that the next bytes are computed while the last ones go to the disk."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

_MOST_WAITING = 16
"""Pieces that may wait to be written; with pieces of some MiB each this bounds the memory."""
_FLUSH_BYTES = 128 * 1024 * 1024


class DiskWriter:
    """Writes one file after another, in order; at the end of the ``with`` block all of them are on the disk.

    The disk is kept busy from the beginning: left alone, a system with much memory starts to write when the last byte
    has come, and the wait for that would follow the work instead of going along with it.

    Raises:
        OSError: the disk is full or the folder cannot be written; told by a later call or at the end of the block.
    """

    def __init__(self) -> None:
        self._writing, self._flushing = ThreadPoolExecutor(1, "write"), ThreadPoolExecutor(1, "flush")
        self._waiting: deque[Future[Any]] = deque()
        self._flushes: list[Future[None]] = []
        self._file: BinaryIO | None = None
        self._path = Path()
        self._unflushed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._close()
                for flush in self._flushes:
                    flush.result()
        finally:
            self._writing.shutdown(cancel_futures=True)
            self._flushing.shutdown(cancel_futures=True)
            if self._file is not None:
                self._file.close()

    def begin(self, path: Path) -> None:
        """Ends the present file, if there is one, and begins another."""
        self._close()
        self._file, self._path, self._unflushed = path.open("wb", buffering=0), path, 0

    def write(self, piece: Any) -> int:
        """Hands a piece over, which nobody may change afterwards; returns its bytes."""
        assert self._file is not None, "no file has been begun"
        self._waiting.append(self._writing.submit(_write_all, self._file, piece))
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().result()
        self._unflushed += len(piece)
        if self._unflushed >= _FLUSH_BYTES:
            self._flushes.append(self._flushing.submit(_flush, self._path))
            self._unflushed = 0
        return len(piece)

    def _close(self) -> None:
        if self._file is None:
            return
        while self._waiting:
            self._waiting.popleft().result()
        self._file.close()
        self._file = None
        self._flushes.append(self._flushing.submit(_flush, self._path))


def _write_all(file: BinaryIO, piece: Any) -> None:
    view, done = memoryview(piece), 0
    while done < len(view):  # a system may write less than it was given
        done += file.write(view[done:])


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
