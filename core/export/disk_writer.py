"""Files written in a thread of their own, so that the next bytes are computed while the last ones go to the disk."""

import errno
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.units import MIB

_MOST_WAITING = 16
"""Pieces that may wait to be written; with pieces of some MiB each this bounds the memory."""
_FLUSH_BYTES = 128 * MIB
_BUFFER_BYTES = 4 * MIB
_BLOCK_BYTES = 4096
"""What disks are written in: lengths and places past the system's cache are multiples of it."""
_DIRECT: int = getattr(os, "O_DIRECT", 0)


class DiskWriter:
    """Writes one file after another, in order; at the end of the ``with`` block all of them are on the disk.

    Where the system and the disk allow it the bytes go past the system's cache: to clear its pages and to write them
    back took more of a processor than a whole merge. Elsewhere the disk is kept busy from the beginning: left alone, a
    system with much memory starts to write when the last byte has come, and the wait for that would follow the work
    instead of going along with it.

    Raises:
        OSError: the disk is full or the folder cannot be written; told by a later call or at the end of the block.
    """

    def __init__(self) -> None:
        self._writing, self._flushing = ThreadPoolExecutor(1, "write"), ThreadPoolExecutor(1, "flush")
        self._waiting: deque[Future[Any]] = deque()
        self._flushes: list[Future[None]] = []
        self._file: _File | None = None
        self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
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
        self._file, self._path, self._unflushed = _File(path, self._buffer), path, 0

    def write(self, piece: Any) -> int:
        """Hands a piece over, which nobody may change afterwards; returns its bytes."""
        assert self._file is not None, "no file has been begun"
        self._waiting.append(self._writing.submit(self._file.write, piece))
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().result()
        self._unflushed += len(piece)
        if self._unflushed >= _FLUSH_BYTES and not self._file.is_direct:
            self._flushes.append(self._flushing.submit(_flush, self._path))
            self._unflushed = 0
        return len(piece)

    def _close(self) -> None:
        if self._file is None:
            return
        while self._waiting:
            self._waiting.popleft().result()
        self._file.finish()
        self._file.close()
        self._file = None
        self._flushes.append(self._flushing.submit(_flush, self._path))


class _File:
    """One file, written from its beginning to its end.

    Attributes:
        is_direct: its bytes go past the system's cache, in whole blocks that are gathered in a buffer.
    """

    def __init__(self, path: Path, buffer: mmap.mmap) -> None:
        import numpy as np

        self._gathered, self._filled = np.frombuffer(buffer, np.uint8), 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        try:
            self._number, self.is_direct = os.open(path, flags | _DIRECT, 0o666), bool(_DIRECT)
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            self._number, self.is_direct = os.open(path, flags, 0o666), False  # a disk that has no such way
        self._gathers = self.is_direct  # to the end, whatever becomes of the way: what waits comes first

    def write(self, piece: Any) -> None:
        """Takes the next bytes; of those that go past the cache some wait for more."""
        import numpy as np

        if not self._gathers:
            self._put(memoryview(piece))
            return
        given, done = np.frombuffer(piece, np.uint8), 0
        while done < len(given):
            count = min(len(given) - done, _BUFFER_BYTES - self._filled)
            self._gathered[self._filled : self._filled + count] = given[done : done + count]
            self._filled += count
            done += count
            if self._filled == _BUFFER_BYTES:
                self._put(self._gathered.data)
                self._filled = 0

    def finish(self) -> None:
        """Writes what still waits, the last part of a block by way of the cache."""
        whole = self._filled // _BLOCK_BYTES * _BLOCK_BYTES
        self._put(self._gathered.data[:whole])
        if self._filled > whole:
            self._leave_direct()
            self._put(self._gathered.data[whole : self._filled])

    def close(self) -> None:
        """Gives the file back to the system."""
        os.close(self._number)

    def _put(self, view: memoryview) -> None:
        done = 0
        while done < len(view):  # a system may write less than it was given
            try:
                done += os.write(self._number, view[done:])
            except OSError as failure:
                if failure.errno != errno.EINVAL or not self._leave_direct():
                    raise

    def _leave_direct(self) -> bool:
        """Goes on through the cache; False where that was the way already."""
        if not self.is_direct:
            return False
        import fcntl

        fcntl.fcntl(self._number, fcntl.F_SETFL, fcntl.fcntl(self._number, fcntl.F_GETFL) & ~_DIRECT)
        self.is_direct = False
        return True


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
