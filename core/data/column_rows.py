"""Rows from column formats: Parquet and Arrow, a batch at a time and checked before they are believed."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from core.data.packed import BrokenFileError, OnBytes, byte_chunks
from core.data.source import Source, elide
from core.data.types import Row
from core.errors import UserError, error
from core.units import GIB, format_bytes

ARROW_FILE = b"ARROW1"
PARQUET = b"PAR1"
_BATCH = 256
_PARQUET_BUFFER = 1024 * 1024
_ARROW_START = (
    8  # the magic bytes and their padding; behind them the file is a stream (Arrow columnar format, IPC file)
)
_MOST_UNPACKED = 4 * GIB
_CONTINUATION = b"\xff\xff\xff\xff"


def is_arrow_stream(head: bytes) -> bool:
    """Whether a file begins as the streaming format of Arrow does: a mark, a length, and a schema message."""
    if not head.startswith(_CONTINUATION) or len(head) < 16:
        return False
    length = int.from_bytes(head[4:8], "little", signed=True)
    return 0 < length < 2**28 and length % 8 == 0


def read_parquet(source: Source, *, on_bytes: OnBytes | None = None) -> Iterator[Row]:
    """The rows of a Parquet file, a batch at a time; a row's line is its number, counted from 1.

    A packed one is unpacked into a temporary file first, because it is read from its end.

    Raises:
        UserError: the file is damaged or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _unpacked(source) as file, pq.ParquetFile(file, pre_buffer=False, buffer_size=_PARQUET_BUFFER) as table:
            _check_columns(source.path, table.schema_arrow.names)
            total, size, number = max(1, table.metadata.num_rows), source.path.stat().st_size, 0
            for batch in table.iter_batches(batch_size=_BATCH):
                for value in _values(batch):
                    number += 1
                    yield Row(str(source.path), number, value)
                if on_bytes:
                    on_bytes(min(size, size * number // total))
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as failure:
        raise _unreadable(source.path, "Parquet", failure) from failure


def count_parquet(source: Source) -> int:
    """How many rows a Parquet file says it has.

    Raises:
        UserError: the file is damaged or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _unpacked(source) as file:
            return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as failure:
        raise _unreadable(source.path, "Parquet", failure) from failure


def read_arrow(source: Source, *, on_bytes: OnBytes | None = None) -> Iterator[Row]:
    """The rows of an Arrow IPC file (Feather) or stream, a batch at a time; a row's line is its number.

    Raises:
        UserError: the file is damaged or cannot be read.
    """
    import pyarrow as pa

    number = 0
    try:
        with _ChunkFile(byte_chunks(source.path, source.packing, on_bytes=on_bytes)) as chunks:
            chunks.skip(ARROW_FILE, _ARROW_START)
            with pa.ipc.open_stream(pa.PythonFile(io.BufferedReader(chunks), mode="r")) as reader:
                _check_columns(source.path, reader.schema.names)
                for whole in reader:
                    for start in range(0, whole.num_rows, _BATCH):
                        for value in _values(whole.slice(start, _BATCH)):
                            number += 1
                            yield Row(str(source.path), number, value)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as failure:
        raise _unreadable(source.path, "Arrow", failure) from failure


def _values(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch. What a damaged file claims is checked first: the library trusts lengths and offsets."""
    batch.validate(full=True)
    found: list[dict[str, Any]] = batch.to_pylist()
    return found


class _ChunkFile(io.RawIOBase):
    """Pieces of bytes as a file that is read from front to back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            self._held = next(self._chunks, b"")
        piece = self._held[: len(buffer)]
        self._held = self._held[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def skip(self, start: bytes, size: int) -> None:
        """Passes over the first ``size`` bytes if the file begins with ``start``."""
        while len(self._held) < size and (more := next(self._chunks, b"")):
            self._held += more
        if self._held.startswith(start):
            self._held = self._held[size:]


@contextmanager
def _unpacked(source: Source) -> Iterator[IO[bytes]]:
    if not source.packing:
        with source.path.open("rb") as file:
            yield file
        return
    size = 0
    with tempfile.TemporaryFile() as whole:
        for piece in byte_chunks(source.path, source.packing):
            size += len(piece)
            if size > _MOST_UNPACKED:
                message = f"The Parquet file inside the archive is larger than {format_bytes(_MOST_UNPACKED)}."
                advice = "Unpack it; Parquet is packed inside."
                raise UserError(error(str(source.path), message, advice))
            whole.write(piece)
        whole.seek(0)
        yield whole


def _check_columns(path: Path, names: Sequence[Any]) -> None:
    if len(set(names)) != len(names):
        raise UserError(error(str(path), "Two columns have the same name.", "Give every column its own name."))


def _unreadable(path: Path, kind: str, failure: BaseException) -> BrokenFileError:
    message = f"The {kind} file cannot be read: {elide(str(failure) or type(failure).__name__, 160)}."
    return BrokenFileError(error(str(path), message, "Write or download the file again."))
