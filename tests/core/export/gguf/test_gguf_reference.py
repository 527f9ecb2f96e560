"""GGUF files beside those of llama.cpp's own converter: the same tensors byte for byte, and the same meaning."""

import json
from pathlib import Path

import pytest

from core.export.gguf import write_gguf
from tests.core.export.gguf.llama_models import FAMILIES, SENTENCEPIECE, make_model
from tests.core.export.gguf.reference import convert_all, read, write_pieces_of

pytestmark = [pytest.mark.torch, pytest.mark.slow]

OURS_ALONE = {
    "tokenizer.ggml.add_bos_token": "always said, because llama.cpp's default is another one for each kind of tokens",
    "tokenizer.ggml.add_eos_token": "the same",
    "tokenizer.ggml.add_space_prefix": "always said for SentencePiece: the tokenizer's files say it",
    "tokenizer.ggml.unknown_token_id": "the tokenizer's settings name one",
    "gemma.rope.freq_base": "llama.cpp's default, said all the same",
    "gemma2.rope.freq_base": "the same",
}
THEIRS_ALONE = {
    "general.basename": "guessed there from the folder's name",
    "general.version": "the same",
    "tokenizer.ggml.eot_token_id": "Gemma's own number there, whatever the tokens are; llama.cpp finds it by its text",
}
OTHERWISE = {
    "general.name": "the file's name here, the folder's in capitals there",
    "general.size_label": "counted with embeddings there",
    "tokenizer.ggml.scores": "control tokens are never merged, so theirs mean nothing",
    "tokenizer.ggml.token_type": "the unknown token is marked as such here",
    "tokenizer.ggml.tokens": "rows without a token are written with their own number here",
}


def prepare(folder: Path, family: str, dtype: str) -> Path:
    """A model that the converter takes too: with the files and old spellings that it wants."""
    base = make_model(folder, family, dtype=dtype)
    config = json.loads((base / "config.json").read_text("utf-8"))
    if family == "gpt2":
        (base / "config.json").write_text(json.dumps(config | {"n_ctx": config["n_positions"]}), "utf-8")
    if family == "phi3":
        rope = config["rope_parameters"] | {"original_max_position_embeddings": config["max_position_embeddings"]}
        (base / "config.json").write_text(json.dumps(config | {"rope_parameters": rope}), "utf-8")
    if family in SENTENCEPIECE:
        write_pieces_of(base)
    return base


CASES = [
    *((family, "q8_0", "float32") for family in FAMILIES),
    ("llama", "bf16", "bfloat16"),
    ("gpt2", "f16", "bfloat16"),
]


def folder_of(root: Path, case: tuple[str, str, str]) -> Path:
    """Where a case's model lies, under its family's name, and both files of it."""
    return root / "-".join(case[1:]) / case[0]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The models of all cases with what the converter made of them, and what it said."""
    root = tmp_path_factory.mktemp("converted")
    models = [(prepare(folder_of(root, case), case[0], case[2]), case[1]) for case in CASES]
    return root, convert_all([(base, base / "theirs.gguf", precision) for base, precision in models])


@pytest.mark.parametrize(("family", "precision", "dtype"), CASES)
def test_the_same_tensors_and_the_same_meaning(
    family: str, precision: str, dtype: str, converted: tuple[Path, str], tmp_path: Path
) -> None:
    root, said = converted
    base = folder_of(root, (family, precision, dtype))
    told, tensors = read(write_gguf(base, None, tmp_path / "ours.gguf", precision).path)
    assert (base / "theirs.gguf").is_file(), said[-2000:]
    expected, theirs = read(base / "theirs.gguf")
    assert tensors.keys() == theirs.keys()
    for name, (kind, shape, blob) in theirs.items():
        assert tensors[name][:2] == (kind, shape), name
        assert tensors[name][2] == blob, name
    assert told.keys() - expected.keys() <= OURS_ALONE.keys()
    assert expected.keys() - told.keys() <= THEIRS_ALONE.keys()
    if "tokenizer.ggml.scores" in told:
        both = list(zip(told["tokenizer.ggml.scores"], expected["tokenizer.ggml.scores"], strict=True))
        assert {number for number, (one, other) in enumerate(both) if one != other} <= {0, 1, 2}
    differing = {name for name in told.keys() & expected.keys() if told[name] != expected[name]}
    assert differing <= OTHERWISE.keys(), {name: (told[name], expected[name]) for name in differing}
