"""The headers of safetensors files, checked against the files' real sizes. Reads no weights.

Format: eight bytes with the length of the header (little endian), the header as JSON, then the tensors without gaps
(https://github.com/huggingface/safetensors, section "Format").
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from core.errors import Problem, UserError, error
from core.facts.json_files import read_json_object
from core.facts.tensors import Tensor
from core.units import format_bytes

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000  # the reference implementation refuses more, too
_MAX_NAMED = 3
_LFS_POINTER = b"version https://git-lfs"
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


@dataclass(frozen=True, slots=True)
class Weights:
    """All tensors of a model and the files they lie in.

    Attributes:
        files: names relative to the folder, in order.
        bytes: size of those files together.
    """

    tensors: tuple[Tensor, ...]
    files: tuple[str, ...]
    bytes: int


def read_header(path: Path) -> tuple[Tensor, ...]:
    """The tensors of one safetensors file, in the order of the file.

    Raises:
        UserError: the file is missing, cut off, longer than promised, or its header is broken.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if _LFS_POINTER.startswith(start) and start:
                raise _lfs_pointer(path)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > size - 8:
                raise _broken(path, f"it ends inside its header ({format_bytes(size)} are there).", _AGAIN)
            if length > MAX_HEADER_BYTES:
                raise _broken(path, f"its header claims {format_bytes(length)}, which no model needs.", _NOT_ONE)
            blob = file.read(length)
    except OSError as failure:
        raise UserError(
            error(str(path), f"The weight file cannot be read: {failure.strerror or failure}.", "Check the file.")
        ) from failure
    tensors = [_entry(path, name, value, 8 + length) for name, value in _parse(path, blob).items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.bytes))
    _check_layout(path, tensors, 8 + length, size)
    return tuple(tensors)


def read_weights(folder: Path) -> Weights:
    """The tensors of a model folder: `model.safetensors`, or all the shards that the index names.

    Raises:
        UserError: a shard is missing or broken, or lacks a tensor that the index places in it.
    """
    if (folder / SINGLE_FILE).is_file():
        return Weights(read_header(folder / SINGLE_FILE), (SINGLE_FILE,), (folder / SINGLE_FILE).stat().st_size)
    index = folder / INDEX_FILE
    places = read_index(index)
    files = tuple(sorted(set(places.values())))
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise UserError(
            error(
                str(folder),
                f"{len(missing)} of the model's {len(files)} weight files {'is' if len(missing) == 1 else 'are'} "
                f"missing: {_some(missing)}.",
                "Download the model again, or wait until the download has finished.",
            )
        )
    problems: list[Problem] = []
    tensors: dict[str, Tensor] = {}
    for name in files:
        try:
            for tensor in read_header(folder / name):
                if tensor.name in tensors:
                    problems.append(
                        error(
                            str(folder / name),
                            f"The tensor “{tensor.name}” is in this file and in {tensors[tensor.name].file} as well.",
                            "Download the model again into an empty folder.",
                        )
                    )
                tensors[tensor.name] = tensor
        except UserError as failure:
            problems.extend(failure.problems)
    if not problems:
        problems.extend(_misplaced(index, places, tensors))
    if problems:
        raise UserError(*problems)
    return Weights(tuple(tensors.values()), files, sum((folder / name).stat().st_size for name in files))


_AGAIN = "Download or copy the file again."
_NOT_ONE = "It is probably no safetensors file; take the model from its source again."


def _broken(path: Path, reason: str, advice: str) -> UserError:
    return UserError(error(str(path), f"The weight file is broken: {reason}", advice))


def _lfs_pointer(path: Path) -> UserError:
    return UserError(
        error(
            str(path),
            "The file holds only a Git LFS pointer, not the weights themselves.",
            "Run “git lfs pull” in the model's folder, or download the file.",
        )
    )


def _parse(path: Path, blob: bytes) -> dict[str, object]:
    def unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, value in pairs:
            if key in values:
                raise ValueError(f"the name “{key[:200]}” appears twice")
            key.encode()  # half a surrogate pair could never be written down again
            values[key] = value
        return values

    try:
        header = json.loads(blob.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as failure:
        raise _broken(path, f"its header is not valid JSON ({failure}).", _NOT_ONE) from failure
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a table of tensors.", _NOT_ONE)
    header.pop("__metadata__", None)
    if not header:
        raise _broken(path, "it holds no tensors.", _AGAIN)
    return header


def _entry(path: Path, name: str, value: object, data: int) -> Tensor:
    where = f"the entry of “{name[:200]}”"
    if not isinstance(value, dict):
        raise _broken(path, f"{where} is not a table.", _NOT_ONE)
    dtype, shape, span = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _broken(path, f"{where} has the unknown number format {str(dtype)[:40]!r}.", _NOT_ONE)
    if not _counts(shape) or not _counts(span) or not isinstance(span, list) or len(span) != 2:
        raise _broken(path, f"{where} has no valid shape and position.", _NOT_ONE)
    assert isinstance(shape, list)
    tensor = Tensor(name, tuple(shape), dtype, span[1] - span[0], path.name, data + span[0])
    if tensor.bytes * 8 != tensor.elements * _BITS[dtype]:
        raise _broken(
            path, f"{where} promises {tensor.elements:,} values of {dtype} in {tensor.bytes:,} bytes.", _NOT_ONE
        )
    return tensor


def _counts(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) <= 32 and all(type(item) is int and 0 <= item < 2**63 for item in value)
    )


def _check_layout(path: Path, tensors: list[Tensor], data: int, size: int) -> None:
    expected = max(tensor.offset + tensor.bytes for tensor in tensors)
    if size < expected:
        raise UserError(
            error(
                str(path),
                f"The file is cut off: {size:,} of {expected:,} bytes are there.",
                "Finish or repeat the download.",
            )
        )
    end = data
    for tensor in tensors:
        if tensor.offset != end:
            what = "overlaps with" if tensor.offset < end else "leaves a gap after"
            raise _broken(path, f"the tensor “{tensor.name}” {what} the one before it.", _NOT_ONE)
        end += tensor.bytes
    if size > expected:
        raise _broken(path, f"it has {size - expected:,} bytes more than its header promises.", _AGAIN)


def read_index(index: Path) -> dict[str, str]:
    """Tensor name -> the file beside the index that holds it.

    Raises:
        UserError: the index is broken, or names files outside its folder.
    """
    places = read_json_object(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise UserError(
            error(str(index), "The index has no “weight_map” that says which file holds which tensor.", _AGAIN)
        )
    for name in dict.fromkeys(places.values()):
        if PurePath(name).name != name or name in ("", ".", "..") or "\\" in name or "\0" in name:
            raise UserError(
                error(
                    str(index),
                    f"The index names the file “{name[:200]}”, which does not lie in the model's own folder.",
                    "Take the model from a source you trust.",
                )
            )
    return places


def _misplaced(index: Path, places: dict[str, str], tensors: dict[str, Tensor]) -> Iterable[Problem]:
    lost = [f"{name} in {file}" for name, file in places.items() if name not in tensors or tensors[name].file != file]
    if lost:
        yield error(
            str(index),
            f"The index lists {len(lost)} tensors that are not where it says: {_some(lost)}.",
            "The weight files belong to different versions of the model; download it again into an empty folder.",
        )


def _some(names: list[str]) -> str:
    rest = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
