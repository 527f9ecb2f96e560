"""The header of a GGUF file: metadata and tensor infos of versions 2 and 3. Reads no weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the file before
anything is allocated, and arrays are stepped over, so that hostile files cost no more than honest ones.
"""

import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import UserError, error
from core.facts.tensors import Tensor

_KEPT_ITEMS = 4096  # arrays of numbers up to this length are kept: some models list a value for each layer
_MAX_DEPTH = 4
_MAX_DIMENSIONS = 4
_MAX_KEY_BYTES = 65_535
_MAX_ALIGNMENT = 1 << 20
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_SIZES = {kind: struct.calcsize(code) for kind, code in _SCALARS.items()}

# Type number -> (name, values in a block, bytes of a block); from ggml's type table.
QUANTIZATIONS: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array in the metadata; the items are kept only for short arrays of numbers."""

    length: int
    items: tuple[float | int | bool, ...] | None = None


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands before the weights.

    Attributes:
        metadata: key -> string, number, truth value or `GgufArray`.
        tensors: shapes in torch's order (the file has them reversed), offsets from the file's start.
    """

    version: int
    metadata: Mapping[str, object]
    tensors: tuple[Tensor, ...]
    bytes: int


class _BrokenError(Exception):
    """The bytes make no sense; becomes a `UserError` that names the file."""


def read_gguf_header(path: Path) -> GgufHeader:
    """Metadata and tensors of a GGUF file.

    Raises:
        UserError: the file cannot be read, is no GGUF file of a known version, or is damaged or cut off.
    """
    try:
        with path.open("rb") as file:
            return _read_open(file, path)
    except OSError as failure:
        raise UserError(
            error(str(path), f"The GGUF file cannot be read: {failure.strerror or failure}.", "Check the file.")
        ) from failure
    except _BrokenError as failure:
        raise UserError(
            error(str(path), f"The GGUF file is broken: {failure}.", "Download or copy the file again.")
        ) from failure


def _read_open(file: BinaryIO, path: Path) -> GgufHeader:
    size = file.seek(0, os.SEEK_END)
    if size < 24:  # also because an empty file cannot be mapped
        raise _BrokenError(f"it has only {size} bytes")
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        return _read(_Cursor(data, size), path)


