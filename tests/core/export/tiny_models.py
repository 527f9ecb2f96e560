"""Tiny random models and adapters made by PEFT itself; the real libraries are the oracle."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VOCABULARY = 64
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", SIZES | {"tie_word_embeddings": False}),
    "llama-tied": ("LlamaConfig", SIZES | {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", SIZES | {"tie_word_embeddings": True}),
    "phi3": ("Phi3Config", SIZES),
    "gemma2": ("Gemma2Config", SIZES | {"head_dim": 8, "query_pre_attn_scalar": 8}),
    "gpt2": (
        "GPT2Config",
        {
            "vocab_size": VOCABULARY,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
    ),
    "opt": (
        "OPTConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
        },
    ),
}


def make_base(folder: Path, family: str = "llama", *, dtype: str = "float32", shard: str = "1GB") -> Path:
    """Saves a tiny random model of a family; the same one every time."""
    import torch
    import transformers

    name, settings = FAMILIES[family]
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # biases too, which start at zero
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
    return folder


@dataclass(frozen=True)
class Tuned:
    """A base, an adapter on it, and what both together answer."""

    base: Path
    adapter: Path
    logits: Any


def answer(model: Any) -> Any:
    """Logits of a fixed prompt, in float32."""
    import torch

    with torch.no_grad():
        return model.eval()(torch.arange(3, 27)[None]).logits.float()


def load(folder: Path) -> Any:
    """The model in a folder as plain transformers loads it, in float32; fails on missing or unused weights."""
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    return model


def tune(base: Path, adapter: Path, **settings: Any) -> Tuned:
    """Puts a random adapter on a base with PEFT and saves it."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(11)
    defaults: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False}
    with warnings.catch_warnings():
        # PEFT warns of what these tests do on purpose, and uses an old name of transformers.
        warnings.simplefilter("ignore")
        model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **(defaults | settings)))
        _randomize(model)
        model.save_pretrained(adapter)
        return Tuned(base, adapter, answer(model))


def _randomize(model: Any) -> None:
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_magnitude" in name:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
            elif "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
            elif parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
