"""What lies inside a packed file, piece by piece: gzip and Zstandard, and an end to archives that only swell."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal

from core.errors import Problem, UserError, error
from core.units import MIB, format_bytes

Packing = Literal["", "gzip", "zstd"]
"""How a file is packed; empty for not at all."""

OnBytes = Callable[[int], None]
"""Told how many bytes of the file on disk have been read so far."""

CHUNK_BYTES = 256 * 1024
SUSPECT_BYTES = 256 * MIB
SUSPECT_RATIO = 200
"""Text shrinks to a third or a tenth, a very repetitive log to a fiftieth. gzip can reach 1032 (zlib's technical
notes), Zstandard far more; what goes beyond this after so many bytes holds nothing to learn from."""

_ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_NAMES = {"gzip": "gzip", "zstd": "Zstandard"}


class BrokenFileError(UserError):
    """The content of a file is damaged from some place on; the rows before that place are what they are."""


def unreadable(path: Path, failure: Exception) -> Problem:
    """What to say when the system refuses to read a file that is there."""
    reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    return error(str(path), f"The file cannot be read: {reason}.", "Check the path and the disk it lies on.")


def packing_of(head: bytes) -> Packing:
    """How a file that begins like this is packed."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or (head[1:4] == b"\x2a\x4d\x18" and head[:1] >= b"\x50" and head[:1] <= b"\x5f"):
        return "zstd"
    return ""


def is_packed_name(ending: str) -> bool:
    """Whether a name's last ending, such as “.gz”, says that the file is packed."""
    return ending.lower() in _ENDINGS


def byte_chunks(path: Path, packing: Packing, *, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    """The content of a file, unpacked, piece by piece.

    Raises:
        BrokenFileError: the archive is damaged, or swells beyond all measure.
        UserError: the file cannot be read.
    """
    import gzip
    import zlib

    total = 0
    try:
        with path.open("rb") as raw:
            stream = _stream(raw, packing)
            # Not beyond the size at the start: a file that somebody writes to would never end.
            most = sys.maxsize if packing else os.fstat(raw.fileno()).st_size
            while piece := stream.read(min(CHUNK_BYTES, most - total)):
                total += len(piece)
                if packing and total > SUSPECT_BYTES and total > SUSPECT_RATIO * raw.tell():
                    raise _swelling(path, raw.tell(), total)
                if on_bytes:
                    on_bytes(raw.tell())
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise _damaged(path, packing, str(failure)) from failure
    except OSError as failure:
        if packing == "zstd" and failure.errno is None:  # Arrow's way to say what is wrong with an archive
            raise _damaged(path, packing, str(failure)) from failure
        raise UserError(unreadable(path, failure)) from failure


def _stream(raw: IO[bytes], packing: Packing) -> IO[bytes]:
    if packing == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # typeshed: GzipFile is no IO[bytes]
    if packing == "zstd":
        import pyarrow as pa

        found: IO[bytes] = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return found
    return raw


def _damaged(path: Path, packing: Packing, reason: str) -> BrokenFileError:
    message = f"The {_NAMES[packing]} archive is damaged or cut off: {reason.rstrip('.')}."
    return BrokenFileError(error(str(path), message, "Copy or download the file again."))


def _swelling(path: Path, packed: int, unpacked: int) -> BrokenFileError:
    message = (
        f"The archive swells without end: its first {format_bytes(packed)} hold more than {format_bytes(unpacked)}, as "
        "no real text does."
    )
    return BrokenFileError(error(str(path), message, "Unpack it yourself if you trust it, and choose what came out."))