class _Cursor:
    """Reads forward through the file and never past its end."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self.data = data
        self.size = size
        self.at = 0

    def take(self, count: int) -> int:
        """Steps over ``count`` bytes and returns where they start."""
        start = self.at
        if count > self.size - start:
            raise _BrokenError(f"it ends inside its header, at byte {self.size:,}")
        self.at = start + count
        return start

    def number(self, code: str) -> int:
        value: int = struct.unpack_from(code, self.data, self.take(struct.calcsize(code)))[0]
        return value

    def text(self, limit: int | None = None) -> str:
        length = self.number("<Q")
        if limit is not None and length > limit:
            raise _BrokenError(f"a name claims {length:,} bytes")
        start = self.take(length)
        return self.data[start : start + length].decode("utf-8", "replace")


def _read(cursor: _Cursor, path: Path) -> GgufHeader:
    magic = cursor.data[: cursor.take(4) + 4]
    if magic != b"GGUF":
        raise _BrokenError("it does not begin with the letters GGUF, so it is another kind of file")
    version = cursor.number("<I")
    if version not in (2, 3):
        big = version >= 1 << 16
        raise _BrokenError(
            "it is written for big-endian machines" if big else f"its version {version} is not supported"
        )
    num_tensors, num_values = cursor.number("<Q"), cursor.number("<Q")
    if num_tensors * 24 + num_values * 13 > cursor.size:
        raise _BrokenError(f"it claims {num_tensors:,} tensors and {num_values:,} settings in {cursor.size:,} bytes")
    metadata: dict[str, object] = {}
    for _ in range(num_values):
        key = cursor.text(_MAX_KEY_BYTES)
        if key in metadata:
            raise _BrokenError(f"the setting “{key[:100]}” appears twice")
        metadata[key] = _value(cursor, cursor.number("<I"), 0)
    infos = [_info(cursor, path.name) for _ in range(num_tensors)]
    if len({info.name for info in infos}) != len(infos):
        raise _BrokenError("a tensor's name appears twice")
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment.bit_count() != 1 or alignment > _MAX_ALIGNMENT:
        raise _BrokenError(f"its alignment {str(alignment)[:40]} is not a power of two")
    start = -(-cursor.at // alignment) * alignment
    return GgufHeader(version, metadata, _placed(path, infos, start, alignment, cursor.size), cursor.size)


def _value(cursor: _Cursor, kind: int, depth: int) -> object:
    if kind == _STRING:
        return cursor.text()
    if kind == _ARRAY:
        return _array(cursor, depth)
    if kind not in _SCALARS:
        raise _BrokenError(f"a setting has the unknown type {kind}")
    return struct.unpack_from(_SCALARS[kind], cursor.data, cursor.take(_SIZES[kind]))[0]


def _array(cursor: _Cursor, depth: int) -> GgufArray:
    kind, length = cursor.number("<I"), cursor.number("<Q")
    if kind in _SIZES:
        start = cursor.take(_SIZES[kind] * length)
        items = (
            struct.unpack_from(f"<{length}{_SCALARS[kind][1]}", cursor.data, start) if length <= _KEPT_ITEMS else None
        )
        return GgufArray(length, items)
    if kind not in (_STRING, _ARRAY) or depth >= _MAX_DEPTH:
        raise _BrokenError(f"an array has the unknown or too deeply nested type {kind}")
    if length * 8 > cursor.size - cursor.at:
        raise _BrokenError(f"an array claims {length:,} items, more than the file can hold")
    if kind == _ARRAY:
        for _ in range(length):
            _array(cursor, depth + 1)
        return GgufArray(length)
    # Vocabularies have up to a quarter of a million strings: a plain loop over local names takes well under a second.
    data, at, size, unpack = cursor.data, cursor.at, cursor.size, struct.Struct("<Q").unpack_from
    for _ in range(length):
        if at + 8 > size:
            raise _BrokenError("it ends inside an array")
        at += 8 + unpack(data, at)[0]
    cursor.take(at - cursor.at)
    return GgufArray(length)


def _info(cursor: _Cursor, file: str) -> Tensor:
    name = cursor.text(_MAX_KEY_BYTES)
    num_dimensions = cursor.number("<I")
    if num_dimensions > _MAX_DIMENSIONS:
        raise _BrokenError(f"the tensor “{name[:100]}” claims {num_dimensions:,} dimensions")
    shape = tuple(cursor.number("<Q") for _ in range(num_dimensions))
    kind, offset = cursor.number("<I"), cursor.number("<Q")
    if kind not in QUANTIZATIONS:
        raise _BrokenError(f"the tensor “{name[:100]}” has the unknown type {kind}")
    word, block, block_bytes = QUANTIZATIONS[kind]
    if shape and shape[0] % block:
        raise _BrokenError(
            f"the tensor “{name[:100]}” has rows of {shape[0]:,} values, but {word} needs blocks of {block}"
        )
    return Tensor(name, shape[::-1], word, math.prod(shape) // block * block_bytes, file, offset)


def _placed(path: Path, infos: list[Tensor], start: int, alignment: int, size: int) -> tuple[Tensor, ...]:
    placed = [Tensor(t.name, t.shape, t.dtype, t.bytes, t.file, start + t.offset) for t in infos]
    end = start
    for tensor in sorted(placed, key=lambda tensor: (tensor.offset, tensor.bytes)):
        if tensor.offset % alignment or tensor.offset < end:
            raise _BrokenError(f"the tensor “{tensor.name[:100]}” overlaps with another one or is misplaced")
        end = tensor.offset + tensor.bytes
    if placed and end > size:
        raise UserError(
            error(
                str(path),
                f"The file is cut off: {size:,} of {end:,} bytes are there.",
                "Finish or repeat the download.",
            )
        )
    return tuple(placed)
