"""A small model of PyTorch's memory: which tensor is alive when, told as a list of allocations and frees.

A block of a model is written down once as Python code with the same variables as its PyTorch original, on tensors that
have a size and no content. Python frees a buffer when its last reference goes, exactly as PyTorch frees a tensor; the
graph, the order of its backward pass, gradients added in place and recomputation are PyTorch's rules in miniature.
What comes out is a list of events on *symbolic* sizes. It depends on the structure of a block only, never on a width,
a rank or a number of tokens, so it is made once for a structure and evaluated for any size as one running sum.

Sources: torch/csrc/autograd/engine.cpp and input_buffer.cpp, torch/utils/checkpoint.py (non-reentrant).
"""

import contextlib
import heapq
import sys
import weakref
from collections.abc import Callable
from typing import NamedTuple

# Leaves run as soon as their gradient is there (AccumulateGrad has the highest sequence number).
LEAF = sys.maxsize


class Size(NamedTuple):
    """Bytes of one buffer: a number of rows (“tokens”) times a width (“hidden”) times the bytes of a number."""

    rows: str
    width: str
    bytes: int


class Buffer:
    """A storage: it notes its size when it comes and, inverted, when its last reference goes.

    Attributes:
        is_view: a gradient that came through a view: autograd does not add others to it in place.
    """

    __slots__ = ("_events", "_size", "is_view")

    def __init__(self, events: list[int], size: int) -> None:
        self._events = events
        self._size = size
        self.is_view = False
        events.append(size)

    def __del__(self) -> None:
        self._events.append(~self._size)


Grads = list[Buffer | None]


class Node:
    """One operation of the graph.

    Attributes:
        order: its place in the forward pass; the backward pass takes the latest first.
        gradient: from the gradients of its outputs to those of its inputs; dropped once it has run.
        parents: where those go, as (node, which of its outputs); None where nothing learns.
        saved: buffers kept until it has run.
        held: buffers kept as long as the graph, because an attribute holds them and not the list of saved tensors.
        frame: the recomputation that has its saved buffers, and the number of the first.
    """

    __slots__ = ("__weakref__", "first", "frame", "gradient", "held", "order", "outputs", "parents", "saved")

    def __init__(
        self,
        order: int,
        gradient: Callable[[Grads], Grads],
        parents: tuple["tuple[Node, int] | None", ...],
        outputs: int = 1,
    ) -> None:
        self.order = order
        self.gradient: Callable[[Grads], Grads] | None = gradient
        self.parents = parents
        self.outputs = outputs
        self.saved: tuple[Buffer, ...] = ()
        self.held: tuple[Buffer, ...] = ()
        self.frame: Frame | None = None
        self.first = 0

    def __lt__(self, other: "Node") -> bool:
        return self.order > other.order


class Tensor:
    """A size, the storage that holds it (views share one), and the node that made it if a gradient is wanted."""

    __slots__ = ("buffer", "bytes", "node", "rows", "slot", "width")

    def __init__(self, rows: str, width: str, size: int, buffer: Buffer, node: Node | None = None, slot: int = 0):
        self.rows = rows
        self.width = width
        self.bytes = size
        self.buffer = buffer
        self.node = node
        self.slot = slot

    @property
    def edge(self) -> tuple[Node, int] | None:
        """Where its gradient goes."""
        return None if self.node is None else (self.node, self.slot)

    def view(self, node: Node | None = None) -> "Tensor":
        """Another tensor on the same storage."""
        return Tensor(self.rows, self.width, self.bytes, self.buffer, node or self.node, 0 if node else self.slot)


class Stopped(Exception):  # noqa: N818 (not an error: recomputation ends early when everything saved is there again)
    """Everything that a recomputation is wanted for is there."""


class Frame:
    """One checkpointed call: how to run it again, who saved buffers in it, and those that are there again.

    A node that is gone when the call runs again (a side graph whose result was detached) gets nothing back.
    """

    __slots__ = ("again", "count", "found", "holders")

    def __init__(self, again: Callable[[], object]) -> None:
        self.again = again
        self.holders: list[weakref.ref[Node]] = []
        self.count = 0
        self.found: dict[int, Buffer] | None = None


