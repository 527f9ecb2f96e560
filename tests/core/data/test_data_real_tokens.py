"""The tokens of real rows, as the token view shows them: every part of every kind of row where it belongs."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.reading import Progress, collect_samples
from core.data.templates import ChatTemplate, choose_template
from core.data.token_preview import TokenPreview, preview_tokens
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from tests.core.data.real_like_templates import STARTER, THINKING

CHATS = (
    "alpaca_en_demo.json", "alpaca_zh_demo.json", "identity.json", "v1_sft_demo.jsonl", "reason_tool_use_demo_50.jsonl",
    "glaive_toolcall_en_demo.json", "glaive_toolcall_zh_demo.json", "dpo_en_demo.json", "kto_en_demo.json",
)  # fmt: skip
SHOWN = 40
LONG = 10**6
LEAST = 24
"""Shorter texts, such as “Yes.”, may stand in anybody's turn."""

WithTemplate = Callable[[str], ModelFacts]


def samples_of(folder: Path, name: str) -> list[Sample]:
    (read,), _ = collect_samples(DataSpec(train=(str(folder / name),)), Progress(None))
    return list(read.samples[:SHOWN])


def runs(found: TokenPreview) -> list[tuple[tuple[int, ...], str]]:
    """The trained tokens, one run after another, with their text."""
    rows = zip(found.ids, found.pieces, found.trained, strict=True)
    groups = itertools.groupby(rows, key=lambda row: row[2])
    held = [list(group) for is_trained, group in groups if is_trained]
    return [(tuple(row[0] for row in group), "".join(row[1] for row in group)) for group in held]


def answers(sample: Sample) -> list[Message]:
    return [turn for turn in sample.messages if turn.role == "assistant" and turn.extra.get("weight", 1) != 0]


def said(turn: Message) -> str:
    return turn.content.rpartition("</think>")[2].strip()


@pytest.fixture(params=["thinking", "plain with tools", "starter with tools"])
def template(request: pytest.FixtureRequest, model_with: WithTemplate, tokenizer: Tokenizer) -> ChatTemplate:
    """A template that knows tools and thoughts, and two that do not."""
    chosen = {
        "thinking": ("auto", THINKING),
        "plain with tools": ("plain+tools", ""),
        "starter with tools": ("auto+tools", STARTER),
    }
    choice, source = chosen[request.param]
    return choose_template(choice, model_with(source), tokenizer)


@pytest.mark.parametrize("name", CHATS)
def test_answers_and_their_ends_are_trained_and_nothing_else(
    files: Path,
    name: str,
    template: ChatTemplate,
    tokenizer: Tokenizer,
) -> None:
    for sample in samples_of(files, name):
        found = preview_tokens(sample, tokenizer, template, DataSpec(max_length=LONG))
        trained, expected = runs(found), answers(sample)
        assert len(trained) == len(expected), sample.place
        for (ids, text), turn in zip(trained, expected, strict=True):
            assert said(turn) in text, sample.place
            assert ids[-1] == tokenizer.eos_id, f"{sample.place}: the end of the turn is trained"
            for call in turn.extra.get("tool_calls", ()):
                assert call["function"]["name"] in text
        everything = "\n".join(text for _, text in trained)
        others = [turn.content for turn in sample.messages if turn not in expected]
        own = "\n".join(turn.content for turn in expected)
        for words in (item.strip() for item in others):
            if len(words) >= LEAST and words not in own:
                assert words not in everything, sample.place
        assert all(tool["function"]["name"] in "".join(found.pieces) for tool in sample.tools)
        assert found.trained[0] is False
        assert found.cut_at is None


@pytest.mark.parametrize("name", ["reason_tool_use_demo_50.jsonl", "glaive_toolcall_en_demo.json", "v1_sft_demo.jsonl"])
def test_the_modes_train_all_answers_the_last_one_or_everything(
    files: Path,
    name: str,
    template: ChatTemplate,
    tokenizer: Tokenizer,
) -> None:
    several = 0
    for sample in samples_of(files, name):
        modes = {
            mode: preview_tokens(sample, tokenizer, template, DataSpec(max_length=LONG, train_on=mode))  # type: ignore[arg-type]
            for mode in ("completions", "last", "all")
        }
        assert len({found.ids for found in modes.values()}) == 1
        each = runs(modes["completions"])
        assert runs(modes["last"]) == each[-1:]
        several += len(each) > 1
        exempt = any(turn.role == "assistant" and turn.extra.get("weight", 1) == 0 for turn in sample.messages)
        assert exempt or modes["all"].supervised == len(modes["all"].ids) - 1
    assert several or name.startswith("v1")


def test_thoughts_are_trained_with_the_answer_that_they_lead_to(
    files: Path,
    model_with: WithTemplate,
    tokenizer: Tokenizer,
) -> None:
    template = choose_template("auto", model_with(THINKING), tokenizer)
    thoughtful = 0
    for sample in samples_of(files, "reason_tool_use_demo_50.jsonl"):
        last = answers(sample)[-1]
        thought = str(last.extra.get("reasoning_content", "")) or last.content.rpartition("</think>")[0]
        thought = thought.removeprefix("<think>").strip()
        if thought:
            thoughtful += 1
            _, text = runs(preview_tokens(sample, tokenizer, template, DataSpec(max_length=LONG)))[-1]
            assert f"<think>\n{thought}" in text, sample.place
    assert thoughtful > 10


@pytest.mark.parametrize("name", [*CHATS, "c4_demo.jsonl", "wiki_demo.txt"])
def test_the_cut_is_where_the_limit_is_and_nothing_behind_it_is_trained(
    files: Path,
    name: str,
    template: ChatTemplate,
    tokenizer: Tokenizer,
) -> None:
    for sample in samples_of(files, name)[:8]:
        whole = preview_tokens(sample, tokenizer, template, DataSpec(max_length=LONG))
        limit = max(8, len(whole.ids) // 2)
        cut = preview_tokens(sample, tokenizer, template, DataSpec(max_length=limit))
        assert (cut.ids, cut.pieces, cut.cut_at) == (whole.ids, whole.pieces, limit if len(whole.ids) > limit else None)
        assert cut.trained == (*whole.trained[:limit], *(False for _ in whole.trained[limit:]))
