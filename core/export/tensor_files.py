"""Safetensors files read and written tensor by tensor, so that a model never has to fit into memory.

Format: eight bytes with the length of a JSON header, the header (name -> dtype, shape, offsets), then the bytes of the
tensors without gaps (https://huggingface.co/docs/safetensors, section "Format").
"""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.errors import UserError, error
from core.export.disk_writer import DiskWriter
from core.facts.safetensors_header import INDEX_FILE, SINGLE_FILE, read_header, read_weights
from core.facts.tensors import Tensor
from core.paths import write_json

ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
}
FLOATS = ("F64", "F32", "F16", "BF16")
CHUNK_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies: ``bytes`` bytes at ``offset`` of ``path``; ``dtype`` in safetensors' words ("BF16")."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    bytes: int


class Sized(Protocol):
    """What a shard layout needs to know of a tensor that will be written."""

    @property
    def name(self) -> str:
        """Name in the file."""

    @property
    def dtype(self) -> str:
        """Format in safetensors' words."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its dimensions."""

    @property
    def bytes(self) -> int:
        """Size in the file."""


T = TypeVar("T", bound=Sized)


def read_tensors(path: Path) -> tuple[StoredTensor, ...]:
    """Every tensor of one safetensors file, in the order of its bytes; reads the header alone.

    Raises:
        UserError: the file is missing, cut short or not a safetensors file.
    """
    return tuple(_stored(path.parent, tensor) for tensor in read_header(path))


def read_model_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a model folder by name, in the order of the files.

    Raises:
        UserError: there are no safetensors weights, or a weight file or the list of them is missing or broken.
    """
    if not (folder / SINGLE_FILE).is_file() and not (folder / INDEX_FILE).is_file():
        pickled = [path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in sorted(folder.glob(pattern))]
        if pickled:
            message = f"The weights are pickled ({pickled[0]}); such files can run programs when they are opened."
            raise UserError(error(str(folder), message, "Take a copy of the model that has safetensors files."))
        message = f"The folder holds no weights: neither {SINGLE_FILE} nor {INDEX_FILE} is there."
        raise UserError(error(str(folder), message, "Choose the folder of a whole model."))
    return {tensor.name: _stored(folder, tensor) for tensor in read_weights(folder).tensors}


def _stored(folder: Path, tensor: Tensor) -> StoredTensor:
    return StoredTensor(tensor.name, tensor.dtype, tensor.shape, folder / tensor.file, tensor.offset, tensor.bytes)


def read_rows(tensor: StoredTensor, start: int, stop: int) -> memoryview:
    """The bytes of rows ``start`` to ``stop`` (first dimension) of a tensor."""
    row = tensor.bytes // tensor.shape[0] if tensor.shape and tensor.shape[0] else tensor.bytes
    return _read(tensor, start * row, (stop - start) * row)


def read_chunks(tensor: StoredTensor) -> Iterator[memoryview]:
    """The bytes of a tensor in pieces of at most `CHUNK_BYTES`."""
    for start in range(0, tensor.bytes, CHUNK_BYTES):
        yield _read(tensor, start, min(CHUNK_BYTES, tensor.bytes - start))


def _read(tensor: StoredTensor, start: int, length: int) -> memoryview:
    import numpy as np

    view, done = np.empty(length, np.uint8).data, 0  # a bytearray would be filled with zeros first
    with tensor.path.open("rb", buffering=0) as file:
        file.seek(tensor.offset + start)
        while done < length:
            count = file.readinto(view[done:])
            if not count:
                message = f"The file became shorter while it was read: “{tensor.name}” is not all there."
                raise UserError(error(str(tensor.path), message, "Copy or download the file again."))
            done += count
    return view


def header_bytes(tensors: Sequence[Sized]) -> bytes:
    """The first part of a safetensors file that holds ``tensors`` in this order, padded to eight bytes."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.bytes
        table[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def lay_out(tensors: Iterable[T], max_shard_bytes: int) -> dict[str, tuple[T, ...]]:
    """File name -> tensors in it, each file at most ``max_shard_bytes`` unless one tensor alone is larger."""
    shards: list[list[T]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.bytes > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.bytes
    # Wide formats first keeps every tensor aligned to its own item size, which readers that map files rely on.
    ordered = [tuple(sorted(shard, key=lambda item: -ITEM_BYTES.get(item.dtype, 1))) for shard in shards]
    if len(ordered) == 1:
        return {SINGLE_FILE: ordered[0]}
    return {f"model-{i + 1:05d}-of-{len(ordered):05d}.safetensors": shard for i, shard in enumerate(ordered)}


def size_of(layout: Mapping[str, Sequence[Sized]]) -> int:
    """Bytes that the files of a layout will take, headers and index included."""
    headers = sum(len(header_bytes(shard)) for shard in layout.values())
    return headers + sum(tensor.bytes for shard in layout.values() for tensor in shard) + len(_index_text(layout))


def write_files(folder: Path, layout: Mapping[str, Sequence[T]], content: Callable[[T], Iterable[Any]]) -> None:
    """Writes the files of a layout; ``content`` yields the bytes of a tensor, piece by piece.

    Raises:
        OSError: the disk is full or the folder cannot be written.
        ValueError: ``content`` gave more or fewer bytes than the tensor has.
    """
    with DiskWriter() as disk:
        for name, shard in layout.items():
            disk.begin(folder / name)
            disk.write(header_bytes(shard))
            for tensor in shard:
                written = sum(disk.write(piece) for piece in content(tensor))
                if written != tensor.bytes:
                    raise ValueError(f"{tensor.name}: {written} bytes where {tensor.bytes} belong")
    if len(layout) > 1:
        write_json(folder / INDEX_FILE, _index(layout))


def _index(layout: Mapping[str, Sequence[Sized]]) -> dict[str, object]:
    total = sum(tensor.bytes for shard in layout.values() for tensor in shard)
    weight_map = {tensor.name: name for name, shard in layout.items() for tensor in shard}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}


def _index_text(layout: Mapping[str, Sequence[Sized]]) -> bytes:
    return (json.dumps(_index(layout), indent=2, ensure_ascii=False) + "\n").encode() if len(layout) > 1 else b""
