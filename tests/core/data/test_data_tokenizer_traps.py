"""Traps between a tokenizer and a chat template, each of which has spoilt trainings: none of them is stepped into."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.labels import encode_sample
from core.data.prompts import encode_prompt
from core.data.template_traits import added_system_text
from core.data.templates import builtin_templates, choose_template
from core.data.token_preview import TokenPreview, preview_tokens
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.errors import Severity
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from tests.core.data.real_chats import real_templates
from tests.core.data.real_like_templates import STARTER, THINKING
from tests.core.data.small_tokenizers import CHATML, NASTY

WithTemplate = Callable[[str], ModelFacts]
HI = (Message("user", "Hi"), Message("assistant", "Yo"))
BEGUN = "{{ bos_token }}" + CHATML
DATED = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "<|im_start|>system\nCutting knowledge: {{ strftime_now('%Y') }}\n{{ system }}<|im_end|>\n"
    "{% for m in rest %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALWAYS = "<|im_start|>system\nYou are a large and helpful model.<|im_end|>\n" + CHATML


def said(found: TokenPreview) -> str:
    return " ".join(problem.message for problem in found.notes)


def test_a_config_of_another_family_does_not_change_the_ids(starter: Path, tmp_path: Path) -> None:
    """AutoTokenizer chooses by the model's type: SmolLM's tokenizer beside a Qwen 2 config gives other ids."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = tmp_path / "transplant"
    folder.mkdir()
    shutil.copy(starter / "tokenizer.json", folder)
    settings = json.loads((starter / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("tokenizer_class", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}), encoding="utf-8")
    ours, right = Tokenizer.load(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    chosen = AutoTokenizer.from_pretrained(folder)
    assert any(
        chosen.encode(text, add_special_tokens=False) != right.encode(text, add_special_tokens=False) for text in NASTY
    ), "transformers has mended it, and this test may go"
    for text in NASTY:
        assert ours.encode(text) == right.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("name", ["own", *sorted(builtin_templates())])
def test_a_beginning_is_written_once_whoever_writes_it(
    name: str, model_with: WithTemplate, bos_tokenizer: Tokenizer
) -> None:
    template = choose_template("auto" if name == "own" else name, model_with(BEGUN), bos_tokenizer)
    row = encode_sample(Sample("f:1", HI), bos_tokenizer, template, "completions", 999)
    assert row.tokens.count(bos_tokenizer.bos_id) == 1
    assert row.tokens[0] == bos_tokenizer.bos_id
    assert not row.trained[0]
    prompt = encode_prompt("Hi", bos_tokenizer, template)
    assert list(row.tokens[: len(prompt)]) == prompt, "the model is asked as it was trained"
    assert "begin" not in said(preview_tokens(Sample("f:1", HI), bos_tokenizer, template, DataSpec()))


def test_nothing_is_added_to_what_a_template_has_written(model_with: WithTemplate, bos_tokenizer: Tokenizer) -> None:
    template = choose_template("auto", model_with(BEGUN), bos_tokenizer)
    text = template.render(HI)
    row = encode_sample(Sample("f:1", HI), bos_tokenizer, template, "all", 999)
    assert list(row.tokens) == bos_tokenizer.encode(text)
    assert list(row.tokens) != bos_tokenizer.encode(text, add_special=True), "which would add a second beginning"
    written = Sample("f:1", completion="<s>Once upon a time.<|im_end|>")
    running = encode_sample(written, bos_tokenizer, template, "all", 999)
    assert list(running.tokens) == bos_tokenizer.encode(written.completion)


def test_a_second_beginning_and_a_missing_one_are_said(model_with: WithTemplate, bos_tokenizer: Tokenizer) -> None:
    plain = "{% for m in messages %}{{ bos_token if loop.first }}{{ m.content }}<|im_end|>{% endfor %}"
    template = choose_template("auto", model_with(plain), bos_tokenizer)
    twice = Sample("f:1", (Message("user", "<s>Hi"), Message("assistant", "Yo")))
    found = preview_tokens(twice, bos_tokenizer, template, DataSpec())
    assert found.ids[:2] == (bos_tokenizer.bos_id,) * 2
    assert "begins with “<s>” twice" in said(found)
    bare = choose_template("auto", model_with(CHATML), bos_tokenizer)
    found = preview_tokens(Sample("f:1", HI), bos_tokenizer, bare, DataSpec())
    assert "does not begin with “<s>”" in said(found)
    assert all(note.severity is Severity.WARNING for note in found.notes)


@pytest.mark.parametrize(
    ("source", "text", "replaced"),
    [
        (STARTER, "You are a helpful AI assistant named SmolLM, trained by Hugging Face", True),
        (DATED, "Cutting knowledge: 2024", False),
        (ALWAYS, "You are a large and helpful model.", False),
        (CHATML, "", True),
        (THINKING, "", True),
    ],
    ids=["default", "dated", "always", "none", "thinking"],
)
def test_a_system_text_of_the_templates_own_is_found_and_said(
    source: str, text: str, replaced: bool, model_with: WithTemplate, tokenizer: Tokenizer
) -> None:
    template = choose_template("auto", model_with(source), tokenizer)
    assert added_system_text(template).endswith(text)
    assert bool(added_system_text(template)) == bool(text)
    plain = preview_tokens(Sample("f:1", HI), tokenizer, template, DataSpec())
    assert (f"{text}" in said(plain)) if text else not plain.notes
    own = Sample("f:1", (Message("system", "Be brief."), *HI))
    assert bool(preview_tokens(own, tokenizer, template, DataSpec()).notes) is (bool(text) and not replaced)
    if text:
        shown = "".join(plain.pieces)
        trained = "".join(piece for piece, mark in zip(plain.pieces, plain.trained, strict=True) if mark)
        assert text in shown
        assert trained == "Yo<|im_end|>"


@pytest.mark.parametrize("name", sorted(builtin_templates()))
def test_built_in_templates_add_no_words(name: str, model: ModelFacts, tokenizer: Tokenizer) -> None:
    assert added_system_text(choose_template(name, model, tokenizer)) == ""
    assert added_system_text(choose_template(f"{name}+tools", model, tokenizer)) == ""


def test_an_answer_that_cannot_end_is_said_with_a_way_out(model: ModelFacts, tokenizer: Tokenizer) -> None:
    template = choose_template("llama3", model, tokenizer)
    found = preview_tokens(Sample("f:1", HI), tokenizer, template, DataSpec())
    assert "“<|eot_id|>”" in said(found)
    assert [fix.edits[0].value for note in found.notes for fix in note.fixes] == ["plain"]


@pytest.mark.slow
def test_what_published_templates_add_is_found(tmp_path: Path, tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    known = {
        "Qwen-Qwen2.5-7B-Instruct": "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "meta-llama-Llama-3.1-8B-Instruct": "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024",
        "moonshotai-Kimi-K2": "You are a helpful assistant",
        "MiniMax-M2": "You are a helpful assistant.",
        "openai-gpt-oss-120b": "You are ChatGPT, a large language model trained by OpenAI.",
        "google-gemma-2-2b-it": "",
        "Qwen-Qwen3-0.6B": "",
        "Qwen3-Coder": "",
        "microsoft-Phi-3.5-mini-instruct": "",
        "mistralai-Mistral-Nemo-Instruct-2407": "",
        "deepseek-ai-DeepSeek-V3.1": "",
    }
    sources = real_templates(tmp_path)
    for name, text in known.items():
        found = added_system_text(choose_template("auto", model_with(sources[name]), tokenizer))
        assert text in found, name
        assert bool(found) == bool(text), name
