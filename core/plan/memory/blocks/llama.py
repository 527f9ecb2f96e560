"""Llama and its relatives: Mistral, Qwen 2 and 3, Granite, SmolLM3, Gemma 1 to 3, OLMo 1 and 2, Mixtral."""

from core.plan.memory.blocks.experts import mixture
from core.plan.memory.blocks.norms import bare_norm, gemma_norm, olmo_norm
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.serial import serial
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import scaled


def attended(layer: Layer, x: Tensor) -> Tensor:
    """LlamaAttention.forward."""
    query = layer.linear(x, "q_proj", "query")
    key = layer.linear(x, "k_proj", "key")
    value = layer.linear(x, "v_proj", "value")
    return _rotated_and_attended(layer, [query, key, value])


def _rotated_and_attended(layer: Layer, given: list[Tensor]) -> Tensor:
    """From queries, keys and values, in ``given``; emptied, because the forward function rebinds its variables."""
    query, key, value = given
    given.clear()
    query, key = layer.rotated(query, "half_query"), layer.rotated(key, "half_key")
    result = layer.attention(query, key, value)
    return layer.linear(result, "o_proj", "hidden")


def _head_normed(layer: Layer, x: Tensor) -> Tensor:
    """Qwen3Attention.forward: queries and keys are normed head by head."""
    given = [layer.rms_norm(layer.linear(x, "q_proj", "query"), "head", "heads")]
    given.append(layer.rms_norm(layer.linear(x, "k_proj", "key"), "head", "key_heads"))
    given.append(layer.linear(x, "v_proj", "value"))
    return _rotated_and_attended(layer, given)


def _gemma_head_normed(layer: Layer, x: Tensor) -> Tensor:
    """Gemma3Attention.forward: the same after all three are there."""
    given = [layer.linear(x, "q_proj", "query"), layer.linear(x, "k_proj", "key"), layer.linear(x, "v_proj", "value")]
    given[0] = gemma_norm(layer, given[0], "head", "heads")
    given[1] = gemma_norm(layer, given[1], "head", "key_heads")
    return _rotated_and_attended(layer, given)


def _whole_normed(layer: Layer, x: Tensor) -> Tensor:
    """Olmo2Attention.forward: all queries and all keys are normed at once."""
    given = [olmo_norm(layer, layer.linear(x, "q_proj", "query"), "query")]
    given.append(olmo_norm(layer, layer.linear(x, "k_proj", "key"), "key"))
    given.append(layer.linear(x, "v_proj", "value"))
    return _rotated_and_attended(layer, given)


def _multiplied(layer: Layer, residual: Tensor, x: Tensor) -> Tensor:
    """Granite multiplies what is added first."""
    return layer.added(residual, scaled(layer.tape, x))


def _mixtral_mlp(layer: Layer, x: Tensor) -> Tensor:
    return mixture(layer, x, widened=True)


def _qwen3_moe_mlp(layer: Layer, x: Tensor) -> Tensor:
    return mixture(layer, x, widened=False)


# LlamaDecoderLayer.forward and its like, by what each does at the same places.
llama = serial(attended, Layer.gated, before=Layer.rms_norm)
olmo = serial(attended, Layer.gated, before=bare_norm)
granite = serial(attended, Layer.gated, before=Layer.rms_norm, join=_multiplied)
qwen3 = serial(_head_normed, Layer.gated, before=Layer.rms_norm)
mixtral = serial(attended, _mixtral_mlp, before=Layer.rms_norm)
qwen3_moe = serial(_head_normed, _qwen3_moe_mlp, before=Layer.rms_norm)
gemma = serial(attended, Layer.gated, before=gemma_norm)
gemma2 = serial(attended, Layer.gated, before=gemma_norm, after=gemma_norm)
gemma3 = serial(_gemma_head_normed, Layer.gated, before=gemma_norm, after=gemma_norm)
olmo2 = serial(_whole_normed, Layer.gated, after=olmo_norm)
