"""Attention within documents, kernel by kernel; see `core.engine.attention`.

Without varlen every document has a call of its own. However many there are, three stand for them: the longest, those
before it together, and those after it. The backward pass comes to the last document first, so at the longest one there
is all that was kept for those before it, and beside it the gradients that those after it have left.
"""

from dataclasses import dataclass

from core.plan.memory.blocks.structure import Structure
from core.plan.memory.ledger import Grads, Tape, Tensor
from core.plan.memory.operations import FP32, activated_scores, convert, copied, scaled


@dataclass(frozen=True, slots=True)
class Part:
    """Some documents: rows of what is kept of all of them, and of what is there for one of them at a time."""

    rows: str
    once: str

    @property
    def pairs(self) -> str:
        """Rows of kept scores."""
        return f"{self.rows}_pairs"

    @property
    def pairs_once(self) -> str:
        """Rows of the scores of one document."""
        return f"{self.once}_pairs"


LONGEST = Part("longest", "longest")
BEFORE = Part("before", "before_once")
AFTER = Part("after", "after_once")


def attended(tape: Tape, form: Structure, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The result for all documents, (tokens, query)."""
    if form.kernel == "varlen":
        return _fused(tape, form, query, key, value, "tokens", "padded")
    parts = []
    chosen = (*((BEFORE,) if form.before else ()), LONGEST, *((AFTER,) if form.after else ()))
    for part in chosen:
        sliced = (_slice(tape, x, part, len(chosen)) for x in (query, key, value))
        parts.append(_one(tape, form, part, *sliced))
        del sliced
    if len(parts) > 1:
        joined = tape.tensor(query.rows, query.width, query.bytes)
        count = len(parts)
        joined.node = tape.node(lambda grads: [grads[0]] * count, *parts)
        return copied(tape, joined)
    whole = parts[0]
    return copied(tape, whole) if form.kernel in ("eager", "capped") else whole


def _one(tape: Tape, form: Structure, part: Part, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if form.kernel in ("eager", "capped"):
        return _written_out(tape, form, part, query, key, value)
    if form.kernel == "efficient":
        key, value = _repeated(tape, form, part, key), _repeated(tape, form, part, value)
    return _fused(tape, form, query, key, value, part.rows, f"{part.once}_padded")


def _slice(tape: Tape, x: Tensor, part: Part, documents: int) -> Tensor:
    """A view of one document, whose gradient is as large as the whole."""
    if documents == 1:
        return x.view()
    rows, width, size = x.rows, x.width, x.bytes
    cut = x.view(tape.node(lambda _: [tape.buffer(rows, width, size)], x))
    cut.rows = part.rows
    return cut


def _fused(tape: Tape, form: Structure, query: Tensor, key: Tensor, value: Tensor, rows: str, padded: str) -> Tensor:
    """Flash attention: sums of exponentials are kept; its backward pass takes fp32 scratch of the query's size.

    The memory-efficient kernel and the processor's take no more than a number a row, but for the weights that ours for
    processors keeps.
    """
    size = query.bytes
    once = rows if rows in ("tokens", "longest") else f"{rows}_once"
    result = tape.tensor(rows, "query", size)
    sums = tape.buffer(rows, "heads", FP32)
    state = tape.buffer("one", "two", 8)
    weights = (tape.buffer(f"{rows}_first_pairs", "heads", size),) if form.keeps_scores else ()
    grouped, flash = form.grouped, form.kernel in ("varlen", "flash")
    key_width, value_width = key.width, value.width

    def gradient(_: Grads) -> Grads:
        dq = tape.buffer(once, "query", size)
        dk = tape.buffer(once, key_width, size)
        dv = tape.buffer(once, value_width, size)
        scratch = [tape.buffer(padded, "heads", FP32)]
        if flash:
            scratch.append(tape.buffer(padded, "heads_rounded", FP32))
            if grouped:
                scratch += [tape.buffer(once, "query", size), tape.buffer(once, "query", size)]
        scratch.clear()
        return [dq, dk, dv]

    saved = (query.buffer, key.buffer, value.buffer, result.buffer, sums, state, *weights)
    result.node = tape.node(gradient, query, key, value, saved=saved)
    return result


def _repeated(tape: Tape, form: Structure, part: Part, x: Tensor) -> Tensor:
    """Key heads for every query head, a copy (``repeat_interleave``); its gradient is summed again."""
    if not form.grouped:
        return x
    once, width, size = part.once, x.width, x.bytes
    y = tape.tensor(part.rows, "query", size)
    y.node = tape.node(lambda _: [tape.buffer(once, width, size)], x)
    return y


def _product(tape: Tape, part: Part, a: Tensor, b: Tensor, rows: str, width: str, *, scores_first: bool) -> Tensor:
    """A batch of products of two activations, each kept for the other's gradient."""
    size = a.bytes
    left = (part.pairs_once, "heads") if scores_first else (part.once, a.width)
    right = (part.once, b.width)
    has_left, has_right = a.node is not None, b.node is not None

    def gradient(_: Grads) -> Grads:
        first = tape.buffer(*left, size) if has_left else None
        second = tape.buffer(*right, size) if has_right else None
        return [first, second]

    saved = tuple(x.buffer for x, wanted in ((a, has_right), (b, has_left)) if wanted)
    return tape.tensor(rows, width, size, tape.node(gradient, a, b, saved=saved))


def _written_out(tape: Tape, form: Structure, part: Part, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`core.engine.attention._written_out`."""
    size, pairs = query.bytes, part.pairs_once
    key, value = _repeated(tape, form, part, key), _repeated(tape, form, part, value)
    product = _product(tape, part, query, key, pairs, "heads", scores_first=False)
    scores = scaled(tape, product)
    del product
    if form.kernel == "capped":
        scores = activated_scores(tape, scores, part.pairs)
    visible = tape.buffer(pairs, "one", 1)
    hidden = tape.buffer(part.pairs, "one", 1)
    scores_filled = tape.tensor(pairs, "heads", size)
    scores_filled.node = tape.node(lambda _: [tape.buffer(pairs, "heads", size)], scores, saved=(hidden,))
    scores = scores_filled
    del hidden, scores_filled
    weights = _softmax(tape, part, scores, size)
    result = _product(tape, part, weights, value, part.rows, "query", scores_first=True)
    del visible
    return result


def _softmax(tape: Tape, part: Part, scores: Tensor, size: int) -> Tensor:
    """In fp32, whose result is kept, and back in the compute format, which the product keeps."""
    pairs, kept = part.pairs_once, part.pairs
    wide = convert(tape, scores, FP32)
    soft = tape.tensor(kept, "heads", FP32)
    soft.node = tape.node(lambda _: [tape.buffer(pairs, "heads", FP32)], wide, saved=(soft.buffer,))
    del wide
    if size == FP32:
        return soft
    narrow = tape.tensor(kept, "heads", size)
    narrow.node = tape.node(lambda _: [tape.buffer(pairs, "heads", FP32)], soft)
    return narrow
