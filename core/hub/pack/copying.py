"""Copies a file so that it is whole or absent, and says what its content is."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.units import MIB

OnProgress = Callable[[int, int, str], None]
"""Told how many bytes of how many are done, and with which file; what it raises ends the work."""

_BLOCK = 4 * MIB


@dataclass(frozen=True, slots=True)
class Content:
    """What a content is called: by its SHA-256, and by Git."""

    bytes: int
    sha256: str
    git_sha1: str


@dataclass
class Count:
    """How far the work on several files is, and who is told."""

    on_progress: OnProgress
    total: int
    done: int = 0
    words: str = ""

    def add(self, count: int) -> None:
        """So many bytes more are done."""
        self.done += count
        self.on_progress(self.done, self.total, self.words)


class _Hashes:
    def __init__(self, size: int) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # Git's own way to name a content
        self._bytes = 0

    def update(self, block: bytes) -> None:
        self._sha256.update(block)
        self._git.update(block)
        self._bytes += len(block)

    def content(self) -> Content:
        return Content(self._bytes, self._sha256.hexdigest(), self._git.hexdigest())


def read_content(path: Path, count: Count) -> Content:
    """What a file holds.

    Raises:
        OSError: it cannot be read.
    """
    hashes = _Hashes(path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hashes.update(block)
            count.add(len(block))
    return hashes.content()


def copy_content(source: Path, part: Path, count: Count) -> Content:
    """Copies a file to ``part``, durably, and returns what was copied; a part that was cut off is gone.

    Raises:
        OSError: it cannot be read or written.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    hashes = _Hashes(source.stat().st_size)
    try:
        with source.open("rb") as reader, part.open("wb") as writer:
            while block := reader.read(_BLOCK):
                writer.write(block)
                hashes.update(block)
                count.add(len(block))
            writer.flush()
            os.fsync(writer.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return hashes.content()
