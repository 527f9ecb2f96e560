"""Llama and its relatives: Mistral, Qwen 2 and 3, Granite, SmolLM3, Gemma 1 to 3, OLMo 1 and 2."""

from core.plan.memory.blocks.experts import mixture
from core.plan.memory.blocks.norms import bare_norm, gemma_norm, olmo_norm
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import scaled


def attended(layer: Layer, x: Tensor) -> Tensor:
    """LlamaAttention.forward."""
    query = layer.linear(x, "q_proj", "query")
    key = layer.linear(x, "k_proj", "key")
    value = layer.linear(x, "v_proj", "value")
    return _rotated_and_attended(layer, [query, key, value])


def _rotated_and_attended(layer: Layer, given: list[Tensor]) -> Tensor:
    query, key, value = given
    given.clear()
    query, key = layer.rotated(query, "half_query"), layer.rotated(key, "half_key")
    result = layer.attention(query, key, value)
    return layer.linear(result, "o_proj", "hidden")


def llama(layer: Layer, x: Tensor) -> Tensor:
    """LlamaDecoderLayer.forward."""
    residual = x
    x = layer.rms_norm(x)
    x = attended(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = layer.rms_norm(x)
    x = layer.gated(x)
    return layer.added(residual, x)


def olmo(layer: Layer, x: Tensor) -> Tensor:
    """OlmoDecoderLayer.forward."""
    residual = x
    x = bare_norm(layer, x)
    x = attended(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = bare_norm(layer, x)
    x = layer.gated(x)
    return layer.added(residual, x)


def granite(layer: Layer, x: Tensor) -> Tensor:
    """GraniteDecoderLayer.forward: what is added is multiplied first."""
    residual = x
    x = layer.rms_norm(x)
    x = attended(layer, x)
    x = layer.added(residual, scaled(layer.tape, x))
    residual = x
    x = layer.rms_norm(x)
    x = layer.gated(x)
    return layer.added(residual, scaled(layer.tape, x))


def qwen3(layer: Layer, x: Tensor) -> Tensor:
    """Qwen3DecoderLayer.forward: queries and keys are normed head by head."""
    residual = x
    x = layer.rms_norm(x)
    x = _head_normed(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = layer.rms_norm(x)
    x = layer.gated(x)
    return layer.added(residual, x)


def _head_normed(layer: Layer, x: Tensor) -> Tensor:
    query = layer.rms_norm(layer.linear(x, "q_proj", "query"), "head", "heads")
    key = layer.rms_norm(layer.linear(x, "k_proj", "key"), "head", "key_heads")
    value = layer.linear(x, "v_proj", "value")
    query, key = layer.rotated(query, "half_query"), layer.rotated(key, "half_key")
    result = layer.attention(query, key, value)
    return layer.linear(result, "o_proj", "hidden")


def mixtral(layer: Layer, x: Tensor) -> Tensor:
    """MixtralDecoderLayer.forward."""
    residual = x
    x = layer.rms_norm(x)
    x = attended(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = layer.rms_norm(x)
    x = mixture(layer, x, widened=True)
    return layer.added(residual, x)


def qwen3_moe(layer: Layer, x: Tensor) -> Tensor:
    """Qwen3MoeDecoderLayer.forward."""
    residual = x
    x = layer.rms_norm(x)
    x = _head_normed(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = layer.rms_norm(x)
    x = mixture(layer, x, widened=False)
    return layer.added(residual, x)


def gemma(layer: Layer, x: Tensor) -> Tensor:
    """GemmaDecoderLayer.forward."""
    residual = x
    x = gemma_norm(layer, x)
    x = attended(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = gemma_norm(layer, x)
    x = layer.gated(x)
    return layer.added(residual, x)


def gemma2(layer: Layer, x: Tensor) -> Tensor:
    """Gemma2DecoderLayer.forward: norms before and after."""
    residual = x
    x = gemma_norm(layer, x)
    x = attended(layer, x)
    x = gemma_norm(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = gemma_norm(layer, x)
    x = layer.gated(x)
    x = gemma_norm(layer, x)
    return layer.added(residual, x)


def gemma3(layer: Layer, x: Tensor) -> Tensor:
    """Gemma3DecoderLayer.forward: as Gemma 2, with queries and keys normed head by head."""
    residual = x
    x = gemma_norm(layer, x)
    x = _gemma_head_normed(layer, x)
    x = gemma_norm(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = gemma_norm(layer, x)
    x = layer.gated(x)
    x = gemma_norm(layer, x)
    return layer.added(residual, x)


def _gemma_head_normed(layer: Layer, x: Tensor) -> Tensor:
    query = layer.linear(x, "q_proj", "query")
    key = layer.linear(x, "k_proj", "key")
    value = layer.linear(x, "v_proj", "value")
    query = gemma_norm(layer, query, "head", "heads")
    key = gemma_norm(layer, key, "head", "key_heads")
    query, key = layer.rotated(query, "half_query"), layer.rotated(key, "half_key")
    result = layer.attention(query, key, value)
    return layer.linear(result, "o_proj", "hidden")


def olmo2(layer: Layer, x: Tensor) -> Tensor:
    """Olmo2DecoderLayer.forward: norms after alone, and over all queries and all keys at once."""
    residual = x
    x = _whole_normed(layer, x)
    x = olmo_norm(layer, x)
    x = layer.added(residual, x)
    residual = x
    x = layer.gated(x)
    x = olmo_norm(layer, x)
    return layer.added(residual, x)


def _whole_normed(layer: Layer, x: Tensor) -> Tensor:
    query = olmo_norm(layer, layer.linear(x, "q_proj", "query"), "query")
    key = olmo_norm(layer, layer.linear(x, "k_proj", "key"), "key")
    value = layer.linear(x, "v_proj", "value")
    query, key = layer.rotated(query, "half_query"), layer.rotated(key, "half_key")
    result = layer.attention(query, key, value)
    return layer.linear(result, "o_proj", "hidden")
