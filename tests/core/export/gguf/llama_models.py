"""Tiny random models of every family with tokenizers of their own, and a real llama.cpp to ask them in."""

import json
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.core.data.real_packages import Package, fetched, package_folder

XLLAMACPP = Package(
    "xllamacpp",
    "2026.10.11549",
    "xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
    "wheel",
)
NODE_LLAMA = Package(
    "@node-llama-cpp/linux-x64",
    "3.22.1",
    "node-llama-cpp-linux-x64-3.22.1.tgz",
    "0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0",
    "npm",
)
ROWS = 400
"""Rows of the embeddings, some of them without a token."""
SIZES: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", SIZES),
    "llama-tied": ("LlamaConfig", SIZES | {"tie_word_embeddings": True}),
    "llama-3.1": ("LlamaConfig", SIZES | {"rope_parameters": LLAMA3, "head_dim": 16}),
    "mistral": ("MistralConfig", SIZES | {"sliding_window": None}),
    "qwen2": ("Qwen2Config", SIZES),
    "qwen3": ("Qwen3Config", SIZES | {"head_dim": 32}),
    "smollm3": ("SmolLM3Config", SIZES),
    "gemma": ("GemmaConfig", SIZES | {"head_dim": 16, "tie_word_embeddings": True}),
    "gemma2": (
        "Gemma2Config",
        SIZES | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8, "tie_word_embeddings": True},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        SIZES
        | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8, "num_hidden_layers": 6}
        | {"tie_word_embeddings": True},
    ),
    "phi3": ("Phi3Config", SIZES),
    "gpt2": (
        "GPT2Config",
        {
            "vocab_size": ROWS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 0,
        },
    ),
}  # fmt: skip
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {"granite": ("GraniteConfig", SIZES)}
"""Families that are not written here."""
SENTENCEPIECE = ("mistral", "gemma", "gemma2", "gemma3", "phi3", "granite")
"""Families that get a tokenizer with scores; the others get one with merges."""
TEXT = "the quick brown fox jumps over the lazy dog and then the other fox says that there is nothing to be said " * 4
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


@dataclass(frozen=True, slots=True)
class Tuned:
    """A base, an adapter on it, a few ids, and the logits of both together behind each of them."""

    base: Path
    adapter: Path
    ids: tuple[int, ...]
    logits: Any


def llama_library() -> Path:
    """A real llama.cpp, unpacked beside its archive. Skips where it cannot be fetched."""
    import platform
    import sys

    import pytest

    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the llama.cpp that these tests ask is for Linux on x86-64")
    archive = fetched(XLLAMACPP)
    library = package_folder(XLLAMACPP) / "xllamacpp" / "xllamacpp.abi3.so"
    if not library.is_file():
        with zipfile.ZipFile(archive) as packed:
            packed.extract("xllamacpp/xllamacpp.abi3.so", library.parents[1])
    return library


def quantizing_library() -> Path:
    """The folder of another llama.cpp, one with what makes K-quants. Skips where it cannot be fetched."""
    import tarfile

    archive = fetched(NODE_LLAMA)
    folder = package_folder(NODE_LLAMA) / "package" / "bins" / "linux-x64"
    if not (folder / "libllama.v0.5.0.so").is_file():
        with tarfile.open(archive) as packed:
            packed.extractall(package_folder(NODE_LLAMA), filter="data")
    return folder


def make_model(folder: Path, family: str, *, dtype: str = "float32", **sizes: int) -> Path:
    """Saves a tiny random model with its tokenizer and a chat template; ``sizes`` change its config.json."""
    import torch
    import transformers

    name, settings = (FAMILIES | OTHERS)[family]
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings | sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.08)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    write_tokenizer(folder, with_scores=family in SENTENCEPIECE, space_first=not family.startswith("gemma"))
    return folder


def tune(base: Path, folder: Path, **settings: Any) -> Tuned:
    """A random adapter on a base, made and asked by PEFT itself."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(11)
    defaults: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
            LoraConfig(task_type="CAUSAL_LM", **(defaults | settings)),
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.copy_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(folder)
    ids = tuple(range(10, 50))
    with torch.no_grad():
        logits = model.eval()(torch.tensor([ids])).logits[0].float().numpy()
    return Tuned(base, folder, ids, logits)


def write_tokenizer(folder: Path, *, with_scores: bool, space_first: bool = True) -> None:
    """A small tokenizer: byte-level with merges as GPT-2 splits, or SentencePiece's with byte tokens.

    Of SentencePiece's, all but Gemma's read a text as if a space stood before it (``space_first``).
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    special = ["<unk>", "<|im_start|>", "<|im_end|>"]
    trained = tokenizers.Tokenizer(models.BPE())
    if with_scores:
        spaces = [normalizers.Replace(" ", "▁")]
        trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *spaces] if space_first else spaces)
        trainer = trainers.BpeTrainer(vocab_size=100, show_progress=False)
        trained.train_from_iterator([TEXT[:200], *TEXT.split()], trainer)
        learned = json.loads(trained.to_str())["model"]
        bytes_too = [*special, *(f"<0x{number:02X}>" for number in range(256))]
        pieces = [text for text, _ in sorted(learned["vocab"].items(), key=lambda item: item[1])]
        vocab = {text: number for number, text in enumerate(dict.fromkeys([*bytes_too, *pieces]))}
        merges = [tuple(pair) for pair in learned["merges"]]
        made = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        made.normalizer = trained.normalizer
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=ROWS - 20, initial_alphabet=sorted(alphabet), special_tokens=special, show_progress=False
        )
        trained.train_from_iterator([TEXT], trainer)
        trained.decoder = decoders.ByteLevel()
        made = trained
    made.add_special_tokens(special)
    made.save(str(folder / "tokenizer.json"))
    told = {
        "bos_token": special[1], "eos_token": special[2], "unk_token": special[0], "chat_template": TEMPLATE,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(told), "utf-8")