class Tape:
    """Events so far, and the modes that PyTorch has: gradients wanted or not, saving, packing or replaying."""

    __slots__ = ("constant", "events", "grad", "gradients", "packing", "replaying", "sizes", "step")

    def __init__(self, *, grad: bool = True) -> None:
        self.events: list[int] = []
        self.sizes: dict[tuple[str, str, int], int] = {}
        self.grad = grad
        self.step = 0
        self.packing: Frame | None = None
        self.replaying: Frame | None = None
        self.gradients: list[Buffer] = []  # of parameters, until the optimizer has used them
        # Stands for what is saved but alive anyway: weights, rotary tables. Recomputation ends at the last one saved.
        self.constant = self.buffer("none", "one", 1)

    def buffer(self, rows: str, width: str, size: int) -> Buffer:
        """A new storage."""
        key = (rows, width, size)
        index = self.sizes.get(key)
        if index is None:
            index = self.sizes[key] = len(self.sizes)
        return Buffer(self.events, index)

    def tensor(self, rows: str, width: str, size: int, node: Node | None = None) -> Tensor:
        """A new tensor on a storage of its own."""
        return Tensor(rows, width, size, self.buffer(rows, width, size), node)

    def node(
        self,
        gradient: Callable[[Grads], Grads],
        *inputs: Tensor | Node | None,
        saved: tuple[Buffer, ...] = (),
        outputs: int = 1,
    ) -> Node | None:
        """The node of an operation on ``inputs``; None where no input wants a gradient, and then nothing is saved."""
        if not self.grad:
            return None
        parents = tuple([x.edge if isinstance(x, Tensor) else (x, 0) if x is not None else None for x in inputs])
        if not any(parents):
            return None
        self.step += 1
        made = Node(self.step, gradient, parents, outputs)
        if saved:
            self._save(made, saved)
        return made

    def _save(self, node: Node, saved: tuple[Buffer, ...]) -> None:
        if self.packing is not None:
            node.frame, node.first = self.packing, len(self.packing.holders)
            self.packing.holders += [weakref.ref(node)] * len(saved)
            # The number of what is saved is all that stays; `take` finds the buffers again.
            node.outputs |= len(saved) << 8
            return
        if self.replaying is not None:
            frame = self.replaying
            assert frame.found is not None
            for buffer in saved:
                if frame.holders[frame.count]() is not None:
                    frame.found[frame.count] = buffer
                frame.count += 1
                if frame.count == len(frame.holders):
                    raise Stopped
        node.saved = saved

    def checkpoint(self, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Runs ``block`` without keeping what it saves; its backward pass runs it again."""
        if not self.grad:
            return block(x)
        frame = Frame(lambda: block(x))
        self.packing = frame
        result = block(x)
        self.packing = None
        return result

    def take(self, node: Node) -> tuple[Buffer, ...]:
        """The saved buffers of a node that is about to run, recomputed if they were not kept."""
        frame, saved = node.frame, node.saved
        node.saved, node.frame = (), None
        if frame is None:
            return saved
        if frame.found is None:
            frame.found = {}
            self.replaying = frame
            with contextlib.suppress(Stopped):
                frame.again()
            self.replaying = None
        count = node.outputs >> 8
        return tuple(frame.found.pop(index) for index in range(node.first, node.first + count))


def backward(tape: Tape, root: Node, grads: list[Buffer]) -> None:
    """The backward pass from ``root``; ``grads`` holds its gradient and is emptied.

    One input buffer for each node, the latest node first, and a gradient that comes second is added in place when
    nothing else holds the first.
    """
    waiting = _dependencies(root)
    inbox: dict[int, Grads] = {id(root): [grads.pop()]}
    ready = [root]
    while ready:
        node = heapq.heappop(ready)
        received = inbox.pop(id(node), [])
        gradient, node.gradient = node.gradient, None
        assert gradient is not None, "a node runs once"
        saved = tape.take(node)
        made = gradient(received)
        # Closures hold nothing but sizes; what the node saved goes now, before its results are handed on.
        del saved, gradient
        received.clear()
        for index, edge in enumerate(node.parents):
            if edge is None:
                continue
            parent, slot = edge
            given, made[index] = made[index], None
            slots = inbox.get(id(parent))
            if slots is None:
                slots = inbox[id(parent)] = [None] * (parent.outputs & 255)
            _add(slots, slot, given)
            del given
            waiting[id(parent)] -= 1
            if not waiting[id(parent)]:
                heapq.heappush(ready, parent)
        del made


def _add(slots: Grads, slot: int, given: Buffer | None) -> None:
    old = slots[slot]
    if old is None:
        slots[slot] = given
    elif given is not None and (old.is_view or sys.getrefcount(old) > 3):  # the inbox, `old`, the call's own argument
        events, size = old._events, old._size  # noqa: SLF001
        slots[slot] = Buffer(events, size)


def _dependencies(root: Node) -> dict[int, int]:
    counts: dict[int, int] = {}
    seen = {id(root)}
    stack = [root]
    while stack:
        for edge in stack.pop().parents:
            if edge is None:
                continue
            parent = edge[0]
            counts[id(parent)] = counts.get(id(parent), 0) + 1
            if id(parent) not in seen:
                seen.add(id(parent))
                stack.append(parent)
    return counts
