"""Tokenizers of published models in a real llama.cpp: the ids of hostile texts and of chats are those of training."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.data.templates import AUTO, choose_template
from core.data.tokenizer import Tokenizer
from core.errors import UserError
from core.export.gguf import GgufReport, write_gguf
from core.export.gguf.runtime import LlamaModel
from core.facts.model_files import read_model
from tests.core.data.real_chats import chats
from tests.core.export.gguf.llama_models import llama_library
from tests.core.export.gguf.real_tokenizers import REAL, Vocabularies, make_real
from tests.core.export.gguf.test_gguf_families import HOSTILE

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Asked:
    """A published tokenizer in llama.cpp and as it trains."""

    name: str
    base: Path
    report: GgufReport
    ours: Tokenizer
    model: LlamaModel

    def in_llama(self, text: str) -> list[int]:
        """The ids there, of a text that is composed first where the tokenizer does so itself."""
        return self.model.tokens(unicodedata.normalize("NFC", text) if self.name == "qwen3" else text)


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Vocabularies:
    return Vocabularies(tmp_path_factory.mktemp("vocabularies"))


@pytest.fixture(scope="module", params=REAL)
def asked(request: Any, vocabularies: Vocabularies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    library = llama_library()
    folder = tmp_path_factory.mktemp("real")
    base = make_real(request.param, vocabularies, folder)
    # a name by which llama.cpp would take this for a Phi-3 that strips white space, where it is none
    report = write_gguf(base, None, folder / ("tuned.gguf" if "white" not in request.param else "phi-3.gguf"), "f16")
    with LlamaModel(library, report.path, threads=1) as model:
        yield Asked(request.param, base, report, Tokenizer.load(base), model)


def test_hostile_texts_become_the_tokens_of_training(asked: Asked, vocabularies: Vocabularies) -> None:
    texts = [*HOSTILE, *(text for name in ("llama-bpe", "gpt-2") for text, _ in vocabularies.goldens(name))]
    if asked.name == "mistral":
        # Its space stands before the first word only: llama.cpp can have it behind every control token or nowhere.
        texts = [f"<s>{text}" for text in texts]
    differing = [text for text in texts if asked.in_llama(text) != asked.ours.encode(text)]
    assert not differing
    assert sum(len(asked.in_llama(text)) for text in texts) > 600


def test_chats_in_the_models_own_template_become_the_tokens_of_training(asked: Asked) -> None:
    if not read_model(asked.base).template:
        pytest.skip("the model has no chat template")
    template, texts = choose_template(AUTO, read_model(asked.base), asked.ours), []
    for chat in chats():
        try:
            text = template.render(chat.messages, tools=chat.tools, add_generation_prompt=True)
        except UserError:
            continue  # a template that has no system text, or no tools
        # llama.cpp takes every token with this text for the end of an answer; among Qwen's words it is a plain one
        texts.append(text.replace("</s>", "</u>") if asked.name == "qwen3" else text)
    assert len(texts) >= 50
    assert asked.model.template() == read_model(asked.base).template
    differing = [text for text in texts if asked.in_llama(text) != asked.ours.encode(text)]
    assert not differing


def test_the_ids_are_those_of_llama_cpps_own_tests(asked: Asked, vocabularies: Vocabularies) -> None:
    if not REAL[asked.name].golden:
        pytest.skip("llama.cpp's tests have no ids for it")
    wanted = vocabularies.goldens(REAL[asked.name].golden)
    assert len(wanted) > 40
    assert [asked.model.tokens(text, special=False) for text, _ in wanted] == [ids for _, ids in wanted]


def test_the_end_of_a_turn_ends_the_answer(asked: Asked) -> None:
    number = asked.ours.token_id(REAL[asked.name].end)
    assert number is not None
    assert asked.model.ends(number)
    ends = [number for number in range(asked.model.size) if asked.model.ends(number)]
    assert len(ends) < 10


def test_what_llama_cpp_does_not_do_is_said(asked: Asked) -> None:
    """Qwen 3 composes characters: what is not composed has other tokens in llama.cpp, and a note says so."""
    parted = "<s>re\u0301sume\u0301"
    differs = asked.model.tokens(parted) != asked.ours.encode(parted)
    assert differs == (asked.name == "qwen3")
    assert any("NFC" in note for note in asked.report.notes) == differs
