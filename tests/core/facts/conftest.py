"""Small models written by hand: headers with zeros behind them."""

import json
import struct
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import pytest

_SIZES = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "I32": 4, "F8_E4M3": 1, "BOOL": 1}
Shapes = Mapping[str, tuple[int, ...] | tuple[tuple[int, ...], str]]

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}


def llama_shapes(layers: int = 2, prefix: str = "model.", head: bool = True) -> dict[str, Any]:
    """The tensors of the model that `LLAMA` describes."""
    shapes: dict[str, Any] = {f"{prefix}embed_tokens.weight": (32, 8), f"{prefix}norm.weight": (8,)}
    for layer in range(layers):
        block = f"{prefix}layers.{layer}."
        for name, shape in {
            "input_layernorm": (8,),
            "post_attention_layernorm": (8,),
            "self_attn.q_proj": (8, 8),
            "self_attn.k_proj": (4, 8),
            "self_attn.v_proj": (4, 8),
            "self_attn.o_proj": (8, 8),
            "mlp.gate_proj": (16, 8),
            "mlp.up_proj": (16, 8),
            "mlp.down_proj": (8, 16),
        }.items():
            shapes[f"{block}{name}.weight"] = shape
    if head:
        shapes["lm_head.weight"] = (32, 8)
    return shapes


def write_header(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file with any header at all."""
    blob = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(blob) if length is None else length) + blob + data)
    return path


def write_tensors(path: Path, shapes: Shapes, dtype: str = "BF16", contents: Mapping[str, bytes] | None = None) -> Path:
    """A valid safetensors file; values are zeros unless ``contents`` has them."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, given in shapes.items():
        shape, kind = given if given and isinstance(given[0], tuple) else (given, dtype)
        size = prod(shape) * _SIZES[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [len(data), len(data) + size]}
        data += (contents or {}).get(name, b"").ljust(size, b"\0")
    return write_header(path, header, data)


def write_model(
    folder: Path, config: Mapping[str, Any] | None = None, shapes: Shapes | None = None, **more: Any
) -> Path:
    """A model folder: config.json, model.safetensors and an empty tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA if config is None else config))
    (folder / "tokenizer.json").write_text("{}")
    write_tensors(folder / "model.safetensors", llama_shapes() if shapes is None else shapes, **more)
    return folder


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(value: object) -> bytes:
    """Type and bytes of one metadata value."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + gguf_string(value)
    assert isinstance(value, list)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(gguf_string, value))
    if value and isinstance(value[0], list):
        return struct.pack("<IIQ", 9, 9, len(value)) + b"".join(gguf_value(item)[4:] for item in value)
    return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


def gguf_bytes(metadata: Mapping[str, object], shapes: Shapes, version: int = 3, alignment: int = 32) -> bytes:
    """A valid GGUF file of F32 zeros; shapes are in torch's order."""
    infos, offset = b"", 0
    for name, shape in shapes.items():
        infos += gguf_string(name) + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", 0, offset)
        offset += -(-prod(shape) * 4 // alignment) * alignment
    settings = b"".join(gguf_string(key) + gguf_value(value) for key, value in metadata.items())
    head = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(metadata)) + settings + infos
    return head + bytes(-len(head) % alignment) + bytes(offset)


GGUF_LLAMA = {
    "general.architecture": "llama",
    "general.license": "apache-2.0",
    "llama.block_count": 2,
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 16,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.context_length": 64,
    "tokenizer.ggml.tokens": [f"t{i}" for i in range(32)],
    "tokenizer.chat_template": "{{ messages }}",
}


def gguf_llama_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the model that `GGUF_LLAMA` describes; without a head, so tied."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (32, 8), "output_norm.weight": (8,)}
    for layer in range(2):
        for name, shape in {
            "attn_norm": (8,),
            "ffn_norm": (8,),
            "attn_q": (8, 8),
            "attn_k": (4, 8),
            "attn_v": (4, 8),
            "attn_output": (8, 8),
            "ffn_gate": (16, 8),
            "ffn_up": (16, 8),
            "ffn_down": (8, 16),
        }.items():
            shapes[f"blk.{layer}.{name}.weight"] = shape
    shapes["rope_freqs.weight"] = (4,)
    return shapes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The application's and the hub's folders inside the test's own."""
    monkeypatch.setenv("LOWRANK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def build() -> type:
    """The builders above, for tests that cannot import this file by name."""

    class Build:
        llama = LLAMA
        gguf_llama = GGUF_LLAMA
        llama_shapes = staticmethod(llama_shapes)
        header = staticmethod(write_header)
        tensors = staticmethod(write_tensors)
        model = staticmethod(write_model)
        gguf = staticmethod(gguf_bytes)
        gguf_value: Callable[[object], bytes] = staticmethod(gguf_value)
        gguf_string = staticmethod(gguf_string)
        gguf_llama_shapes = staticmethod(gguf_llama_shapes)

    return Build
