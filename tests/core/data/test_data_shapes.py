import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from core.data.samples import to_sample
from core.data.shapes import recognise
from core.data.types import Message, Row, Sample, Shape
from core.errors import Problem, Severity, UserError

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
        ({"prompt": "p"}, "no column “completion”"),
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
        ({"prompt": "p", "chosen": "c"}, "auto", {}, "completion: chosen"),
        ({"quote": "t"}, "auto", {}, "{text: quote}"),
        ({"text": "t"}, "alpaca", {}, "“instruction” and “output”"),
        ({"text": "t"}, "auto", {"prompt": "q", "text": "txet"}, "no column “q”"),
        ({"text": "t"}, "auto", {"text": "texd"}, "Did you mean “text”?"),
        ({"text": "t"}, "auto", {"question": "text"}, "no part"),
        ({"q1": "t"}, "auto", {"q1": "prompt"}, "Write “prompt: q1” instead."),
        ({"x": "t"}, "auto", {"prompt": "x"}, "“completion”"),
        ({}, "auto", {}, "they have no columns"),
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


# ------------------------------------------------------------------------------------- preferences, labels, templates


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASK, GOOD, BAD = turn("user", "q"), turn("assistant", "a"), turn("assistant", "b")


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "q", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"chosen_messages": [ASK, GOOD], "rejected_messages": [ASK, BAD]},
        {"conversations": GPT[:1], "chosen": GPT[1], "rejected": {"from": "gpt", "value": "b"}},
        {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        {"chosen": json.dumps([ASK, GOOD]), "rejected": json.dumps([ASK, BAD])},
    ],
)
def test_the_chosen_answer_of_a_pair_is_trained_and_that_is_said(value: dict[str, Any]) -> None:
    shape = understood(value)
    found = sample(value)
    assert shape.name == "preference"
    assert [(turn.role, turn.content, turn.extra.get("weight", 1)) for turn in found.messages] == [
        ("user", "q", 0),
        ("assistant", "a", 1),
    ]
    (note,) = shape.notes
    assert note.severity is Severity.INFO
    assert "are trained" in note.message
    assert "not used" in note.message


def test_earlier_answers_of_a_pair_carry_no_loss() -> None:
    found = sample({"chosen": [ASK, GOOD, ASK, GOOD], "rejected": [ASK, GOOD, ASK, BAD]})
    assert [turn.extra.get("weight", 1) for turn in found.messages] == [0, 0, 0, 1]
    before = "Human: q\n\nAssistant: a\n\nHuman: r"
    found = sample({"prompt": before, "chosen": "c", "rejected": "d"})
    assert [(turn.content, turn.extra.get("weight", 1)) for turn in found.messages] == [
        ("q", 0), ("a", 0), ("r", 0), ("c", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "is empty"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "nothing is asked"),
        ({"prompt": "q", "chosen": [ASK], "rejected": [ASK]}, "does not end with an answer"),
        ({"prompt": "q", "chosen": None, "rejected": "b"}, "null"),
    ],
)
def test_bad_pairs_of_answers(value: dict[str, Any], said: str) -> None:
    assert said in misfit(value, {"prompt": "q", "chosen": "a", "rejected": "b"}).lower()


def test_rows_that_fit_another_format_as_well_keep_it() -> None:
    both = {"chosen": "a", "rejected": "b"}
    assert understood({"prompt": "p", "completion": "c", **both}).name == "prompt_completion"
    assert understood({"messages": CHAT, **both}).name == "messages"
    assert understood({"messages": CHAT, "label": "funny"}).name == "messages"
    assert understood({"text": "t", "label": True}).name == "text"
    assert understood({"prompt": "p", "completion": "c", "label": 1}).name == "prompt_completion"


@pytest.mark.parametrize(
    "value",
    [
        {"messages": CHAT, "label": True},
        {"conversations": GPT, "kto_tag": True},
        {"prompt": "q", "completion": "a", "label": True},
        {"prompt": [ASK], "completion": [GOOD], "label": True},
    ],
)
def test_only_approved_answers_carry_loss(value: dict[str, Any]) -> None:
    (label,) = (name for name in value if name in ("label", "kto_tag"))
    shape = understood(value, {**value, label: False})
    assert shape.name == "feedback"
    assert "carries no loss" in shape.notes[0].message
    for approved in (True, False):
        found = to_sample(Row("data.jsonl", 1, {**value, label: approved}), shape)
        assert isinstance(found, Sample)
        answers = [turn for turn in found.messages if turn.role == "assistant"]
        assert [turn.extra.get("weight", 1) for turn in answers] == [int(approved)]
    broken = to_sample(Row("data.jsonl", 1, {**value, label: "yes"}), shape)
    assert isinstance(broken, Problem)
    assert "neither true nor false" in broken.message


