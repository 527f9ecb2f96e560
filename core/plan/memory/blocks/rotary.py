"""Rotary embeddings that are not Llama's; those are `Layer.rotated`."""

from core.plan.memory.blocks.fused import sliced
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import FP32, added, convert, times_constant


def rotated_in_part(layer: Layer, x: Tensor, width: str) -> Tensor:
    """The first columns rotated, joined with the others (modeling_phi3.py, apply_rotary_pos_emb).

    ``width`` is "query" or "key"; the rotated columns are "turned_query" or "turned_key" wide.
    """
    tape = layer.tape
    rows, size = x.rows, x.bytes
    first, rest = sliced(layer, x, f"turned_{width}", f"straight_{width}")
    turned = layer.rotated(first, f"half_turned_{width}")
    whole = tape.tensor(rows, width, size)
    # The gradient of joining is views of one gradient.
    whole.node = tape.node(lambda grads: [grads[0], grads[0]], turned, rest)
    return whole


def rotated_interleaved(layer: Layer, x: Tensor, half: str) -> Tensor:
    """In fp32, with every second column turned (modeling_cohere.py, apply_rotary_pos_emb); fp32 is left to the caller.

    ``x`` is in fp32 already: the caller's variable.
    """
    tape = layer.tape
    rows, width = x.rows, x.width
    straight = times_constant(tape, x)
    first = x.view(tape.node(lambda _: [tape.buffer(rows, width, FP32)], x))
    second = x.view(tape.node(lambda _: [tape.buffer(rows, width, FP32)], x))
    negative = tape.tensor(rows, half, FP32)
    negative.node = tape.node(lambda _: [tape.buffer(rows, half, FP32)], second)
    turned = tape.tensor(rows, width, FP32)
    turned.node = tape.node(lambda grads: [grads[0], grads[0]], negative, first)
    del negative, first, second
    crossed = times_constant(tape, turned)
    del turned
    return added(tape, straight, crossed)


def rotated_in_fp32(layer: Layer, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Cohere's pair, converted there and back."""
    tape, size = layer.tape, query.bytes
    query, key = convert(tape, query, FP32), convert(tape, key, FP32)
    turned_query = rotated_interleaved(layer, query, "half_query")
    turned_key = rotated_interleaved(layer, key, "half_key")
    result = convert(tape, turned_query, size), convert(tape, turned_key, size)
    del query, key
    return result
