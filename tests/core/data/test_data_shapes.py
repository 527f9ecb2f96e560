import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from core.data.shapes import Shape, recognise, to_sample
from core.data.types import Message, Row, Sample
from core.errors import Problem, UserError

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
GPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
TURNS = (Message("user", "q"), Message("assistant", "a"))


def rows_of(*values: Mapping[str, Any]) -> list[Row]:
    return [Row("data.jsonl", line, value) for line, value in enumerate(values, start=1)]


def understood(*values: Mapping[str, Any], wanted: Any = "auto", mapping: Mapping[str, str] | None = None) -> Shape:
    return recognise(rows_of(*values), wanted, mapping or {})


def sample(value: Mapping[str, Any], wanted: Any = "auto", mapping: Mapping[str, str] | None = None) -> Sample:
    found = to_sample(rows_of(value)[0], understood(value, wanted=wanted, mapping=mapping))
    assert isinstance(found, Sample), str(found)
    assert found.place == "data.jsonl:1"
    return found


def misfit(value: Mapping[str, Any], good: Mapping[str, Any] | None = None, wanted: Any = "auto") -> str:
    found = to_sample(Row("data.jsonl", 7, value), understood(good or value, wanted=wanted))
    assert isinstance(found, Problem), found
    assert found.path == "data.jsonl:7"
    return found.message


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"messages": CHAT}, "messages"),
        ({"id": 3, "Conversations": CHAT}, "messages"),
        ({"messages": json.dumps(CHAT)}, "messages"),
        ({"conversations": GPT}, "sharegpt"),
        ({"conversations": GPT, "text": "rendered"}, "sharegpt"),
        ({"instruction": "i", "input": "", "output": "o"}, "alpaca"),
        ({"instruction": "i", "context": "", "response": "o", "category": "x"}, "alpaca"),
        ({"prompt": "p", "completion": "c"}, "prompt_completion"),
        ({"prompt": "p", "response": "c"}, "prompt_completion"),
        ({"prompt": CHAT[:1], "completion": CHAT[1:]}, "prompt_completion"),
        ({"Question": "p", "Answer": "c"}, "question_answer"),
        ({"question": "p", "response": "c"}, "question_answer"),
        ({"text": "t"}, "text"),
        ({"title": "x", "content": "t"}, "text"),
    ],
)
def test_formats_are_recognised_with_a_reason(value: dict[str, Any], name: str) -> None:
    shape = understood(value, value)
    assert shape.name == name
    assert shape.reason.startswith("Recognised because all of the first 2 rows have ")
    assert isinstance(to_sample(rows_of(value)[0], shape), Sample)


def test_the_majority_decides_and_the_reason_says_so() -> None:
    shape = understood({"prompt": "p", "completion": "c"}, {"text": "t"}, {"prompt": "p", "completion": "c"})
    assert (shape.name, shape.reason) == (
        "prompt_completion",
        "Recognised because 2 of the first 3 rows have the columns “prompt” and “completion”.",
    )


def test_conversations_of_both_dialects() -> None:
    assert sample({"messages": CHAT}).messages == TURNS
    assert sample({"conversations": GPT, "system": "s"}).messages == (Message("system", "s"), *TURNS)
    assert sample({"messages": CHAT, "system": ""}).messages == TURNS
    roles = ["System", "developer", "HUMAN", "bot", "function", "observation", "model"]
    turns = [{"role": role, "content": "x"} for role in roles]
    found = [message.role for message in sample({"messages": turns}).messages]
    assert found == ["system", "system", "user", "assistant", "tool", "tool", "assistant"]


