"""The operations that models are made of: what each allocates, what it keeps, and what its gradient allocates.

Written after torch/csrc derivatives (tools/autograd/derivatives.yaml) as they run in 16 bits on CUDA.
"""

from dataclasses import dataclass

from core.plan.memory.ledger import LEAF, Grads, Node, Tape, Tensor

FP32 = 4
ROW = "row"  # one number for each token


def convert(tape: Tape, x: Tensor, size: int) -> Tensor:
    """``x.to(dtype)``; nothing happens where the format is the same."""
    if x.bytes == size:
        return x
    rows, width, before = x.rows, x.width, x.bytes
    y = tape.tensor(rows, width, size)
    y.node = tape.node(lambda _: [tape.buffer(rows, width, before)], x)
    return y


def scaled(tape: Tape, x: Tensor) -> Tensor:
    """``x * number``, ``-x``, ``x / number``, ``x + number`` with a new result and a new gradient."""
    rows, width, size = x.rows, x.width, x.bytes
    y = tape.tensor(rows, width, size)
    y.node = tape.node(lambda _: [tape.buffer(rows, width, size)], x)
    return y


def copied(tape: Tape, x: Tensor) -> Tensor:
    """``x.clone()``, ``x.contiguous()``, ``x + number``: a new result, the gradient passed on as it is."""
    y = tape.tensor(x.rows, x.width, x.bytes)
    y.node = tape.node(lambda grads: [grads[0]], x)
    return y


def added(tape: Tape, a: Tensor, b: Tensor) -> Tensor:
    """``a + b``: both get the gradient itself, converted where one of them was narrower."""
    size = max(a.bytes, b.bytes)
    y = tape.tensor(a.rows, a.width, size)
    rows, width, first, second = a.rows, a.width, a.bytes, b.bytes
    has_first, has_second = a.node is not None, b.node is not None

    def gradient(grads: Grads) -> Grads:
        given = grads[0]
        left = given if first == size or not has_first else tape.buffer(rows, width, first)
        right = given if second == size or not has_second else tape.buffer(rows, width, second)
        return [left if has_first else None, right if has_second else None]

    y.node = tape.node(gradient, a, b)
    return y


def multiplied(tape: Tape, a: Tensor, b: Tensor) -> Tensor:
    """``a * b`` of two tensors of one shape; each is kept for the other's gradient."""
    size = max(a.bytes, b.bytes)
    rows, width, first, second = a.rows, a.width, a.bytes, b.bytes
    has_first, has_second = a.node is not None, b.node is not None
    saved = tuple(x.buffer for x, wanted in ((a, has_second), (b, has_first)) if wanted)

    def gradient(_: Grads) -> Grads:
        left = tape.buffer(rows, width, size) if has_first else None
        if has_first and first != size:
            left = tape.buffer(rows, width, first)
        right = tape.buffer(rows, width, size) if has_second else None
        if has_second and second != size:
            right = tape.buffer(rows, width, second)
        return [left, right]

    node = tape.node(gradient, a, b, saved=saved)
    return tape.tensor(a.rows, a.width, size, node)


def times_constant(tape: Tape, x: Tensor) -> Tensor:
    """``x * constant`` with a tensor that never learns and lives on elsewhere; rotary embeddings."""
    rows, width, size = x.rows, x.width, x.bytes
    node = tape.node(lambda _: [tape.buffer(rows, width, size)], x, saved=(tape.constant,))
    return tape.tensor(rows, width, size, node)


def times_row(tape: Tape, x: Tensor, row: Tensor) -> Tensor:
    """``x * row`` with one number for each column; the row's gradient is as large as ``x`` before it is summed."""
    rows, width, size = x.rows, x.width, x.bytes
    wants, learns, narrow = x.node is not None, row.node is not None, row.width

    def gradient(_: Grads) -> Grads:
        whole = tape.buffer(rows, width, size) if learns else None
        given = tape.buffer(rows, width, size) if wants else None
        made = tape.buffer("one", narrow, size) if learns else None
        del whole
        return [given, made]

    saved = ((row.buffer,) if wants else ()) + ((x.buffer,) if learns else ())
    return tape.tensor(rows, width, size, tape.node(gradient, x, row, saved=saved))


def activated(tape: Tape, x: Tensor) -> Tensor:
    """An activation that is one kernel (SiLU, GELU, tanh of a soft cap): keeps its input, makes one gradient."""
    rows, width, size = x.rows, x.width, x.bytes
    node = tape.node(lambda _: [tape.buffer(rows, width, size)], x, saved=(x.buffer,))
    return tape.tensor(rows, width, size, node)


def powered(tape: Tape, x: Tensor) -> Tensor:
    """``x.pow(number)``: keeps its input; the gradient is made in three steps."""
    rows, width, size = x.rows, x.width, x.bytes

    def gradient(_: Grads) -> Grads:
        one = tape.buffer(rows, width, size)
        two = tape.buffer(rows, width, size)
        three = tape.buffer(rows, width, size)
        del one, two
        return [three]

    y = tape.tensor(rows, width, size)
    y.node = tape.node(gradient, x, saved=(x.buffer,))
    return y


