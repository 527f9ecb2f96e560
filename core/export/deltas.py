"""The arithmetic of a merge: W + scaling * B * A in float32, block by block, cast back to the weight's own format."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import UserError, error
from core.export.matching import Written
from core.export.peft_adapter import LowRank
from core.export.tensor_files import StoredTensor, read_chunks, read_rows

if TYPE_CHECKING:
    import torch

BLOCK_ELEMENTS = 1024 * 1024
"""Elements of a weight that are worked on at a time: 4 MiB in float32, few enough to stay in a processor's cache."""


def content(tensor: Written) -> Iterator[Any]:
    """The bytes of one tensor of the merged model, piece by piece; what nothing changes is copied as it is.

    Raises:
        UserError: the merged numbers do not fit the weight's format, or the adapter holds NaN.
    """
    if tensor.change is None and tensor.source.dtype == tensor.dtype:
        yield from read_chunks(tensor.source)
        return
    dtype = torch_dtype(tensor.dtype)
    for block in wide_blocks(tensor):
        cast = block.to(dtype).contiguous()
        # A sum is finite only if all its parts are, and much faster than a look at each of them.
        if not (bool(cast.sum(dtype=block.dtype).isfinite()) or bool(cast.isfinite().all())):
            raise _not_finite(tensor, block)
        yield _bytes_of(cast)


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch compute in the calling thread alone, for work on blocks this small.

    A pass over one takes less time than several threads need to agree that they are done, and where other programs
    are busy, waiting for each other took ten times as long as the work.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wide_blocks(tensor: Written) -> "Iterator[torch.Tensor]":
    """The numbers of one tensor of the merged model before they are rounded: float32, some rows at a time."""
    return _row_blocks(tensor.source) if tensor.change is None else _merged(tensor, tensor.change)


def _merged(tensor: Written, change: LowRank) -> "Iterator[torch.Tensor]":
    a, b = read_wide(change.a), read_wide(change.b) * change.scaling
    if tensor.source.dtype == "F64":
        a, b = a.double(), b.double()
    # Rows of a plain weight belong to outputs (rows of B); those of a transposed one to inputs (columns of A).
    left, right = (a.T, b.T) if tensor.transposed else (b, a)
    magnitude = None if change.magnitude is None else read_wide(change.magnitude).reshape(-1)
    # DoRA needs the length of whole columns where the weight is transposed.
    whole = magnitude is not None and tensor.transposed
    start = 0
    for block in _row_blocks(tensor.source, whole=whole):
        stop = start + block.shape[0]
        merged = block.addmm_(left[start:stop], right)
        if magnitude is not None:
            # W' = m * (W + BA) / ||W + BA||, one length per output (DoRA, arXiv 2402.09353, equation 5).
            lengths = merged.norm(dim=0 if tensor.transposed else 1)
            scale = (magnitude if tensor.transposed else magnitude[start:stop]) / lengths
            merged *= scale if tensor.transposed else scale[:, None]
        yield merged
        start = stop


def _row_blocks(tensor: StoredTensor, *, whole: bool = False) -> "Iterator[torch.Tensor]":
    """A stored tensor in float32 (float64 where it is that wide), some rows at a time."""
    import torch

    wide = torch.float64 if tensor.dtype == "F64" else torch.float32
    width = math.prod(tensor.shape[1:])
    rows = tensor.shape[0] if tensor.shape else 1
    step = rows if whole else max(1, BLOCK_ELEMENTS // max(1, width))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        block = torch.frombuffer(read_rows(tensor, start, stop), dtype=torch_dtype(tensor.dtype))
        yield block.reshape(stop - start, *tensor.shape[1:]).to(wide)


def read_wide(tensor: StoredTensor) -> "torch.Tensor":
    """A whole stored tensor in float32; for those of adapters, which are small, and for a look at one by one."""
    import torch

    blob = read_rows(tensor, 0, tensor.shape[0])
    return torch.frombuffer(blob, dtype=torch_dtype(tensor.dtype)).reshape(tensor.shape).float()


def torch_dtype(name: str) -> "torch.dtype":
    """The torch name of a format in safetensors' words."""
    import torch

    return {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[name]


def _bytes_of(block: "torch.Tensor") -> memoryview:
    import torch

    # NumPy has no bfloat16, so the numbers leave torch as plain bytes.
    return block.reshape(-1).view(torch.uint8).numpy().data


def _not_finite(tensor: Written, block: "torch.Tensor") -> UserError:
    if bool(block.isfinite().all()):
        message = f"The merged weight “{tensor.name}” has numbers too large for the base's format {tensor.dtype}."
        return UserError(error(str(tensor.source.path), message, "Merge into the base in bfloat16 or float32."))
    message = f"The merged weight “{tensor.name}” is not a number in places (NaN or infinite)."
    path = tensor.source.path if tensor.change is None else tensor.change.a.path
    advice = "Export the adapter of an earlier saved state; the training had broken down."
    return UserError(error(str(path), message, advice))
