"""Cohere's Command R."""

from core.plan.memory.blocks.norms import cohere_norm
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.rotary import rotated_in_fp32
from core.plan.memory.ledger import Tensor


def cohere(layer: Layer, x: Tensor) -> Tensor:
    """CohereDecoderLayer.forward: attention and MLP side by side."""
    residual = x
    x = cohere_norm(layer, x)
    first = _attended(layer, x)
    second = layer.gated(x)
    return layer.added(layer.added(residual, first), second)


def _attended(layer: Layer, x: Tensor) -> Tensor:
    query = layer.linear(x, "q_proj", "query")
    key = layer.linear(x, "k_proj", "key")
    value = layer.linear(x, "v_proj", "value")
    query, key = rotated_in_fp32(layer, query, key)
    result = layer.attention(query, key, value)
    return layer.linear(result, "o_proj", "hidden")
