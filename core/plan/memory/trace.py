"""Runs a block through the ledger once for each structure, and evaluates what came out for given sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from operator import itemgetter

from core.plan.memory.blocks.families import block_of
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.structure import Structure
from core.plan.memory.head import HeadForm, head
from core.plan.memory.ledger import Node, Tape, Tensor, backward

ALLOCATION = 512  # c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize

INPUT = "input"  # as wide as “hidden”, and a word of its own to see whether it is kept


@dataclass(frozen=True, slots=True)
class Trace:
    """The events of a block's forward and backward pass.

    Attributes:
        rows, widths, bytes: of the symbolic sizes: what they are counted in, looked up, and bytes of a number.
        events: looks each of them up in a table of the sizes, followed by the same sizes as frees from the last on.
        forward: events until the block has returned.
        kept: events until its result is somebody else's as well.
        end: events until its gradients are there.
        dropped: events until its graph is gone as well, with what attributes of its nodes held.
        keeps_input: whether the input is part of what is kept.
        learned: widths of the parameters that get a gradient.
    """

    rows: Callable[[Mapping[str, int]], tuple[int, ...]]
    widths: Callable[[Mapping[str, int]], tuple[int, ...]]
    bytes: tuple[int, ...]
    events: Callable[[Sequence[int]], tuple[int, ...]]
    forward: int
    kept: int
    end: int
    dropped: int
    keeps_input: bool
    learned: tuple[str, ...]


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


@lru_cache(maxsize=512)
def traced(form: Structure, mode: str) -> Trace:
    """The events of a layer: ``mode`` is "plain", "checkpointed" or "dead" for one through which no gradient flows."""
    block = block_of(form.block)

    def make(tape: Tape) -> Callable[[list[Tensor]], Tensor]:
        def run(given: list[Tensor]) -> Tensor:
            x = given.pop()  # the model's loop still has a layer's input while the layer runs
            layer = partial(block, Layer(tape, form))
            return tape.checkpoint(layer, x) if mode == "checkpointed" else layer(x)

        return run

    return _record(make, form, mode)


@lru_cache(maxsize=256)
def traced_head(form: HeadForm, *, grad: bool) -> Trace:
    """The events from the output of the last layer to the loss and back."""
    mode = "plain" if grad else "dead"

    return _record(lambda tape: partial(head, Layer(tape, form.layer), form), form.layer, mode)


def _record(make: Callable[[Tape], Callable[[list[Tensor]], Tensor]], form: Structure, mode: str) -> Trace:
    tape = Tape(grad=mode != "dead")
    block = make(tape)
    sink = Node(0, lambda _: [], ()) if form.learns_input and tape.grad else None
    given = [Tensor("tokens", "hidden", form.size, tape.buffer("tokens", INPUT, form.size), sink)]
    result = block(given)
    forward = len(tape.events)
    root, rows, across, size = result.node, result.rows, result.width, result.bytes
    del result
    kept = end = len(tape.events)
    if root is not None:
        backward(tape, root, [tape.buffer(rows, across, size)])
        end = len(tape.events)
    del root, sink, block
    events = tuple(tape.events)
    keeps = ~tape.sizes[("tokens", INPUT, form.size)] not in events[:kept]
    sizes = tuple(tape.sizes)
    learned = tuple(sizes[event][1] for event in events if event >= 0 and sizes[event][0] == "first")
    rows_of, widths_of, bytes_of = zip(*sizes, strict=True)
    return Trace(
        rows=itemgetter(*rows_of),
        widths=itemgetter(*widths_of),
        bytes=bytes_of,
        events=itemgetter(*events),  # an inverted index counts from the end
        forward=forward,
        kept=kept,
        end=end,
        dropped=len(events),
        keeps_input=keeps,
        learned=learned,
    )


def evaluate(trace: Trace, rows: Mapping[str, int], widths: Mapping[str, int]) -> Moments:
    """The moments of a trace for one pass; ``rows`` and ``widths`` are the numbers that its sizes name."""
    table = [
        (row * width * size + ALLOCATION - 1) // ALLOCATION * ALLOCATION
        for row, width, size in zip(trace.rows(rows), trace.widths(widths), trace.bytes, strict=True)
    ]
    table += [-size for size in reversed(table)]
    running = list(accumulate(trace.events(table)))
    kept, forward = running[trace.kept - 1], max(running[: trace.forward])
    if trace.end == trace.kept:
        return Moments(kept, forward, 0)
    held = running[trace.end - 1] - running[trace.dropped - 1]
    gradients = sum(-(-widths[width] * 4 // ALLOCATION) * ALLOCATION for width in trace.learned)
    return Moments(kept, forward, max(running[trace.kept :]), held, trace.keeps_input, gradients)
