"""A hub on this machine, models on it, and a keyring in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring  # noqa: TID253 (the tests put a backend of their own into it)
import keyring.backend  # noqa: TID253
import pytest

from core.hub import token
from tests.core.hub.hub_server import HubServer, Model, running_hub

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 4000,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def weights(layers: range = range(2), *, ends: bool = True) -> bytes:
    """A safetensors file with random numbers: the embeddings and some of the layers of the model above."""
    import numpy as np
    from safetensors.numpy import save

    shapes: dict[str, tuple[int, ...]] = {}
    if ends:
        shapes |= {"model.embed_tokens.weight": (4000, 64), "model.norm.weight": (64,)}
    for layer in layers:
        block = f"model.layers.{layer}"
        shapes |= {
            f"{block}.self_attn.q_proj.weight": (64, 64),
            f"{block}.self_attn.k_proj.weight": (32, 64),
            f"{block}.self_attn.v_proj.weight": (32, 64),
            f"{block}.self_attn.o_proj.weight": (64, 64),
            f"{block}.mlp.gate_proj.weight": (96, 64),
            f"{block}.mlp.up_proj.weight": (96, 64),
            f"{block}.mlp.down_proj.weight": (64, 96),
            f"{block}.input_layernorm.weight": (64,),
            f"{block}.post_attention_layernorm.weight": (64,),
        }
    random = np.random.default_rng(len(shapes))
    return bytes(save({name: random.random(shape, np.float32) for name, shape in shapes.items()}))


def whole_model(model_id: str = "org/tiny", **more: Any) -> Model:
    """A model in one file, with much beside it that nobody needs."""
    files = {
        "README.md": b"---\nlicense: apache-2.0\n---\nTiny.",
        "LICENSE": b"Apache License",
        "config.json": json.dumps(LLAMA).encode(),
        "generation_config.json": b'{"do_sample": true}',
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": weights(),
        "pytorch_model.bin": b"\x80pickle",
        "tiny.Q4_K_M.gguf": b"GGUF",
        "onnx/model.onnx": b"onnx",
        "original/consolidated.00.pth": b"\x80pickle",
        "original/model.safetensors": b"again",
        "modeling_tiny.py": b"import os",
        ".gitattributes": b"",
    }
    return Model(model_id, files, **more)


def sharded_model(model_id: str = "org/sharded", names: tuple[str, str] | None = None) -> Model:
    """A model in two files and an index."""
    first, second = names or ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    parts = {first: weights(range(1)), second: weights(range(1, 2), ends=False)}
    places: dict[str, str] = {}
    for file, content in parts.items():
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        places |= dict.fromkeys((name for name in header if name != "__metadata__"), file)
    index = json.dumps({"metadata": {}, "weight_map": places}).encode()
    files = {
        "config.json": json.dumps(LLAMA).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": index,
        **parts,
        "consolidated.safetensors": b"the same once more",
    }
    return Model(model_id, files)


class MemoryKeyring(keyring.backend.KeyringBackend):
    """Keeps secrets as long as the test lasts."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.refuses = ""

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._check()
        del self.kept[service, username]

    def _check(self) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)


@pytest.fixture(autouse=True)
def own_keyring(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKeyring]:
    """No test sees the keyring, the token or the session of whoever runs it."""
    backend, before = MemoryKeyring(), keyring.get_keyring()
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    keyring.set_keyring(backend)
    token._session.clear()
    yield backend
    token._session.clear()
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def hub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything of the hub's tools is in the test's own folder; no proxy is in the way."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub, asked by whatever the test starts."""
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def tiny(hub: HubServer) -> Model:
    """The model org/tiny on the hub."""
    return hub.add(whole_model())


@pytest.fixture
def sharded(hub: HubServer) -> Model:
    """The model org/sharded on the hub."""
    return hub.add(sharded_model())
