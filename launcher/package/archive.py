"""Archives that are the same, byte for byte, whenever they are made of the same files: tar and ar, with zstd."""

import io
import tarfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LEVEL = 9
FRAME = 32 * 1024**2
"""Bytes that are compressed as one frame: all cores work, each on a frame of its own."""
_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Link:
    """A link in an archive that need not be on the disk."""

    target: str


Source = Path | bytes | Link
"""What an entry holds: a file or link on the disk, these bytes, or a link."""


class FrameWriter(io.BufferedIOBase):
    """Compresses what is written into frames of zstd, one after another, as any reader of zstd takes them."""

    def __init__(self, target: BinaryIO, level: int = LEVEL) -> None:
        import os

        super().__init__()
        self._target = target
        self._level = level
        self._buffer = bytearray()
        self._cores = min(os.cpu_count() or 1, _PROCESSES)
        self._pool = ThreadPoolExecutor(self._cores)
        self._frames: list[Future[bytes]] = []

    def writable(self) -> bool:
        """It is made to be written to."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Takes bytes; full frames go to the target in the order in which they were filled."""
        block = bytes(data)
        self._buffer += block
        while len(self._buffer) >= FRAME:
            self._begin(bytes(self._buffer[:FRAME]))
            del self._buffer[:FRAME]
        return len(block)

    def close(self) -> None:
        """Writes what is left; the target stays open."""
        if not self.closed:
            if self._buffer:
                self._begin(bytes(self._buffer))
                self._buffer.clear()
            self._finish(0)
            self._pool.shutdown()
        super().close()

    def _begin(self, block: bytes) -> None:
        self._frames.append(self._pool.submit(_compress, block, self._level))
        self._finish(self._cores)

    def _finish(self, left: int) -> None:
        while len(self._frames) > left:
            self._target.write(self._frames.pop(0).result())


def _compress(block: bytes, level: int) -> bytes:
    import pyarrow as pa

    packed: bytes = pa.Codec("zstd", compression_level=level).compress(block, asbytes=True)
    return packed


def write_tar(
    target: IO[bytes] | io.BufferedIOBase, entries: Iterable[tuple[Source, PurePosixPath, int]], moment: int
) -> None:
    """Writes a tar archive that belongs to root and in which everything has the same time.

    Args:
        target: where to.
        entries: content, name in the archive, and mode; in the order given.
        moment: seconds since 1970 that every entry is dated at.
    """
    folders: set[PurePosixPath] = set()
    with tarfile.open(fileobj=cast(BinaryIO, target), mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for source, name, mode in entries:
            for folder in [*reversed(name.parents)][1:]:
                if folder not in folders:
                    folders.add(folder)
                    archive.addfile(_entry(f"./{folder}", tarfile.DIRTYPE, 0o755, moment))
            _add(archive, source, name, mode, moment)


def _add(archive: tarfile.TarFile, source: Source, name: PurePosixPath, mode: int, moment: int) -> None:
    entry = _entry(f"./{name}", tarfile.REGTYPE, mode, moment)
    if isinstance(source, bytes):
        entry.size = len(source)
        archive.addfile(entry, io.BytesIO(source))
    elif isinstance(source, Link) or source.is_symlink():
        entry.type = tarfile.SYMTYPE
        entry.linkname = source.target if isinstance(source, Link) else str(source.readlink())
        archive.addfile(entry)
    else:
        entry.size = source.stat().st_size
        with source.open("rb") as file:
            archive.addfile(entry, file)


def _entry(name: str, kind: bytes, mode: int, moment: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, moment
    entry.uname = entry.gname = "root"
    return entry


def write_ar(target: BinaryIO, members: Iterable[tuple[str, Path | bytes]], moment: int) -> None:
    """Writes an ``ar`` archive, which is what a Debian package is; names have at most 15 letters."""
    target.write(b"!<arch>\n")
    for name, content in members:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        target.write(f"{name:<16}{moment:<12}{0:<6}{0:<6}{'100644':<8}{size:<10}`\n".encode("ascii"))
        if isinstance(content, bytes):
            target.write(content)
        else:
            with content.open("rb") as file:
                _copy(file.read, target.write)
        if size % 2:
            target.write(b"\n")


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    while block := read(FRAME):
        write(block)
