"""GGUF files of every family answer in a real llama.cpp as PEFT does, from F32 to the smallest format written here."""

from pathlib import Path
from typing import Any

import pytest

from core.export.gguf import write_gguf, write_gguf_adapter
from core.export.gguf.runtime import LlamaModel
from core.export.verification.answers import divergence
from tests.core.export.gguf.llama_models import (
    FAMILIES,
    SENTENCEPIECE,
    TEMPLATE,
    Tuned,
    llama_library,
    make_model,
    tune,
)

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning:peft")]

HOSTILE = (
    "the quick brown fox",
    "  two  spaces and\ttabs\n\n\nlines \n",
    "I've 'RE 12345 3.14 ---===!!!???",
    "naïve café Ελληνικά 中文字符 日本語 한국어 🦙👩‍👩‍👧 e\u0301",
    "<|im_start|>user\nthe fox<|im_end|>\n",
    "\x00\x01 control",
    "",
    " ",
    "x" * 300,
)


@pytest.fixture(scope="session")
def library() -> Path:
    return llama_library()


@pytest.fixture(scope="module", params=FAMILIES)
def tuned(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Tuned]:
    folder = tmp_path_factory.mktemp("family")
    return request.param, tune(make_model(folder / "base", request.param), folder / "adapter")


def asked(library: Path, file: Path, tuned: Tuned) -> Any:
    with LlamaModel(library, file, threads=1) as model:
        return model.logits(tuned.ids)


def test_a_family_answers_the_same_in_llama_cpp(library: Path, tuned: tuple[str, Tuned], tmp_path: Path) -> None:
    family, made = tuned
    report = write_gguf(made.base, made.adapter, tmp_path / "whole.gguf", "f32")
    assert report.bytes == (tmp_path / "whole.gguf").stat().st_size
    found = asked(library, report.path, made)
    assert abs(found - made.logits).max() < 0.05, family
    assert divergence(made.logits, found) < 1e-4
    assert (found.argmax(-1) == made.logits.argmax(-1)).mean() > 0.97


def test_smaller_formats_lose_as_little_as_they_should(library: Path, tuned: tuple[str, Tuned], tmp_path: Path) -> None:
    _, made = tuned
    lost = {}
    for precision in ("f16", "bf16", "q8_0", "q5_1", "q4_1", "q4_0"):
        report = write_gguf(made.base, made.adapter, tmp_path / f"{precision}.gguf", precision)
        lost[precision] = divergence(made.logits, asked(library, report.path, made))
    assert lost["f16"] < 2e-3
    assert lost["q8_0"] < 2e-2
    assert lost["q8_0"] < lost["q5_1"] < 0.5
    assert max(lost.values()) < 2, lost


def test_the_adapter_alone_changes_the_base_as_peft_does(
    library: Path, tuned: tuple[str, Tuned], tmp_path: Path
) -> None:
    family, made = tuned
    base = write_gguf(made.base, None, tmp_path / "base.gguf", "f32")
    report = write_gguf_adapter(made.base, made.adapter, tmp_path / "adapter.gguf", precision="f32")
    with LlamaModel(library, base.path, threads=1) as model:
        plain = model.logits(made.ids)
        model.add_adapter(report.path)
        found = model.logits(made.ids)
    assert abs(plain - made.logits).max() > 0.5, "the adapter changes much"
    assert abs(found - made.logits).max() < 0.05, family


def test_texts_become_the_same_tokens(library: Path, tuned: tuple[str, Tuned], tmp_path: Path) -> None:
    import tokenizers

    family, made = tuned
    report = write_gguf(made.base, None, tmp_path / "base.gguf", "f16")
    ours = tokenizers.Tokenizer.from_file(str(made.base / "tokenizer.json"))
    with LlamaModel(library, report.path, threads=1) as model:
        assert model.template() == TEMPLATE
        assert model.ends(2)
        assert not model.ends(9)
        for text in HOSTILE:
            if family in SENTENCEPIECE and ("<|" in text or text == ""):
                continue  # what follows a control token begins with a space in one and not in the other
            assert model.tokens(text) == ours.encode(text, add_special_tokens=False).ids, (family, text)