def test_templates_join_columns() -> None:
    value = {"question": "q", "context": "c", "n": 3, "reply": "a", "empty": None}
    joined = sample(value, mapping={"prompt": r"{question}\n{{x}} {Context}{empty} ({n})", "completion": "reply"})
    assert joined.prompt == "q\n{x} c (3)"
    assert sample(value, mapping={"text": "Q: {question}\nA: {reply}"}).completion == "Q: q\nA: a"
    found = sample(value, mapping={"prompt": "question", "completion": "reply", "system": "You know {context}."})
    assert found.messages[0] == Message("system", "You know c.")
    assert sample({"{a}": "t", "b": "x"}, mapping={"text": "{a}"}).completion == "t"


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"prompt": "{question} {contxt}", "completion": "reply"}, ["no column “contxt”", "Did you mean “context”?"]),
        ({"prompt": "{} {zzz}", "completion": "reply"}, ["no column “”", "no column “zzz”", "“question”, “context”"]),
        ({"messages": "{question}"}, ["one column with a list of turns"]),
    ],
)
def test_templates_name_the_column_that_is_missing(mapping: dict[str, str], said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        understood({"question": "q", "context": "c", "reply": "a"}, mapping=mapping)
    assert all(part in str(caught.value) for part in said)
    assert {problem.path for problem in caught.value.problems} == {"data.mapping"}


def test_a_template_over_a_structured_cell_is_a_misfit() -> None:
    shape = understood({"a": "q", "b": "c"}, mapping={"text": "{a} {b}"})
    found = to_sample(Row("data.jsonl", 1, {"a": ["x"], "b": ""}), shape)
    assert isinstance(found, Problem)
    assert "The column “a” is a list" in found.message


def test_confidence_is_the_share_of_rows_that_make_sense() -> None:
    good, bad = {"prompt": "p", "completion": "c"}, {"prompt": "p", "completion": ""}
    assert understood(good, good).confidence == 1
    assert understood(good, bad).confidence == 0.5
    doubtful = understood(good, bad, bad)
    assert doubtful.confidence == pytest.approx(1 / 3)
    assert "makes sense of 33% of the first 3 rows only" in doubtful.notes[0].message
    assert understood(good, bad, bad, wanted="prompt_completion").notes == ()


@pytest.mark.parametrize(
    "name", ["bing", "Bard", "chatgpt", "gpt4", "usr", "prompter", "tool_result", "function-response"]
)
def test_rare_role_names(name: str) -> None:
    rows = [{"from": name, "value": "x"}, {"from": "gpt", "value": "a"}]
    assert sample({"conversations": rows}).messages[0].role in ("user", "assistant", "tool")


def test_turns_with_other_keys_and_columns_of_turns() -> None:
    speakers = [{"speaker": "human", "text": "q"}, {"speaker": "bot", "text": "a"}]
    assert sample({"dialog": speakers}).messages == TURNS
    assert sample({"messages": [{"role": "user", "value": "q"}, {"role": "assistant", "text": "a"}]}).messages == TURNS
    columns = {"from": ["human", "gpt"], "value": ["q", "a"]}
    assert sample({"conversations": columns}).messages == TURNS
    assert understood({"conversations": columns}).name == "sharegpt"


def test_tool_calls_as_parts_of_a_content() -> None:
    parts = [
        {"type": "reasoning", "value": "hm"},
        {"type": "tool_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
        {"type": "tool_call", "value": {"name": "g", "arguments": {}}},
    ]
    found = sample({"messages": [ASK, {"role": "assistant", "content": parts}, turn("tool", "1"), GOOD]})
    calls = found.messages[1].extra["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["f", "g"]
    assert (found.messages[1].extra["content"], found.messages[1].extra["reasoning_content"]) == (None, "hm")


def test_rows_with_pictures_are_read_with_a_warning() -> None:
    shape = understood({"messages": CHAT, "images": ["1.jpg"]})
    assert (shape.name, shape.notes[0].severity) == ("messages", Severity.WARNING)
    assert understood({"messages": CHAT, "images": []}).notes == ()


def test_depths_without_a_meaning_are_refused() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    assert "nested too deeply" in misfit({"messages": CHAT, "tools": deep})
    text = "[" * 400 + "]" * 400
    assert "tools" in misfit({"messages": CHAT, "tools": text}, {"messages": CHAT, "tools": ""})


def said(sender: str, *texts: str) -> list[dict[str, str]]:
    return [{"sender": sender, "text": text, "timestamp": "now"} for text in texts]


def test_speakers_with_names_of_their_own_take_turns() -> None:
    talk = {"messages": [*said("Ann", "q"), *said("7f3a", "a"), *said("Ann", "q2")], "start": "now"}
    found = sample(talk)
    assert [(turn.role, turn.content) for turn in found.messages] == [("user", "q"), ("assistant", "a"), ("user", "q2")]
    (note,) = understood(talk).notes
    assert note.severity is Severity.INFO
    assert "speaks first" in note.message
    assert understood({"messages": [{"speaker": "user", "text": "q"}, {"speaker": "bot", "text": "a"}]}).notes == ()


def test_what_one_speaker_says_in_several_messages_is_one_turn() -> None:
    talk = {"messages": [said("Ann", "q", "q?"), said("Bo", "a"), said("Ann", "q2")]}
    found = sample(talk)
    assert [(turn.role, turn.content) for turn in found.messages] == [
        ("user", "q\nq?"), ("assistant", "a"), ("user", "q2")
    ]  # fmt: skip


def test_three_speakers_and_unknown_roles_are_not_guessed() -> None:
    good = {"messages": CHAT}
    crowd = {"messages": [*said("Ann", "q"), *said("Bo", "a"), *said("Cy", "b")]}
    assert 'has the role "Ann"' in misfit(crowd, good)
    assert 'has the role "narrator"' in misfit({"messages": [{"role": "narrator", "content": "q"}]}, good)
    mixed = {"messages": [said("Ann", "q"), [*said("Bo", "a"), *said("Ann", "b")]]}
    assert "not an object" in misfit(mixed, good)
