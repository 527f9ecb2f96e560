"""Configs of published models, with their real widths, depths and vocabularies."""

from collections.abc import Mapping
from typing import Any

_LLAMA3 = {"model_type": "llama", "vocab_size": 128256, "rope_theta": 500000.0, "max_position_embeddings": 8192}

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "llama-2-7b": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    },
    "llama-2-70b": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    },
    "llama-3-8b": {
        **_LLAMA3, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "llama-3-70b": {
        **_LLAMA3, "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    },
    "llama-3.2-1b": {
        **_LLAMA3, "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64, "tie_word_embeddings": True,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "llama-3.2-3b": {
        **_LLAMA3, "hidden_size": 3072, "intermediate_size": 8192, "head_dim": 128, "tie_word_embeddings": True,
        "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8,
    },
}  # fmt: skip


def config_of(model: str | Mapping[str, Any], layers: int | None = None) -> Any:
    """The transformers config of a name from `CONFIGS` or of a dict with a ``model_type``; `layers` changes its depth."""
    from transformers import AutoConfig

    values = dict(CONFIGS[model] if isinstance(model, str) else model)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    if layers is not None:
        set_depth(config, layers)
    return config


def set_depth(config: Any, layers: int) -> None:
    """Cuts (or stretches) a config to so many layers; patterns of layer kinds are cut with it."""
    config.num_hidden_layers = layers
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = [kinds[index % len(kinds)] for index in range(layers)]
