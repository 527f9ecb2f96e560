"""A tiny configuration of every family that the loader knows, for the classes of transformers 5.23."""

from collections.abc import Mapping
from typing import Any

_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": 64}
_ALIKE = {
    **_IDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
_GROUPED = {**_ALIKE, "num_key_value_heads": 2}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, **_IDS}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LOCAL_MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
_DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "head_dim": 8,
}
_SSM = {"state_size": 8, "hidden_size": 32, "num_hidden_layers": 3, **_IDS}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}

TINY: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            *("llama", "mistral", "ministral3", "qwen2", "smollm3", "phi3", "granite", "olmo", "olmo2", "cohere"),
            *("starcoder2", "nemotron", "arcee", "apertus", "phi"),
        ),
        _GROUPED,
    ),
    **{kind: {**_GROUPED, "head_dim": 8} for kind in ("qwen3", "helium", "ernie4_5", "seed_oss", "gemma", "glm")},
    **{kind: {**_GROUPED, "head_dim": 16} for kind in ("gemma2", "gemma3_text", "hunyuan_v1_dense")},
    "olmo3": {**_GROUPED, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
    "cohere2": {**_GROUPED, "head_dim": 8},
    "stablelm": {**_GROUPED, "qk_layernorm": True},
    "glm4": {**_GROUPED, "head_dim": 8, "attention_bias": True},
    "exaone4": {**_GROUPED, "sliding_window": 16, "sliding_window_pattern": 3},
    "gemma3": {"text_config": {**_GROUPED, "head_dim": 8}, "vision_config": _VISION},
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "gpt_neo": {
        **_IDS,
        "hidden_size": 32,
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]],
        "max_position_embeddings": 128,
        "intermediate_size": 48,
    },
    "gptj": {**_GPT, "rotary_dim": 8},
    "codegen": {**_GPT, "rotary_dim": 8},
    "gpt_neox": _ALIKE,
    "opt": {**_ALIKE, "ffn_dim": 48, "word_embed_proj_dim": 16},
    "bloom": {**_IDS, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    "falcon": {**_IDS, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4},
    "mpt": {**_IDS, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 128},
    "mixtral": {**_GROUPED, **_LOCAL_MOE},
    "qwen2_moe": {**_GROUPED, **_MOE, "shared_expert_intermediate_size": 24, "mlp_only_layers": [0]},
    "qwen3_moe": {**_GROUPED, **_MOE, "head_dim": 8},
    "olmoe": {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {**_GROUPED, **_LOCAL_MOE, "head_dim": 8},
    "deepseek_v2": {**_ALIKE, **_LATENT},
    "deepseek_v3": {**_ALIKE, **_LATENT},
    "granitemoe": {**_GROUPED, **_LOCAL_MOE},
    "phimoe": {**_GROUPED, **_LOCAL_MOE, "lm_head_bias": True, "attention_bias": True},
    "mamba": _SSM,
    "falcon_mamba": _SSM,
    "mamba2": {**_SSM, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "rwkv": {**_IDS, "hidden_size": 32, "num_hidden_layers": 3, "attention_hidden_size": 32, "context_length": 64},
    "qwen3_next": {**_GROUPED, **_MOE, **_DELTA, "shared_expert_intermediate_size": 16},
    "qwen3_5_text": {**_GROUPED, **_DELTA},
    "qwen3_5": {"text_config": {**_GROUPED, **_DELTA}},
    "falcon_h1": {**_GROUPED, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
    "bamba": {**_GROUPED, "attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
    "jamba": {**_GROUPED, "num_experts": 2, "num_experts_per_tok": 1, "mamba_d_state": 8, "mamba_dt_rank": 4},
    "nemotron_h": {**_GROUPED, "hybrid_override_pattern": "M*-", "mamba_num_heads": 8, "mamba_head_dim": 8},
    "granitemoehybrid": {
        **_GROUPED,
        **_LOCAL_MOE,
        "layer_types": ["mamba", "attention", "mamba"],
        "shared_intermediate_size": 24,
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
    },
    "lfm2": {**_GROUPED, "layer_types": ["conv", "full_attention", "conv"], "block_ff_dim": 48},
    "recurrent_gemma": {**_GROUPED, "lru_width": 32, "head_dim": 8, "attention_window_size": 16},
}