def averaged(tape: Tape, x: Tensor, width: str = ROW) -> Tensor:
    """``x.mean(-1, keepdim=True)``, ``width`` means for each token; its gradient is as large as ``x``."""
    rows, across, size = x.rows, x.width, x.bytes
    y = tape.tensor(rows, width, size)
    y.node = tape.node(lambda _: [tape.buffer(rows, across, size)], x)
    return y


def over_root(tape: Tape, x: Tensor, variance: Tensor) -> Tensor:
    """``x * rsqrt(variance + eps)`` in the format of ``x``; the root is kept, and ``x``."""
    rows, width, narrow, size = x.rows, x.width, variance.width, x.bytes
    shifted = tape.tensor(rows, narrow, size, variance.node)
    root = tape.tensor(rows, narrow, size)
    root.node = tape.node(lambda _: [tape.buffer(rows, narrow, size)], shifted, saved=(root.buffer,))
    del shifted
    wants = x.node is not None

    def gradient(_: Grads) -> Grads:
        if not wants:
            return [None, None]
        given = tape.buffer(rows, width, size)
        whole = tape.buffer(rows, width, size)
        summed = tape.buffer(rows, narrow, size)
        del whole
        return [given, summed]

    node = tape.node(gradient, x, root, saved=(x.buffer, root.buffer))
    return tape.tensor(rows, width, size, node)


def new_gelu(tape: Tape, x: Tensor) -> Tensor:
    """``0.5 * x * (1 + tanh(c * (x + 0.044715 * x**3)))``, every step a kernel (transformers, NewGELUActivation)."""
    half = scaled(tape, x)
    power = powered(tape, x)
    small = scaled(tape, power)
    del power
    inner = added(tape, x, small)
    del small
    wide = scaled(tape, inner)
    del inner
    bent = result_kept(tape, wide)
    del wide
    factor = copied(tape, bent)
    del bent
    return multiplied(tape, half, factor)


def result_kept(tape: Tape, x: Tensor) -> Tensor:
    """A function whose gradient needs its result (tanh, sigmoid)."""
    rows, width, size = x.rows, x.width, x.bytes
    y = tape.tensor(rows, width, size)
    y.node = tape.node(lambda _: [tape.buffer(rows, width, size)], x, saved=(y.buffer,))
    return y


def activated_scores(tape: Tape, x: Tensor, kept: str) -> Tensor:
    """``tanh(scores / cap) * cap``: the tanh is kept, under the rows ``kept``."""
    rows, width, size = x.rows, x.width, x.bytes
    small = scaled(tape, x)
    del x
    bent = tape.tensor(kept, width, size)
    bent.node = tape.node(lambda _: [tape.buffer(rows, width, size)], small, saved=(bent.buffer,))
    del small
    high = tape.tensor(rows, width, size)
    high.node = tape.node(lambda _: [tape.buffer(rows, width, size)], bent)
    return high


def dropped(tape: Tape, x: Tensor, *, active: bool) -> Tensor:
    """Dropout: a result and a mask of one byte for each number; nothing at all where it is off."""
    if not active:
        return x
    rows, width, size = x.rows, x.width, x.bytes
    y = tape.tensor(rows, width, size)
    mask = tape.buffer(rows, width, 1)
    y.node = tape.node(lambda _: [tape.buffer(rows, width, size)], x, saved=(mask,))
    return y


def leaf(tape: Tape, width: str, size: int) -> Node | None:
    """A parameter that learns: its gradient is added to the master's in fp32, which is new in the first pass only."""
    if not tape.grad:
        return None

    def gradient(grads: Grads) -> Grads:
        if size == FP32:
            grads.clear()  # in fp32 the gradient that arrives is the master's own; later passes are added to it
        tape.gradients.append(tape.buffer("first", width, FP32))
        return []

    return Node(LEAF, gradient, ())


@dataclass(frozen=True, slots=True)
class Weight:
    """A matrix, with its parameters where they learn."""

    width: str
    node: Node | None = None
    bias_width: str = ""
    bias: Node | None = None


def product(tape: Tape, x: Tensor, out: str, weight: Weight) -> Tensor:
    """``x @ W.T + b``: keeps ``x`` where W learns; the gradients of all three come at once."""
    rows, inner, size = x.rows, x.width, x.bytes
    wants, learns, has_bias = x.node is not None, weight.node is not None, weight.bias is not None
    full, row = weight.width, weight.bias_width

    def gradient(_: Grads) -> Grads:
        given = tape.buffer(rows, inner, size) if wants else None
        if given is not None:
            given.is_view = True  # tokens and batch are one dimension in the product and two outside
        made = tape.buffer("one", full, size) if learns else None
        summed = tape.buffer("one", row, size) if has_bias else None
        return [given, made, summed]

    saved = ((x.buffer,) if learns else ()) + ((tape.constant,) if wants else ())
    node = tape.node(gradient, x, weight.node, weight.bias, saved=saved)
    return tape.tensor(rows, out, size, node)
