"""A GGUF model in transformers' words: its metadata as config settings, its tensors under module names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.facts.architectures import FAMILIES
from core.facts.gguf_header import GgufArray, GgufHeader
from core.facts.tensors import Tensor

_PLAIN = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
}


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How one GGUF architecture is read: the family it becomes and the names in which it differs."""

    model_type: str
    names: Mapping[str, str]
    embedding: str = "embed_tokens"
    positions: str = ""


_DIALECTS: Mapping[str, _Dialect] = {
    **{name: _Dialect(name, _PLAIN) for name in ("llama", "qwen2", "qwen3", "gemma2", "nemotron", "stablelm")},
    "gemma3": _Dialect("gemma3_text", _PLAIN),
    "qwen2moe": _Dialect("qwen2_moe", _PLAIN),
    "qwen3moe": _Dialect("qwen3_moe", _PLAIN),
    "phi3": _Dialect("phi3", {**_PLAIN, "ffn_up": "mlp.gate_up_proj"}),
    "starcoder2": _Dialect("starcoder2", {**_PLAIN, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}),
    "gpt2": _Dialect(
        "gpt2",
        {
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        "wte",
        "wpe",
    ),
}
_BLOCK = re.compile(r"blk\.(\d{1,6})\.(.+)\.(weight|bias)")
# Tables that llama.cpp precomputes; the loaded model computes them itself.
_DERIVED = re.compile(r"rope_freqs|rope_factors|rope_scaling")
_SETTINGS = {
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "attention.sliding_window": "sliding_window",
}


def gguf_config(path: Path, header: GgufHeader) -> dict[str, Any]:
    """The metadata as the settings that config.json would have.

    Raises:
        UserError: the architecture is not one that can be read from GGUF, or the file is one part of several.
    """
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in _DIALECTS:
        raise UserError(
            error(
                str(path),
                f"Models of the architecture “{str(architecture)[:60]}” cannot be read from a GGUF file here; "
                f"these can: {', '.join(sorted(_DIALECTS))}.",
                "Use the model's folder with config.json and safetensors files instead.",
            )
        )
    parts = header.metadata.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise UserError(
            error(
                str(path),
                f"The file is one of {parts} parts of a model.",
                "Join them with llama.cpp's “llama-gguf-split --merge”, or use the model's safetensors files.",
            )
        )
    family = _DIALECTS[architecture].model_type
    config: dict[str, Any] = {"model_type": family, "architectures": [FAMILIES[family].architecture]}
    for key, name in _SETTINGS.items():
        value = header.metadata.get(f"{architecture}.{key}")
        if value is not None:
            config[name] = list(value.items or ()) if isinstance(value, GgufArray) else value
    words = header.metadata.get("tokenizer.ggml.tokens")
    vocabulary = header.metadata.get(
        f"{architecture}.vocab_size", words.length if isinstance(words, GgufArray) else None
    )
    if vocabulary is not None:
        config["vocab_size"] = vocabulary
    if "sliding_window" in config:
        config["use_sliding_window"] = bool(config["sliding_window"])
    config["tie_word_embeddings"] = all(tensor.name != "output.weight" for tensor in header.tensors)
    return config


def gguf_tensors(header: GgufHeader) -> Iterable[Tensor]:
    """The tensors under the names and shapes of the loaded class; those that are computed there are left out."""
    dialect = _DIALECTS[str(header.metadata.get("general.architecture"))]
    family = FAMILIES[dialect.model_type]
    outside = {
        "token_embd": f"{family.root}.{dialect.embedding}",
        "position_embd": f"{family.root}.{dialect.positions}",
        "output": family.head,
        "output_norm": f"{family.root}.norm",
    }
    for tensor in header.tensors:
        if _DERIVED.search(tensor.name):
            continue
        shape = tensor.shape
        match = _BLOCK.fullmatch(tensor.name)
        if match:
            inner = dialect.names.get(match[2], match[2])
            name = f"{family.blocks}.{match[1]}.{inner}.{match[3]}"
            if family.conv1d and match[2] in dialect.names and len(shape) == 2:
                shape = shape[::-1]  # GGUF holds (out, in) for every matrix
        else:
            stem, _, last = tensor.name.rpartition(".")
            name = f"{outside.get(stem, f'{family.root}.{stem}')}.{last}"
        yield replace(tensor, name=name, shape=shape)


def gguf_text(header: GgufHeader, *keys: str) -> str:
    """The first of the metadata's texts under ``keys`` that is there and not empty."""
    return next((value for key in keys if isinstance(value := header.metadata.get(key), str) and value), "")
