"""Phi 2 and Phi 3."""

from core.plan.memory.blocks.fused import sliced, split
from core.plan.memory.blocks.norms import layer_norm
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.rotary import rotated_in_part
from core.plan.memory.blocks.serial import serial
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import activated, multiplied, new_gelu


def _phi3_attended(layer: Layer, x: Tensor) -> Tensor:
    qkv = layer.linear(x, "qkv_proj", "o:qkv_proj")
    query, key, value = sliced(layer, qkv, "query", "key", "value")
    query, key = rotated_in_part(layer, query, "query"), rotated_in_part(layer, key, "key")
    result = layer.attention(query, key, value, loose="qkv", by_head=True)
    result = layer.linear(result, "o_proj", "hidden")
    del qkv
    return result


def _phi3_mlp(layer: Layer, x: Tensor) -> Tensor:
    up = layer.linear(x, "gate_up_proj", "o:gate_up_proj")
    gate, up = split(layer, up, "wide", "wide")
    up = multiplied(layer.tape, up, activated(layer.tape, gate))
    result = layer.linear(up, "down_proj", "hidden")
    del gate
    return result


def _dropped(layer: Layer, residual: Tensor, x: Tensor) -> Tensor:
    return layer.added(residual, layer.dropped(x))


phi3 = serial(_phi3_attended, _phi3_mlp, before=Layer.rms_norm, join=_dropped)


def phi(layer: Layer, x: Tensor) -> Tensor:
    """PhiDecoderLayer.forward: attention and MLP side by side."""
    residual = x
    x = layer_norm(layer, x)
    first = _phi_attended(layer, x)
    first = layer.dropped(first)
    second = layer.dropped(layer.plain(x, "fc1", "fc2", new_gelu))
    return layer.added(layer.added(first, second), residual)


def _phi_attended(layer: Layer, x: Tensor) -> Tensor:
    query = layer.linear(x, "q_proj", "query")
    key = layer.linear(x, "k_proj", "key")
    value = layer.linear(x, "v_proj", "value")
    query, key = rotated_in_part(layer, query, "query"), rotated_in_part(layer, key, "key")
    result = layer.attention(query, key, value, loose="qk", by_head=True)
    return layer.linear(result, "dense", "hidden")
