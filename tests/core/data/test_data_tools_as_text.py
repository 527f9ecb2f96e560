"""Rows that a chat template has no place for: said in words, with ways out that work, in one click."""

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.drafts import make_drafts
from core.data.labels import Written, encode_sample, write_sample
from core.data.templates import ChatTemplate, builtin_templates, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.errors import Edit, Fix, Problem, UserError
from core.facts.types import ModelFacts
from tests.core.data.real_like_templates import STARTER, THINKING
from tests.core.data.small_tokenizers import CHATML

WithTemplate = Callable[[str], ModelFacts]
TOOLS = ({"type": "function", "function": {"name": "weather", "description": "Größe <&>", "parameters": {}}},)


def call(place: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": "weather", "arguments": {"place": place}}}


CHAT = (
    Message("system", "Be brief."),
    Message("user", "Where is it warmer?"),
    Message("assistant", "", {"content": None, "tool_calls": [call("Rom"), call("東京")]}),
    Message("tool", "21"),
    Message("tool", "9"),
    Message("assistant", "In Rome."),
    Message("user", "And Oslo?"),
    Message("assistant", "I look.", {"tool_calls": [call("Oslo")]}),
    Message("tool", "-3"),
    Message("assistant", "Colder."),
)
ROW = Sample("rows.jsonl:7", CHAT, tools=TOOLS)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)


def refused(sample: Sample, template: ChatTemplate, train_on: str = "completions") -> Problem:
    (problem,) = make_drafts([sample], template, train_on)  # type: ignore[arg-type]
    assert isinstance(problem, Problem)
    assert problem.path == sample.place
    return problem


def trained(written: Written, tokenizer: Tokenizer) -> list[str]:
    """The trained pieces of text, one after another."""
    runs = itertools.groupby(
        zip(written.encoded.tokens, written.encoded.trained, strict=True), key=lambda pair: pair[1]
    )
    return [tokenizer.decode([token for token, _ in run], skip_special=False) for is_trained, run in runs if is_trained]


def after(fix: Fix, model: ModelFacts, tokenizer: Tokenizer) -> ChatTemplate:
    (edit,) = fix.edits
    assert edit.path == "data.template"
    return choose_template(edit.value, model, tokenizer)


def test_a_template_without_tools_says_so_and_one_click_writes_them_as_text(
    model: ModelFacts, tokenizer: Tokenizer
) -> None:
    problem = refused(ROW, choose_template("auto", model, tokenizer))
    assert "calls of tools" in problem.message
    (fix,) = problem.fixes
    assert (fix.title, fix.edits) == ("Write tools as text", (Edit("data.template", "auto+tools"),))
    template = after(fix, model, tokenizer)
    assert template.name == "model+tools"
    written = write_sample(ROW, tokenizer, template, "completions", 10**6)
    calls = [json.dumps({"name": "weather", "arguments": {"place": place}}, ensure_ascii=False)
             for place in ("Rom", "東京", "Oslo")]  # fmt: skip
    asked = [f"<tool_call>\n{text}\n</tool_call>" for text in calls]
    assert trained(written, tokenizer) == [
        f"{asked[0]}\n{asked[1]}<|im_end|>",
        "In Rome.<|im_end|>",
        f"I look.\n{asked[2]}<|im_end|>",
        "Colder.<|im_end|>",
    ]
    system, _, rest = written.text.partition("<|im_end|>\n")
    assert system.startswith("<|im_start|>system\nBe brief.\n\n# Tools")
    assert json.dumps(TOOLS[0], ensure_ascii=False) in system
    both = "<|im_start|>user\n<tool_response>\n21\n</tool_response>\n<tool_response>\n9\n</tool_response><|im_end|>"
    assert both in rest
    assert rest.count("<|im_start|>user") == 4


@pytest.mark.parametrize("name", sorted(builtin_templates()))
def test_every_built_in_can_write_tools_as_text(name: str, tokenizer: Tokenizer, model: ModelFacts) -> None:
    template = choose_template(f"{name}+tools", model, tokenizer)
    written = write_sample(ROW, tokenizer, template, "completions", 10**6)
    found = trained(written, tokenizer)
    assert len(found) == 4
    assert [word in piece for word, piece in zip(("東京", "Rome", "Oslo", "Colder"), found, strict=True)] == [True] * 4
    assert "Be brief." in written.text
    assert written.text.count("# Tools") == 1
    for unseen in ("Where is", "# Tools", "tool_response", "Be brief"):
        assert all(unseen not in piece for piece in found)


