"""Rotary embeddings that are not Llama's; those are `Layer.rotated`."""

from core.plan.memory.blocks.fused import sliced
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import FP32, convert


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


def rotated_in_fp32(layer: Layer, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Cohere's pair: Llama's steps in fp32 on every second column (modeling_cohere.py, apply_rotary_pos_emb)."""
    tape, size = layer.tape, query.bytes
    query, key = convert(tape, query, FP32), convert(tape, key, FP32)
    turned_query = layer.rotated(query, "half_query")
    turned_key = layer.rotated(key, "half_key")
    result = convert(tape, turned_query, size), convert(tape, turned_key, size)
    del query, key
    return result
