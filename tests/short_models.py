"""The starter model in small pieces: its first layers, with all of its tokens or with the first of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

LAYERS = 4
FEWEST_LAYERS = 2
TOKENS = 8192
TOKENIZER = "tokenizer.json"
COMPANIONS = (TOKENIZER, "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def load(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def save(model: Any, source: Path, folder: Path) -> Path:
    model.save_pretrained(folder)
    for name in COMPANIONS:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    return folder


def cut_layers(starter: Path, layers: int) -> Any:
    model = load(starter)
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers = layers
    return model


def cut_tokenizer(file: Path) -> None:
    """Leaves the tokens that were merged first, whose numbers are the lowest: a whole tokenizer with shorter words."""
    whole = json.loads(file.read_text(encoding="utf-8"))
    kept = {text: number for text, number in whole["model"]["vocab"].items() if number < TOKENS}
    merges = [pair for pair in whole["model"]["merges"] if "".join(pair) in kept]
    assert len(kept) == TOKENS
    assert all(part in kept for pair in merges for part in pair)
    whole["model"] |= {"vocab": kept, "merges": merges}
    file.write_text(json.dumps(whole), encoding="utf-8")


@pytest.fixture(scope="session")
def first_layers(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter model cut after its first layers, in float32 so that merging is exact."""
    return save(cut_layers(starter, LAYERS), starter, tmp_path_factory.mktemp("first") / "first-layers")


def shorten(starter: Path, folder: Path, layers: int) -> Path:
    """Few layers and a sixth of the tokens: what a step took was mostly logits, and a start mostly the tokenizer."""
    model = cut_layers(starter, layers)
    model.resize_token_embeddings(TOKENS)
    save(model, starter, folder)
    cut_tokenizer(folder / TOKENIZER)
    return folder


@pytest.fixture(scope="session")
def short_starter(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As few layers and tokens as make a model of the same kind, for tests to which its size says nothing."""
    return shorten(starter, tmp_path_factory.mktemp("short") / "short-starter", FEWEST_LAYERS)


@pytest.fixture(scope="session")
def four_layers(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with as many layers as it takes to choose among them."""
    return shorten(starter, tmp_path_factory.mktemp("four") / "four-layers", LAYERS)
