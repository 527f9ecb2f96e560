"""Rows that were tokenised before, kept on disk under a hash of all that decides their tokens.

A file for each batch: so an interrupted data set goes on from the batches that were done, and two programs may work on
the same one. The files can be deleted at any time. One that is cut off, damaged or not ours is passed over and made
again; a disk that is full or read-only means that nothing is kept, and nothing else.
"""

import hashlib
import json
import os
import secrets
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.data.types import TOKEN_BYTES, Encoded
from core.errors import Problem
from core.paths import cache_dir, existing_parent
from core.records import RecordError, from_plain, to_plain
from core.units import GIB, MIB

LIMIT = 4 * GIB
"""All files together are kept below this. A row of English takes two bytes a token with a vocabulary of up to 65,536
tokens and four with a larger one, so these are the tokens of four to eight gigabytes of text."""

_SPARE = 2 * GIB
"""Room that is left on the disk for runs and for everybody else."""

_MAGIC = b"lowrank tokens 1\n"
_DIGEST = hashlib.sha256().digest_size
_SUFFIX = ".tokens"
_UNFINISHED = ".part"
_UNFINISHED_SECONDS = 3600
_SMALL_IDS = 1 << 16

Rows = Sequence[Encoded | Problem]


def tokens_folder() -> Path:
    """Where the files lie."""
    return cache_dir() / "tokens"


def clear_tokens() -> int:
    """Deletes everything that is kept, and returns how many bytes that were.

    Raises:
        OSError: a file cannot be deleted.
    """
    freed = 0
    for path, status in _files(tokens_folder()):
        path.unlink(missing_ok=True)
        freed += status.st_size
    return freed


class TokenCache:
    """The batches that are kept, for one data set that is being read.

    Attributes:
        hits: how many batches were found.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Touches nothing before the first question."""
        self.hits = 0
        self._folder, self._limit = folder, limit
        self._used = self._written = self._room = 0
        self._full = False

    def read(self, key: str, places: Sequence[str]) -> list[Encoded | Problem] | None:
        """The rows of a batch, or None if they are not here as a whole.

        Args:
            key: the hash of all that decides them.
            places: where each row stands, which is no part of what is kept.
        """
        path = self._path(key)
        try:
            blob = path.read_bytes()
        except OSError:  # not there, or not readable: then it is made again
            return None
        rows = _unpack(blob, key, places)
        try:
            if rows is None:
                path.unlink(missing_ok=True)
            else:
                os.utime(path)  # the oldest are deleted first, and this one has just been of use
        except OSError:  # a read-only folder: it stays as it is
            pass
        if rows is not None:
            self.hits += 1
            self._used += len(blob)
        return rows

    def write(self, key: str, rows: Rows) -> None:
        """Keeps a batch if there is room."""
        if self._full:
            return
        blob = _pack(key, rows)
        self._used += len(blob)
        if self._used > self._limit:  # of a data set that is too large, the beginning stays rather than the end
            self._full = True
            return
        try:
            self._put(self._path(key), blob)
        except OSError:  # full, read-only or gone: the next time these rows are tokenised again, and that is all
            self._full = True

    def _put(self, path: Path, blob: bytes) -> None:
        if self._room < len(blob):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._room = min(shutil.disk_usage(existing_parent(self._folder)).free - _SPARE, 64 * MIB)
            if self._room < len(blob):
                self._full = True
                return
        unfinished = path.with_name(f"{path.stem}.{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            # Not flushed to the disk one by one: whatever a power cut leaves of it is noticed on reading.
            unfinished.write_bytes(blob)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        self._room -= len(blob)
        self._written += 1

    def trim(self) -> None:
        """Deletes what was of no use for longest, until all files together are below the limit."""
        if not self._written:
            return
        kept = sorted(_files(self._folder), key=lambda item: item[1].st_mtime)
        total = sum(status.st_size for _, status in kept)
        old = time.time() - _UNFINISHED_SECONDS
        for path, status in kept:
            left_behind = path.suffix == _UNFINISHED and status.st_mtime < old
            if total <= self._limit and not left_behind:
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError:  # another program reads it: it goes the next time
                continue
            total -= status.st_size

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that are ours, finished or not."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 (a Path for each file is four times slower)
    except OSError:  # no folder, no files
        return
    for name in names:
        if name.endswith((_SUFFIX, _UNFINISHED)):
            path = folder / name
            try:
                yield path, path.stat()
            except OSError:  # gone meanwhile
                continue


def _pack(key: str, rows: Rows) -> bytes:
    """A batch as bytes: a hash of the rest, the lengths and problems, the ids, and a bit for each token's mark."""
    import numpy as np

    found = [row for row in rows if isinstance(row, Encoded)]
    ids = np.frombuffer(b"".join(row.ids for row in found), np.int32)
    small = not len(ids) or 0 <= int(ids.min()) <= int(ids.max()) < _SMALL_IDS
    marks = np.packbits(np.frombuffer(b"".join(row.marks for row in found), np.uint8))
    head = {"ids": "<u2" if small else "<i4", "rows": [_row_head(row) for row in rows]}
    plain = json.dumps(head, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    body = b"".join((struct.pack("<I", len(plain)), plain, ids.astype(head["ids"]).tobytes(), marks.tobytes()))
    return _MAGIC + _digest(key, body) + body


def _row_head(row: Encoded | Problem) -> object:
    return len(row) if isinstance(row, Encoded) else {**to_plain(row), "path": ""}


def _unpack(blob: bytes, key: str, places: Sequence[str]) -> list[Encoded | Problem] | None:
    """The batch; None if this is not all of it, or another one, or nothing of ours."""
    begin = len(_MAGIC) + _DIGEST
    body = memoryview(blob)[begin:]
    if not blob.startswith(_MAGIC) or blob[len(_MAGIC) : begin] != _digest(key, body):
        return None
    size = struct.unpack_from("<I", body)[0] + 4
    head = json.loads(bytes(body[4:size]))
    if len(head["rows"]) != len(places):
        return None
    return _read_rows(head, body[size:], places)


def _read_rows(head: dict[str, Any], data: memoryview, places: Sequence[str]) -> list[Encoded | Problem] | None:
    import numpy as np

    count = sum(item for item in head["rows"] if isinstance(item, int))
    kind = np.dtype(head["ids"])
    ids = np.frombuffer(data, kind, count).astype(np.int32).tobytes()
    marks = np.unpackbits(np.frombuffer(data, np.uint8, offset=count * kind.itemsize), count=count).tobytes()
    rows: list[Encoded | Problem] = []
    at = 0
    for place, item in zip(places, head["rows"], strict=True):
        if isinstance(item, int):
            stop = at + item
            rows.append(Encoded.packed(ids[TOKEN_BYTES * at : TOKEN_BYTES * stop], marks[at:stop], place))
            at = stop
            continue
        try:
            rows.append(from_plain(Problem, {**item, "path": place}))
        except RecordError:  # written by a version that knew other problems
            return None
    return rows


def _digest(key: str, body: bytes | memoryview) -> bytes:
    found = hashlib.sha256(key.encode("ascii"))
    found.update(body)
    return found.digest()
