"""The memory that an export takes, told before it starts: little, but for tensors that must be whole at once.

Measured: the engine's process holds 230 MiB before the first tensor, and 310 to 370 MiB while it merges a model of 3 GB
(`benchmarks.merge_speed`); both are rounded up here.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from core.errors import Problem, error
from core.export.matching import Written
from core.units import MIB, format_bytes

if TYPE_CHECKING:
    from core.export.gguf.layout import Placed

MEMORY = "memory"
"""The path of the problem that less memory is free than an export takes."""

_PROCESS_BYTES = 256 * MIB
_PIECES_BYTES = 128 * MIB
"""Blocks that are worked on, and those that wait for the disk."""
_WIDE_BYTES = 4
_COPIES_OF_WHOLE = 3


def merge_memory(tensors: Iterable[Written]) -> int:
    """What merging these takes at its peak, in bytes."""
    return _PROCESS_BYTES + _PIECES_BYTES + max((_factors(tensor) + _whole(tensor) for tensor in tensors), default=0)


def gguf_memory(placed: "Iterable[Placed]") -> int:
    """What writing these into a GGUF file takes at its peak, in bytes; those that are regrouped are whole at once."""
    most = 0
    for tensor in placed:
        if tensor.source is not None:
            regrouped = bool(tensor.heads or tensor.transposed)
            whole = _COPIES_OF_WHOLE * _WIDE_BYTES * tensor.elements if regrouped else _whole(tensor.source)
            most = max(most, _factors(tensor.source) + whole)
    return _PROCESS_BYTES + _PIECES_BYTES + most


def gguf_adapter_memory(stored: int) -> int:
    """What writing an adapter of ``stored`` bytes as a GGUF file takes: all of it, and one copy."""
    return _PROCESS_BYTES + 2 * stored


def free_memory() -> int:
    """Bytes of memory that a new process may take: what is free here, and what a container leaves."""
    import psutil

    from core.facts.cgroups import read_limits

    free, left = int(psutil.virtual_memory().available), read_limits().memory_free_bytes
    return free if left is None else min(free, left)


def memory_problems(needed: int) -> list[Problem]:
    """The problem that an export takes more memory than is free; none where it does not."""
    free = free_memory()
    if needed <= free:
        return []
    message = f"Writing it takes about {format_bytes(needed)} of memory, and {format_bytes(free)} are free."
    return [error(MEMORY, message, "Close other programs, or wait until a training is done; then try again.")]


def _factors(tensor: Written) -> int:
    """A and B in float32, and B once more with its scaling."""
    if tensor.change is None:
        return 0
    return 2 * _WIDE_BYTES * (math.prod(tensor.change.a.shape) + math.prod(tensor.change.b.shape))


def _whole(tensor: Written) -> int:
    """DoRA needs the length of whole columns where the weight is transposed."""
    if tensor.change is None or tensor.change.magnitude is None or not tensor.transposed:
        return 0
    return _COPIES_OF_WHOLE * _WIDE_BYTES * math.prod(tensor.shape)
