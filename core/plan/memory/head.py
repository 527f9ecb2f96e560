"""The end of a pass: last norm, the positions that carry loss, and the cross-entropy in chunks; see `core.engine.loss`.

Written with the variables of `_ChunkedCrossEntropy.forward`: what a loop leaves in a variable lives until the next
round has something new for it.
"""

from dataclasses import dataclass

from core.plan.memory.blocks.families import norm_of
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.structure import Structure
from core.plan.memory.ledger import Buffer, Grads, Tensor
from core.plan.memory.operations import FP32, Weight, convert, leaf, product


@dataclass(frozen=True, slots=True)
class HeadForm:
    """What the order of the head's allocations depends on.

    Attributes:
        layer: the family and setting, whose `learns_input` says whether anything below the head learns.
        stock: the model's own head is used, at all supervised positions at once.
        learns: the projection's matrix learns.
        tied: its gradient waits for that of the embeddings, which are the same matrix.
        bias: the projection has a bias.
        scaled, capped: what is done to the logits.
        by_rows: scores become slopes where they lie, a few rows at a time and in the same memory, as on a processor.
    """

    layer: Structure
    stock: bool = False
    learns: bool = False
    tied: bool = False
    bias: bool = False
    scaled: bool = False
    capped: bool = False
    by_rows: bool = False


def head(layer: Layer, form: HeadForm, given: list[Tensor]) -> Tensor:
    """The loss of a pass from the output of its last layer.

    Args:
        layer: the tape and setting.
        form: the kind of head.
        given: that output; emptied, because the model's loop rebinds its only variable to the norm's result.
    """
    tape = layer.tape
    x = given.pop()
    x = norm_of(layer.form.block)(layer, x)
    if form.stock:
        return _stock(layer, form, x)
    # `[0]` is a view whose gradient is as large as the whole; so is that of the positions taken.
    rows, width, size = x.rows, x.width, x.bytes
    hidden = x.view(tape.node(lambda _: [tape.buffer(rows, width, size)], x))
    kept = tape.tensor("kept", width, size)
    kept.node = tape.node(lambda _: [tape.buffer(rows, width, size)], hidden, saved=(tape.constant,))
    del x, hidden
    return _chunked(layer, form, kept)


def _chunked(layer: Layer, form: HeadForm, kept: Tensor) -> Tensor:
    tape, size = layer.tape, kept.bytes
    if not tape.grad:
        return _measured(layer, form, kept)
    tape.buffer("one", "one", FP32)
    given = tape.buffer("kept", "hidden", size)
    learns = form.learns
    grown = tape.buffer("one", "vocabulary", FP32) if learns else None
    grown_bias = tape.buffer("one", "words", FP32) if learns and form.bias else None
    logits = tape.buffer("chunk", "words", size) if form.by_rows else None
    scores = tape.buffer("cached", "words", FP32) if form.by_rows else None
    for rows in ("chunk", "again"):
        slope = narrow = damping = None
        if form.by_rows:
            bent = tape.buffer("cached", "words", FP32) if form.capped else None
            del bent
        else:
            slope = tape.buffer(rows, "words", size)
            if size != FP32:
                slope = tape.buffer(rows, "words", FP32)
            if form.capped:
                square = tape.buffer(rows, "words", FP32)
                damping = tape.buffer(rows, "words", FP32)
                del square
            slope = tape.buffer(rows, "words", FP32)
            narrow = tape.buffer(rows, "words", size) if size != FP32 else slope
        if learns:
            part = tape.buffer("one", "vocabulary", size)
            wide = tape.buffer("one", "vocabulary", FP32) if size != FP32 else part
            del part, wide
        del slope, narrow, damping
    del logits, scores
    weight = leaf(tape, "vocabulary", size) if learns and not form.tied else None

    def gradient(_: Grads) -> Grads:
        made = tape.buffer("kept", "hidden", size)
        matrix = None
        if learns:
            wide = tape.buffer("one", "vocabulary", FP32)
            matrix = tape.buffer("one", "vocabulary", size) if size != FP32 else wide
        return [made, matrix]

    saved: tuple[Buffer, ...] = (given,) if grown is None else (given, grown)
    del grown_bias
    loss = tape.tensor("one", "one", FP32)
    loss.node = tape.node(gradient, kept, weight, saved=saved)
    return loss


def _measured(layer: Layer, form: HeadForm, kept: Tensor) -> Tensor:
    """The loss of each position where nobody learns: no slopes, and no gradient of the hidden states."""
    tape, size = layer.tape, kept.bytes
    found = tape.buffer("kept", "one", FP32)
    if form.by_rows:
        logits = tape.buffer("chunk", "words", size)
        room = tape.buffer("cached", "words", FP32)
        del logits, room
    else:
        for rows in ("chunk", "again"):
            scores = tape.buffer(rows, "words", size)
            if size != FP32:
                scores = tape.buffer(rows, "words", FP32)
            logs = tape.buffer(rows, "words", FP32)
            del scores, logs
    del found
    return tape.tensor("one", "one", FP32)


def _stock(layer: Layer, form: HeadForm, x: Tensor) -> Tensor:
    tape, size, rows, width = layer.tape, x.bytes, x.rows, x.width
    kept = tape.tensor("kept", width, size)
    kept.node = tape.node(lambda _: [tape.buffer(rows, width, size)], x, saved=(tape.constant,))
    if "lm_head" in layer.form.adapted:
        logits = layer.linear(kept, "lm_head", "words")
    else:
        weight = leaf(tape, "vocabulary", size) if form.learns else None
        logits = product(tape, kept, "words", Weight("vocabulary", weight))
    flat = logits.view(tape.node(lambda _: [tape.buffer("kept", "words", size)], logits))
    wide = convert(tape, flat, FP32)
    del logits, flat
    logs = tape.tensor("kept", "words", FP32)
    logs.node = tape.node(lambda _: [tape.buffer("kept", "words", FP32)], wide, saved=(logs.buffer,))
    loss = tape.tensor("one", "one", FP32)
    loss.node = tape.node(lambda _: [tape.buffer("kept", "words", FP32)], logs, saved=(logs.buffer,))
    return loss
