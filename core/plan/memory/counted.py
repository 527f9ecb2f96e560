"""A trace in bytes for one pass: everything but its adapters is counted once, and adapters of any rank are added to it.

A slider moves through ranks, and a search through settings, while the rest of a layer stays as it is. The moments that
can be the highest are sorted by what they come to without adapters, and looked at from the top until no adapter can
lift another one above those that were seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from core.plan.memory.trace import Spot, Trace

ALLOCATION = 512  # c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize
_FP32 = 4

_Spots = list[tuple[int, tuple[int, ...]]]
"""Bytes without adapters, and the adapters' sizes that are there as well; the largest first."""


@dataclass(frozen=True, slots=True)
class Moments:
    """A block in bytes: what it keeps from forward to backward pass, and the highest points, its input included.

    Attributes:
        keeps_input: whether the block's input is part of what it keeps.
        held: what stays until the whole graph goes, though the backward pass of the block is over.
        gradients: of the block's parameters, in fp32.
    """

    kept: int
    forward: int
    backward: int
    held: int = 0
    keeps_input: bool = False
    gradients: int = 0


class Counted:
    """A trace for one pass of one model."""

    __slots__ = ("_backward", "_forward", "_gradients", "_held", "_kept", "_scales", "_trace")

    def __init__(self, trace: Trace, rows: Mapping[str, int], widths: Mapping[str, int]) -> None:
        """``rows`` and ``widths`` are the numbers that the trace's sizes name, but for those of adapters."""
        lines = [row * size for row, size in zip(trace.rows(rows), trace.bytes, strict=True)]
        table = [_rounded(line * width) for line, width in zip(lines, trace.widths(widths), strict=True)]
        for place in trace.own:
            table[place] = 0
        table += [-size for size in reversed(table)]
        running = list(accumulate(trace.events(table)))
        self._trace = trace
        self._scales = tuple(lines[place] for place in trace.own)
        self._kept = running[trace.kept - 1]
        self._held = running[trace.end - 1] - running[trace.dropped - 1]
        self._gradients = sum(_rounded(_FP32 * widths[width]) for width in trace.learned)
        self._forward = _highest_first(running, trace.forward_spots)
        self._backward = _highest_first(running, trace.backward_spots)

    def moments(self, adapters: Mapping[str, int]) -> Moments:
        """The moments with adapters of these widths."""
        trace = self._trace
        if not trace.own:
            return Moments(
                self._kept,
                self._forward[0][0],
                self._backward[0][0] if self._backward else 0,
                self._held,
                trace.keeps_input,
                self._gradients,
            )
        own = [_rounded(scale * adapters[width]) for scale, width in zip(self._scales, trace.own_widths, strict=True)]
        gradients = sum(_rounded(_FP32 * adapters[width]) for width in trace.own_learned)
        return Moments(
            self._kept + _sum(own, trace.own_kept),
            _highest(self._forward, own, trace.own_forward),
            _highest(self._backward, own, trace.own_backward),
            self._held + _sum(own, trace.own_held),
            trace.keeps_input,
            self._gradients + gradients,
        )


def _rounded(size: int) -> int:
    return (size + ALLOCATION - 1) // ALLOCATION * ALLOCATION


def _highest_first(running: Sequence[int], spots: Sequence[Spot]) -> _Spots:
    """The spots in bytes; of those with the same adapters only the highest counts."""
    highest: dict[tuple[int, ...], int] = {}
    for place, own in spots:
        if running[place] > highest.get(own, -1):
            highest[own] = running[place]
    return sorted(((size, own) for own, size in highest.items()), reverse=True)


def _highest(spots: _Spots, own: Sequence[int], most: Sequence[int]) -> int:
    """The highest spot with the adapters' sizes ``own``, of which never more than ``most`` are there at once."""
    rest, found = _sum(own, most), 0
    for size, there in spots:
        if size + rest <= found:
            break
        found = max(found, size + _sum(own, there))
    return found


def _sum(own: Sequence[int], there: Sequence[int]) -> int:
    return sum(map(own.__getitem__, there))