def test_content_parts_numbers_and_reasoning() -> None:
    parts = [{"type": "text", "text": "one "}, "two ", {"type": "text", "value": "three"}]
    answer = [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
    assert sample({"messages": turns}).messages == (
        Message("user", "one two three"),
        Message("assistant", "a", {"reasoning_content": "hm"}),
    )
    numbers = [{"role": "user", "content": 6.5}, {"role": "assistant", "content": True}]
    assert [turn.content for turn in sample({"messages": numbers}).messages] == ["6.5", "true"]
    assert sample({"question": "6*7", "answer": 42}).completion == "42"


def test_tool_calls_in_every_dialect() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    openai = [
        {"role": "user", "content": "q", "name": None},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        },
        {"role": "tool", "content": "1", "tool_call_id": "1"},
        {"role": "assistant", "content": "a"},
    ]
    found = sample({"messages": openai, "tools": [{"name": "f", "parameters": {}}]})
    assert found.messages[0].extra == {}
    assert found.messages[1] == Message("assistant", "", {"content": None, "tool_calls": [{"id": "1", **call}]})
    assert found.messages[2].extra == {"tool_call_id": "1"}
    assert found.tools == ({"type": "function", "function": {"name": "f", "parameters": {}}},)
    share = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "a"},
    ]
    found = sample({"conversations": share, "tools": '[{"type": "function", "function": {"name": "f", "d": null}}]'})
    assert found.messages[1] == Message("assistant", "", {"content": None, "tool_calls": [call]})
    assert found.tools == ({"type": "function", "function": {"name": "f", "d": None}},)
    assert sample({"conversations": GPT, "tools": ""}).tools == ()


def test_weights_of_turns() -> None:
    turns = [*CHAT, {"role": "user", "content": "q"}, {"role": "assistant", "content": "b", "weight": 0}]
    assert [dict(turn.extra) for turn in sample({"messages": turns}).messages] == [{}, {}, {}, {"weight": 0}]
    for name, value in (("loss", False), ("train", True), ("loss_weight", 1.0)):
        found = sample({"messages": [CHAT[0], {**CHAT[1], name: value}]})
        assert found.messages[1].extra == {"weight": int(value)}
    assert "only 0 and 1" in misfit({"messages": [CHAT[0], {**CHAT[1], "weight": 0.5}]})


def test_alpaca_rows() -> None:
    value = {"instruction": "i", "input": "x", "output": "o", "history": [["q", "a"]], "system": "s"}
    assert sample(value).messages == (
        Message("system", "s"),
        *TURNS,
        Message("user", "i\n\nx"),
        Message("assistant", "o"),
    )
    assert sample({"instruction": "i", "input": None, "output": "o"}).messages[0].content == "i"
    assert sample({"instruction": "", "input": "x", "output": "o"}).messages[0].content == "x"
    assert "both empty" in misfit({"instruction": "", "input": "", "output": "o"})
    assert "pairs" in misfit({**value, "history": [["q"]]})


