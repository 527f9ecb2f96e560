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
    "mistral-7b": {
        "model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "sliding_window": 4096,
        "max_position_embeddings": 32768,
    },
    "qwen2.5-0.5b": {
        "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    },
    "qwen2.5-72b": {
        "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    },
    "qwen3-4b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "head_dim": 128,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True,
    },
    "qwen3-32b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 5120, "intermediate_size": 25600, "head_dim": 128,
        "num_hidden_layers": 64, "num_attention_heads": 64, "num_key_value_heads": 8,
    },
    "gemma-2b": {
        "model_type": "gemma", "vocab_size": 256000, "hidden_size": 2048, "intermediate_size": 16384, "head_dim": 256,
        "num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1,
    },
    "gemma-2-9b": {
        "model_type": "gemma2", "vocab_size": 256000, "hidden_size": 3584, "intermediate_size": 14336, "head_dim": 256,
        "num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8, "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
    },
    "gemma-3-4b": {
        "model_type": "gemma3_text", "vocab_size": 262208, "hidden_size": 2560, "intermediate_size": 10240,
        "head_dim": 256, "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4,
        "sliding_window": 1024, "query_pre_attn_scalar": 256,
    },
    "phi-3-mini": {
        "model_type": "phi3", "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "sliding_window": 2047,
        "max_position_embeddings": 4096,
    },
    "phi-4": {
        "model_type": "phi3", "vocab_size": 100352, "hidden_size": 5120, "intermediate_size": 17920,
        "num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads": 10,
        "max_position_embeddings": 16384,
    },
    "phi-2": {
        "model_type": "phi", "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4,
        "resid_pdrop": 0.1,
    },
    "gpt2-xl": {
        "model_type": "gpt2", "vocab_size": 50257, "n_embd": 1600, "n_layer": 48, "n_head": 25, "n_positions": 1024,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
    "pythia-6.9b": {
        "model_type": "gpt_neox", "vocab_size": 50432, "hidden_size": 4096, "intermediate_size": 16384,
        "num_hidden_layers": 32, "num_attention_heads": 32, "rotary_pct": 0.25, "max_position_embeddings": 2048,
        "use_parallel_residual": True, "tie_word_embeddings": False,
    },
    "olmo-2-7b": {
        "model_type": "olmo2", "vocab_size": 100352, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    },
    "command-r": {
        "model_type": "cohere", "vocab_size": 256000, "hidden_size": 8192, "intermediate_size": 22528,
        "num_hidden_layers": 40, "num_attention_heads": 64, "num_key_value_heads": 64,
    },
    "granite-3-8b": {
        "model_type": "granite", "vocab_size": 49155, "hidden_size": 4096, "intermediate_size": 12800,
        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True,
        "embedding_multiplier": 12.0, "logits_scaling": 16.0, "residual_multiplier": 0.22,
        "attention_multiplier": 0.0078125,
    },
    "starcoder2-7b": {
        "model_type": "starcoder2", "vocab_size": 49152, "hidden_size": 4608, "intermediate_size": 18432,
        "num_hidden_layers": 32, "num_attention_heads": 36, "num_key_value_heads": 4, "sliding_window": 4096,
        "max_position_embeddings": 16384, "residual_dropout": 0.0, "embedding_dropout": 0.0,
    },
    "smollm3-3b": {
        "model_type": "smollm3", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 11008,
        "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4, "tie_word_embeddings": True,
    },
    "olmo-7b": {
        "model_type": "olmo", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 50304, "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
    "olmo-3-7b": {
        "model_type": "olmo3", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 100278, "max_position_embeddings": 65536,
        "tie_word_embeddings": False, "sliding_window": 4096,
    },
    "command-r7b": {
        "model_type": "cohere2", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 256000,
        "max_position_embeddings": 132096, "tie_word_embeddings": True, "sliding_window": 4096,
    },
    "exaone-4-32b": {
        "model_type": "exaone4", "hidden_size": 5120, "intermediate_size": 27392, "num_hidden_layers": 64,
        "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 102400,
        "max_position_embeddings": 131072, "tie_word_embeddings": False, "sliding_window": 4096,
    },
    "helium-2b": {
        "model_type": "helium", "hidden_size": 2560, "intermediate_size": 7040, "num_hidden_layers": 24,
        "num_attention_heads": 20, "num_key_value_heads": 20, "head_dim": 128, "vocab_size": 48000,
        "max_position_embeddings": 4096, "tie_word_embeddings": False,
    },
    "ernie-0.3b": {
        "model_type": "ernie4_5", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 18,
        "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 128, "vocab_size": 103424,
        "max_position_embeddings": 131072, "tie_word_embeddings": True,
    },
    "hunyuan-7b": {
        "model_type": "hunyuan_v1_dense", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128167,
        "max_position_embeddings": 32768, "tie_word_embeddings": True,
    },
    "mixtral-8x7b": {
        "model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
        "num_experts_per_tok": 2, "max_position_embeddings": 32768,
    },
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "head_dim": 128, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "num_experts": 128, "num_experts_per_tok": 8,
    },
}  # fmt: skip


def config_of(model: str | Mapping[str, Any], layers: int | None = None) -> Any:
    """The transformers config of a name from `CONFIGS`, or of a dict with its ``model_type``, at another depth."""
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