def test_plain_rows_are_written_as_without_the_preface(model_with: WithTemplate, bos_tokenizer: Tokenizer) -> None:
    plain = [message for message in CHAT if message.role != "tool" and "tool_calls" not in message.extra]
    thoughtful = [*plain[:-1], Message("assistant", "Colder.", {"reasoning_content": "hm"})]
    for source in (STARTER, THINKING):
        own, as_text = (choose_template(choice, model_with(source), bos_tokenizer) for choice in ("auto", "auto+tools"))
        for messages in (plain, plain[1:], thoughtful):
            assert as_text.render(messages) == own.render(messages)
        assert as_text.turn_end == own.turn_end


def test_a_system_text_goes_into_the_first_question_where_there_is_no_system_turn(
    model_with: WithTemplate, tokenizer: Tokenizer
) -> None:
    model = model_with(NO_SYSTEM)
    row = Sample("f:1", (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Yo")))
    problem = refused(row, choose_template("auto", model, tokenizer))
    assert "System role not supported" in problem.message
    assert problem.fixes[0].title == "Write the system text into the first question"
    template = after(problem.fixes[0], model, tokenizer)
    text = write_sample(row, tokenizer, template, "completions", 10**6).text
    assert text.startswith("<|im_start|>user\nBe brief.\n\nHi<|im_end|>")
    text = write_sample(ROW, tokenizer, template, "completions", 10**6).text
    assert text.startswith("<|im_start|>user\nBe brief.\n\n# Tools")
    assert "\n\nWhere is it warmer?<|im_end|>" in text


def test_the_text_of_an_edited_template_gets_the_preface_into_itself(
    model_with: WithTemplate, tokenizer: Tokenizer
) -> None:
    template = choose_template(CHATML, model_with(""), tokenizer)
    assert (template.name, template.choice, template.source) == ("edited", CHATML, CHATML)
    fix = refused(ROW, template).fixes[0]
    assert fix.edits[0].value.endswith(CHATML)
    again = after(fix, model_with(""), tokenizer)
    assert (again.name, again.source) == ("edited", fix.edits[0].value)
    assert len(trained(write_sample(ROW, tokenizer, again, "completions", 10**6), tokenizer)) == 4


def test_rows_that_fail_alike_have_the_same_ways_out(model: ModelFacts, tokenizer: Tokenizer) -> None:
    rows = [dataclasses.replace(ROW, place=f"f:{line}") for line in range(1, 4)]
    found = make_drafts(rows, choose_template("auto", model, tokenizer), "completions")
    assert all(isinstance(item, Problem) and item.fixes[0].title == "Write tools as text" for item in found)
    assert [item.place if not isinstance(item, Problem) else item.path for item in found] == ["f:1", "f:2", "f:3"]


def test_a_call_without_content_is_written_by_a_template_that_wants_one(
    model_with: WithTemplate, tokenizer: Tokenizer
) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('x')[0] }}"
        "{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{# tools #}"
    )
    template = choose_template("auto", model_with(source), tokenizer)
    with pytest.raises(UserError, match="content"):
        template.render(CHAT)  # as transformers does
    found = trained(write_sample(ROW, tokenizer, template, "completions", 10**6), tokenizer)
    assert len(found) == 4
    assert found[0].endswith("}<|im_end|>")


def test_of_answers_that_cannot_be_told_apart_the_last_one_can(model_with: WithTemplate, tokenizer: Tokenizer) -> None:
    source = (
        "{% for m in messages %}{% if m.role != 'assistant' or loop.last %}{{ m.content }}<|im_end|>"
        "{% endif %}{% endfor %}"
    )
    template = choose_template("auto", model_with(source), tokenizer)
    turns = (Message("user", "q"), Message("assistant", "one"), Message("user", "r"), Message("assistant", "two"))
    row = Sample("f:1", turns)
    problem = refused(row, template)
    assert "rewrites earlier turns" in problem.message
    assert problem.fixes[0].edits == (Edit("data.train_on", "last"),)
    encoded = encode_sample(row, tokenizer, template, "last", 99)
    kept = [token for token, is_trained in zip(encoded.tokens, encoded.trained, strict=True) if is_trained]
    assert tokenizer.decode(kept, skip_special=False) == "two<|im_end|>"


def test_a_template_file_takes_the_suffix(tmp_path: Path, model: ModelFacts, tokenizer: Tokenizer) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(CHATML, encoding="utf-8")
    template = choose_template(f"{path}+tools", model, tokenizer)
    assert template.name == f"{path}+tools"
    assert len(trained(write_sample(ROW, tokenizer, template, "completions", 10**6), tokenizer)) == 4
