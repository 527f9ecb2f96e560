"""Mixtures of experts whose matrices are stacked: every token goes through a few of them, sorted by expert.

Source: transformers/integrations/moe.py, grouped_mm_experts_forward. A row of "routed" is one token at one expert. The
experts get no adapters and are never quantized, because they are no linear layers.
"""

from core.plan.memory.blocks.fused import split
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Buffer, Grads, Tensor
from core.plan.memory.operations import FP32, Weight, activated, convert, multiplied, product

INDEX = 8
ROW = "row"


def mixture(layer: Layer, x: Tensor, *, widened: bool) -> Tensor:
    """The router, and the experts that it chooses (Mixtral's and Qwen's SparseMoeBlock.forward).

    ``widened``: the scores are converted to fp32 first and stay so (Mixtral); else softmax does it on the fly and they
    go back to the compute format (Qwen).
    """
    tape = layer.tape
    weight = layer.parameter("router")
    logits = product(tape, x, "experts", Weight("router", weight))
    scores, chosen = _chosen(layer, logits, widened=widened)
    result = _through_experts(layer, x, scores, chosen)
    del logits
    return result


def _chosen(layer: Layer, logits: Tensor, *, widened: bool) -> tuple[Tensor, Buffer]:
    """Softmax, the largest scores and their experts, and the scores' shares of their sum."""
    tape, size = layer.tape, logits.bytes
    wide = convert(tape, logits, FP32) if widened else logits
    inner = wide.bytes
    soft = tape.tensor("tokens", "experts", FP32)
    soft.node = tape.node(lambda _: [tape.buffer("tokens", "experts", inner)], wide, saved=(soft.buffer,))
    del wide
    indices = tape.buffer("tokens", "active", INDEX)
    top = tape.tensor("tokens", "active", FP32)
    top.node = tape.node(lambda _: [tape.buffer("tokens", "experts", FP32)], soft, saved=(indices,))
    del soft
    total = tape.tensor("tokens", ROW, FP32)
    total.node = tape.node(lambda grads: [grads[0]], top)
    before = tape.buffer("tokens", "active", FP32)  # a division in place keeps a copy of what it divides

    def of_share(_: Grads) -> Grads:
        given = tape.buffer("tokens", "active", FP32)
        whole = tape.buffer("tokens", "active", FP32)
        narrow = tape.buffer("tokens", ROW, FP32)
        del whole
        return [given, narrow]

    share = top.view(tape.node(of_share, top, total, saved=(before, total.buffer)))
    del top, total, before
    return (share if widened else convert(tape, share, size)), indices


def _through_experts(layer: Layer, x: Tensor, scores: Tensor, indices: Buffer) -> Tensor:
    tape, size, wide = layer.tape, x.bytes, scores.bytes
    sorted_ids = tape.buffer("routed", ROW, INDEX)
    order = tape.buffer("routed", ROW, INDEX)
    places = tape.buffer("routed", ROW, INDEX)
    selected = tape.tensor("routed", "hidden", size)
    selected.node = tape.node(lambda _: [tape.buffer("tokens", "hidden", size)], x, saved=(places,))
    del places
    weights = tape.tensor("routed", ROW, wide)
    weights.node = tape.node(lambda _: [tape.buffer("tokens", "active", wide)], scores, saved=(order,))
    made = _grouped(layer, selected, "expert_both", "gate_up_experts")
    gate, up = split(layer, made, "expert", "expert")
    made = multiplied(tape, activated(tape, gate), up)
    del gate, up
    made = _grouped(layer, made, "hidden", "down_experts")
    weighted = _times_scores(layer, made, weights)
    back = tape.buffer("routed", ROW, INDEX)
    restored = tape.tensor("routed", "hidden", weighted.bytes)
    across = weighted.bytes
    restored.node = tape.node(lambda _: [tape.buffer("routed", "hidden", across)], weighted, saved=(back,))
    weighted = restored
    del restored
    # Summing over a token's experts; its gradient is a view of the sum's, spread out.
    final = tape.tensor("tokens", "hidden", across)
    final.node = tape.node(lambda grads: [grads[0]], weighted)
    result = convert(tape, final, size)
    del sorted_ids, order, indices, selected, weights, made, weighted, back
    return result


def _grouped(layer: Layer, x: Tensor, out: str, matrix: str) -> Tensor:
    """One product for each expert; keeps its input where the matrices learn."""
    weight = layer.parameter(matrix)
    return product(layer.tape, x, out, Weight(matrix, weight))


def _times_scores(layer: Layer, x: Tensor, scores: Tensor) -> Tensor:
    """``x * scores`` with one score for each row, in the wider of the two formats."""
    tape = layer.tape
    own, narrow = x.bytes, scores.bytes
    size = max(own, narrow)
    wants, learns = x.node is not None, scores.node is not None

    def gradient(_: Grads) -> Grads:
        given = tape.buffer("routed", "hidden", size) if wants else None
        if wants and own != size:
            given = tape.buffer("routed", "hidden", own)
        whole = tape.buffer("routed", "hidden", size) if learns else None
        made = tape.buffer("routed", ROW, narrow) if learns else None
        del whole
        return [given, made]

    saved = ((scores.buffer,) if wants else ()) + ((x.buffer,) if learns else ())
    return tape.tensor("routed", "hidden", size, tape.node(gradient, x, scores, saved=saved))
