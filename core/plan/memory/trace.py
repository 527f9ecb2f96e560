"""Runs a block through the ledger once for each structure; `core.plan.memory.counted` makes bytes of what comes out."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import itemgetter

from core.plan.memory.blocks.families import block_of
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.structure import Structure
from core.plan.memory.head import HeadForm, head
from core.plan.memory.ledger import Node, Tape, Tensor, backward

INPUT = "input"  # as wide as “hidden”, and a word of its own to see whether it is kept


ADAPTER = ("r:", "A:", "B:")
"""How the widths of adapters begin, see `core.plan.memory.kinds.adapter_widths`."""

Spot = tuple[int, tuple[int, ...]]
"""An event after which memory may be at its highest, and which of the adapters' sizes are there then."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The events of a block's forward and backward pass.

    Attributes:
        rows, widths, bytes: of the symbolic sizes: what they are counted in, looked up, and bytes of a number.
        events: looks each of them up in a table of the sizes, followed by the same sizes as frees from the last on.
        kept: events until the block's result is somebody else's as well.
        end: events until its gradients are there.
        dropped: events until its graph is gone as well, with what attributes of its nodes held.
        keeps_input: whether the input is part of what is kept.
        learned: widths of the parameters that get a gradient, but for those of adapters.
        forward_spots, backward_spots: where the two passes can be at their highest.
        own: which sizes are those of adapters; all that follows counts in these alone.
        own_widths, own_learned: their widths, and the widths of those that get a gradient.
        own_kept, own_held: what of them is kept, and held until the graph is gone.
        own_forward, own_backward: the most that is ever there at once in the two passes, each by itself.
    """

    rows: Callable[[Mapping[str, int]], tuple[int, ...]]
    widths: Callable[[Mapping[str, int]], tuple[int, ...]]
    bytes: tuple[int, ...]
    events: Callable[[Sequence[int]], tuple[int, ...]]
    kept: int
    end: int
    dropped: int
    keeps_input: bool
    learned: tuple[str, ...]
    forward_spots: tuple[Spot, ...]
    backward_spots: tuple[Spot, ...]
    own: tuple[int, ...]
    own_widths: tuple[str, ...]
    own_learned: tuple[str, ...]
    own_kept: tuple[int, ...]
    own_held: tuple[int, ...]
    own_forward: tuple[int, ...]
    own_backward: tuple[int, ...]


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
    keeps = ~tape.sizes[("tokens", INPUT, form.size)] not in tape.events[:kept]
    return _trace(tape, forward, kept, end, keeps_input=keeps)


def _trace(tape: Tape, forward: int, kept: int, end: int, *, keeps_input: bool) -> Trace:
    events, sizes = tuple(tape.events), tuple(tape.sizes)
    rows_of, widths_of, bytes_of = zip(*sizes, strict=True)
    own = tuple(place for place, width in enumerate(widths_of) if width.startswith(ADAPTER))
    learned = [sizes[event][1] for event in events if event >= 0 and sizes[event][0] == "first"]
    there = _own_after(events, own)
    spots = [(place, there[place]) for place in _spots(events, 0, forward)]
    later = [(place, there[place]) for place in _spots(events, kept, len(events))] if end > kept else []
    return Trace(
        rows=itemgetter(*rows_of),
        widths=itemgetter(*("one" if width.startswith(ADAPTER) else width for width in widths_of)),
        bytes=bytes_of,
        events=itemgetter(*events),  # an inverted index counts from the end
        kept=kept,
        end=end,
        dropped=len(events),
        keeps_input=keeps_input,
        learned=tuple(width for width in learned if not width.startswith(ADAPTER)),
        forward_spots=tuple(spots),
        backward_spots=tuple(later),
        own=own,
        own_widths=tuple(widths_of[place] for place in own),
        own_learned=tuple(width for width in learned if width.startswith(ADAPTER)),
        own_kept=there[kept - 1],
        own_held=_without(there[end - 1], there[-1]),
        own_forward=_most(spots),
        own_backward=_most(later),
    )


def _spots(events: Sequence[int], start: int, stop: int) -> list[int]:
    """Events after which something is freed, or nothing more comes; the first, where frees come first."""
    return [
        place
        for place in range(start, stop)
        if (events[place] >= 0 or place == start) and (place + 1 == stop or events[place + 1] < 0)
    ]


def _own_after(events: Sequence[int], own: Sequence[int]) -> list[tuple[int, ...]]:
    """What there is of the adapters' sizes after each event."""
    number = {place: count for count, place in enumerate(own)}
    there: list[int] = []
    found: list[tuple[int, ...]] = []
    now: tuple[int, ...] = ()
    for event in events:
        size = number.get(event if event >= 0 else ~event)
        if size is not None:
            there.append(size) if event >= 0 else there.remove(size)
            now = tuple(sorted(there))
        found.append(now)
    return found


def _without(all_of_them: Sequence[int], gone: Sequence[int]) -> tuple[int, ...]:
    return tuple((Counter(all_of_them) - Counter(gone)).elements())


def _most(spots: Iterable[Spot]) -> tuple[int, ...]:
    """Each size as often as it is ever there at once."""
    most: dict[int, int] = {}
    for own in {own for _, own in spots}:
        for size in set(own):
            most[size] = max(most.get(size, 0), own.count(size))
    return tuple(size for size, count in most.items() for _ in range(count))
