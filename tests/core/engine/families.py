"""Tiny random models of every family the engine is tested with; importable by the tests beside it."""

from typing import Any

_COMMON = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def configs() -> dict[str, Any]:
    """Family -> transformers config. Windows are shorter than the test rows, so that they matter."""
    import transformers as hf

    ungrouped = {key: value for key, value in _COMMON.items() if key != "num_key_value_heads"}
    gpt2 = {"vocab_size": 128, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    opt = {"vocab_size": 128, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    mixture = {"num_local_experts": 2, "num_experts_per_tok": 2}
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    return {
        "llama": hf.LlamaConfig(**_COMMON),
        "llama_tied": hf.LlamaConfig(**_COMMON, tie_word_embeddings=True),
        "mistral_window": hf.MistralConfig(**_COMMON, sliding_window=6),
        "qwen2": hf.Qwen2Config(**_COMMON),
        "qwen3": hf.Qwen3Config(**_COMMON, head_dim=8),
        "gemma2": hf.Gemma2Config(**_COMMON, head_dim=8, sliding_window=6, attn_logit_softcapping=5.0),
        "gemma3": hf.Gemma3TextConfig(**_COMMON, head_dim=8, sliding_window=6),
        "phi3": hf.Phi3Config(**_COMMON),
        "phi": hf.PhiConfig(**_COMMON),
        "smollm3": hf.SmolLM3Config(**_COMMON),
        "granite": hf.GraniteConfig(**_COMMON, logits_scaling=2.0),
        "cohere": hf.CohereConfig(**_COMMON, logit_scale=0.5),
        "gpt2": hf.GPT2Config(**gpt2, **special, **quiet),
        "opt": hf.OPTConfig(**opt, **special, max_position_embeddings=64, word_embed_proj_dim=32, dropout=0.0),
        "gpt_oss": hf.GptOssConfig(**_COMMON, **mixture, head_dim=8, sliding_window=6, rope_parameters=plain),
        "gpt_neox": hf.GPTNeoXConfig(**ungrouped),
    }


NAMES = (
    "llama", "llama_tied", "mistral_window", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "phi", "smollm3", "granite",
    "cohere", "gpt2", "opt", "gpt_oss", "gpt_neox",
)  # fmt: skip


def build(name: str, kernel: str = "flash", **overrides: Any) -> Any:
    """A seeded random model of a family with the engine's attention, float32, weights large enough to matter."""
    import torch
    from transformers import AutoModelForCausalLM

    from core.engine import attention

    config = configs()[name]
    for key, value in overrides.items():
        setattr(config, key, value)
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention.register(kernel))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.normal_(0.0, 2.0)
    return model.float()
