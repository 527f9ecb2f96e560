"""The bytes of one tensor in a GGUF file: the merged numbers, regrouped for llama.cpp, in the type of the file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.errors import UserError, error
from core.export.deltas import BLOCK_ELEMENTS, wide_blocks
from core.export.gguf.layout import Placed
from core.export.tensor_files import read_chunks

if TYPE_CHECKING:
    import numpy as np
    import torch


def tensor_bytes(tensor: Placed) -> Iterator[Any]:
    """All bytes of a tensor, piece by piece.

    Raises:
        UserError: the numbers do not fit the file's type, or are no numbers.
    """
    import numpy as np

    source = tensor.source
    if source is None:
        yield np.asarray(tensor.values, np.float32).data
        return
    if tensor.is_as_stored:
        yield from read_chunks(source.source)
        return
    for block in _regrouped(tensor):
        numbers = np.ascontiguousarray(block.float().numpy())
        if not np.isfinite(numbers).all():
            raise _not_finite(tensor, numbers)
        written = _as_kind(numbers, tensor.kind)
        if tensor.kind == "F16" and not np.isfinite(written).all():
            raise _not_finite(tensor, numbers)
        yield np.ascontiguousarray(written).reshape(-1).view(np.uint8).data


def _regrouped(tensor: Placed) -> "Iterator[torch.Tensor]":
    import torch

    source = tensor.source
    assert source is not None
    blocks = wide_blocks(source)
    if tensor.plus_one:
        blocks = (block + 1 for block in blocks)
    if not tensor.heads and not tensor.transposed:
        yield from blocks
        return
    whole = torch.cat(list(blocks))
    if tensor.transposed:
        whole = whole.T
    if tensor.heads:
        whole = in_pairs(whole, tensor.heads)
    step = max(1, BLOCK_ELEMENTS // max(1, whole[0].numel()))
    for start in range(0, whole.shape[0], step):
        yield whole[start : start + step].contiguous()


def in_pairs(weight: "torch.Tensor", heads: int) -> "torch.Tensor":
    """Rows of each head in pairs that are turned by one angle, where the model has them in two halves.

    transformers turns row i of a head with row i + d/2, llama.cpp's ``llama`` row 2i with row 2i + 1.
    """
    rows = weight.shape[0]
    split = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return split.transpose(1, 2).reshape(weight.shape)


def in_halves(weight: "torch.Tensor", heads: int) -> "torch.Tensor":
    """What `in_pairs` did, undone."""
    rows = weight.shape[0]
    split = weight.reshape(heads, rows // heads // 2, 2, *weight.shape[1:])
    return split.transpose(1, 2).reshape(weight.shape)


def _as_kind(numbers: "np.ndarray[Any, Any]", kind: str) -> "np.ndarray[Any, Any]":
    import gguf
    import numpy as np

    if kind == "F32":
        return numbers
    if kind == "F16":
        with np.errstate(over="ignore"):  # found by the caller, with the tensor's name
            return numbers.astype(np.float16)
    written: np.ndarray[Any, Any] = gguf.quantize(numbers, gguf.GGMLQuantizationType[kind])
    return written


def _not_finite(tensor: Placed, numbers: "np.ndarray[Any, Any]") -> UserError:
    import numpy as np

    assert tensor.source is not None
    path = str(tensor.source.source.path)
    if np.isfinite(numbers).all():
        message = f"“{tensor.source.name}” has numbers too large for F16."
        return UserError(error(path, message, "Export as BF16 or Q8_0."))
    message = f"“{tensor.source.name}” is not a number in places (NaN or infinite)."
    return UserError(error(path, message, "Export an earlier saved state; the training had broken down."))
