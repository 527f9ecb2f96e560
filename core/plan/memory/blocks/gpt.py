"""GPT-2, GPT-NeoX (Pythia) and StarCoder 2."""

from core.plan.memory.blocks.fused import split
from core.plan.memory.blocks.llama import attended
from core.plan.memory.blocks.norms import layer_norm
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.rotary import rotated_in_part
from core.plan.memory.blocks.serial import serial
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import activated, new_gelu


def gpt2(layer: Layer, x: Tensor) -> Tensor:
    """GPT2Block.forward; its ``c_proj`` is two matrices, told apart as "attn.c_proj" and "mlp.c_proj"."""
    residual = x
    x = layer_norm(layer, x)
    result = _gpt2_attended(layer, x)
    x = layer.added(result, residual)
    residual = x
    x = layer_norm(layer, x)
    second = layer.dropped(layer.plain(x, "c_fc", "mlp.c_proj", new_gelu))
    y = layer.added(residual, second)
    del result
    return y


def _gpt2_attended(layer: Layer, x: Tensor) -> Tensor:
    query, key, value = split(layer, layer.linear(x, "c_attn", "o:c_attn"), "query", "key", "value")
    result = layer.attention(query, key, value, loose="qkv")
    result = layer.linear(result, "attn.c_proj", "hidden")
    return layer.dropped(result)


def gpt_neox(layer: Layer, x: Tensor) -> Tensor:
    """GPTNeoXLayer.forward with ``use_parallel_residual``."""
    first = _neox_attended(layer, [layer_norm(layer, x)])
    first = layer.dropped(first)
    normal = layer_norm(layer, x)  # an argument, which a module's call holds until it returns
    second = layer.plain(normal, "dense_h_to_4h", "dense_4h_to_h", activated)
    del normal
    second = layer.dropped(second)
    return layer.added(layer.added(second, first), x)


def _neox_attended(layer: Layer, given: list[Tensor]) -> Tensor:
    x = given.pop()
    qkv = layer.linear(x, "query_key_value", "o:query_key_value")
    query, key, value = split(layer, qkv, "query", "key", "value")
    query, key = rotated_in_part(layer, query, "query"), rotated_in_part(layer, key, "key")
    result = layer.attention(query, key, value, loose="qkv", by_head=True)
    result = layer.linear(result, "dense", "hidden")
    del qkv
    return result


def _starcoder2_attended(layer: Layer, x: Tensor) -> Tensor:
    return layer.dropped(attended(layer, x))


def _starcoder2_mlp(layer: Layer, x: Tensor) -> Tensor:
    return layer.dropped(layer.plain(x, "c_fc", "c_proj", activated))


starcoder2 = serial(_starcoder2_attended, _starcoder2_mlp, before=layer_norm)