def test_prompts_and_completions() -> None:
    assert sample({"prompt": "p ", "completion": " c"}) == Sample("data.jsonl:1", prompt="p ", completion=" c")
    found = sample({"prompt": "p", "completion": "c", "system": "s"})
    assert [turn.role for turn in found.messages] == ["system", "user", "assistant"]
    before = [*CHAT, {"role": "user", "content": "again"}]
    found = sample({"prompt": before, "completion": "c"})
    assert [turn.extra.get("weight", 1) for turn in found.messages] == [0, 0, 0, 1]
    assert sample({"prompt": "p", "completion": CHAT[1:]}).messages[-1] == Message("assistant", "a")
    assert sample({"prompt": "[1, 2]", "completion": "[3]"}).prompt == "[1, 2]"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"prompt": "p", "completion": ""}, "empty"),
        ({"prompt": "p", "completion": " \n"}, "empty"),
        ({"prompt": "p", "completion": None}, "null"),
        ({"prompt": "p"}, "null"),
        ({"prompt": "", "completion": "c"}, "“prompt” is empty"),
        ({"prompt": {"a": 1}, "completion": "c"}, "is an object"),
        ({"prompt": ["x"], "completion": "c"}, "is a list"),
        ({"prompt": "p", "completion": "\ud800"}, "surrogate"),
        ({"prompt": b"\xff", "completion": "c"}, "not UTF-8"),
    ],
)
def test_bad_pairs(value: dict[str, Any], said: str) -> None:
    assert said in misfit(value, {"prompt": "p", "completion": "c"})


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (None, "not a list"),
        ("hello", "not a list"),
        ([], "empty list"),
        (["x"], "message 1 of “messages” is not an object"),
        ([{"content": "x"}], "role null"),
        ([{"role": "narrator", "content": "x"}], 'role "narrator"'),
        ([{"role": ["user"], "content": "x"}], "expected system"),
        ([{"role": "user", "content": None}], "null"),
        ([{"role": "user"}], "null"),
        ([{"role": "user", "content": {"a": 1}}], "an object"),
        ([CHAT[0], {"role": "assistant", "content": ""}], "message 2 of “messages” is an empty answer"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "“image_url”"),
        ([{"role": "user", "content": [7]}], "neither a text"),
        ([{"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}], "name of a function"),
        ([{"from": "function_call", "value": "no json"}], "name of a function"),
    ],
)
def test_bad_conversations(turns: Any, said: str) -> None:
    assert said.lower() in misfit({"messages": turns}, {"messages": CHAT}).lower()


def test_two_system_texts_are_refused() -> None:
    turns = [{"role": "system", "content": "one"}, *CHAT]
    assert "two system texts" in misfit({"messages": turns, "system": "two"})


def test_mapping_overrules_names() -> None:
    value = {"frage": "p", "antwort": "c", "rolle": "s"}
    found = sample(value, mapping={"prompt": "Frage", "completion": "antwort", "system": "rolle"})
    assert [turn.content for turn in found.messages] == ["s", "p", "c"]
    assert sample({"body": "x", "blurb": "t"}, mapping={"text": "blurb"}).completion == "t"
    assert sample({"log": GPT}, mapping={"messages": "log"}).messages == TURNS
    assert sample({"prompt": "p", "chosen": "c", "rejected": "r"}, mapping={"completion": "chosen"}).completion == "c"
    assert understood({"log": GPT}, mapping={"messages": "log"}).name == "sharegpt"
    assert sample({"conversations": GPT, "persona": "s"}, mapping={"system": "persona"}).messages[0].role == "system"
    found = sample({"instruction": "i", "gold": "c", "output": "o"}, "alpaca", {"completion": "gold"})
    assert found.messages[-1].content == "c"


@pytest.mark.parametrize(
    ("value", "wanted", "mapping", "said"),
    [
        ({"a": 1, "b": 2}, "auto", {}, "“a”, “b”"),
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, "auto", {}, "completion: chosen"),
        ({"quote": "t"}, "auto", {}, "{text: quote}"),
        ({"text": "t"}, "alpaca", {}, "“instruction” and “output”"),
        ({"text": "t"}, "auto", {"prompt": "q", "text": "txet"}, "no column “q”"),
        ({"text": "t"}, "auto", {"text": "texd"}, "Did you mean “text”?"),
        ({"text": "t"}, "auto", {"question": "text"}, "no part"),
        ({"q1": "t"}, "auto", {"q1": "prompt"}, "Write “prompt: q1” instead."),
        ({"x": "t"}, "auto", {"prompt": "x"}, "“completion”"),
        ({}, "auto", {}, "none"),
    ],
)
def test_unknown_formats_say_what_to_do(value: dict[str, Any], wanted: Any, mapping: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        understood(value, wanted=wanted, mapping=mapping)
    assert said in str(caught.value)


def test_columns_of_parquet_with_empty_members_fit() -> None:
    turns: Sequence[Mapping[str, Any]] = [
        {"role": "user", "content": "q", "tool_calls": None, "name": None},
        {"role": "assistant", "content": "a", "tool_calls": [], "name": None},
    ]
    assert sample({"messages": turns, "tools": None, "system": None}).messages == TURNS
