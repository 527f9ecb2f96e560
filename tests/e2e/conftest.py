"""The starter model's first layers under other architectures."""

from pathlib import Path
from typing import Any

import pytest

from tests.short_models import load, save


@pytest.fixture(scope="session")
def transplants(short_starter: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights as Llama, Qwen2 (zero biases), Mistral and Phi3 (fused projections); all compute the same."""
    import torch
    import transformers as hf

    llama = load(short_starter)
    state, shared = llama.state_dict(), llama.config.to_dict()
    keep = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_parameters", "tie_word_embeddings",
        "bos_token_id", "eos_token_id", "pad_token_id", "hidden_act",
    )  # fmt: skip
    common = {key: shared[key] for key in keep}
    root = tmp_path_factory.mktemp("transplants")

    def moved(name: str, config: Any, weights: dict[str, torch.Tensor]) -> Path:
        model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected
        assert all("bias" in key or "rotary" in key for key in missing), missing
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if key in missing:
                    parameter.zero_()
        return save(model, short_starter, root / name)

    fused: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        prefix = key.rpartition("self_attn.")[0] or key.rpartition("mlp.")[0]
        if key.endswith("q_proj.weight"):
            parts = [state[f"{prefix}self_attn.{part}_proj.weight"] for part in "qkv"]
            fused[f"{prefix}self_attn.qkv_proj.weight"] = torch.cat(parts)
        elif key.endswith("gate_proj.weight"):
            fused[f"{prefix}mlp.gate_up_proj.weight"] = torch.cat([value, state[f"{prefix}mlp.up_proj.weight"]])
        elif not key.endswith(("k_proj.weight", "v_proj.weight", "up_proj.weight")):
            fused[key] = value
    return {
        "llama": short_starter,
        "qwen2": moved("qwen2", hf.Qwen2Config(**common), state),
        "mistral": moved("mistral", hf.MistralConfig(**common, sliding_window=None), state),
        "phi3": moved("phi3", hf.Phi3Config(**common), fused),
    }
