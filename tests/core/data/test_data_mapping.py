"""A click on a column: what becomes of the mapping, and that the rows are understood by it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from core.data.mapping import assigned, current, forgotten, is_complete, mapping_edits, parts_of
from core.data.samples import to_sample
from core.data.shapes import recognise
from core.data.types import Message, Row, Sample, Shape
from core.errors import UserError
from core.spec.run_spec import RunSpec

ALPACA = {"instruction": "Add.", "input": "1+1", "output": "2", "better": "Two."}
PAIR = {"question": "Why?", "answer": "So.", "hint": "h"}
UNKNOWN = {"frage": "Warum?", "antwort": "Darum.", "rolle": "Sei nett."}
CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "persona": "Be."}
TEXT = {"text": "long", "title": "T"}
PREFERENCE = {"prompt": "q", "chosen": "y", "rejected": "n"}
OTHER_PAIR = {"frage": "Warum?", "good": "Darum.", "bad": "Nein.", "rolle": "Sei nett."}


def shape_of(value: Mapping[str, Any], spec: RunSpec) -> Shape | None:
    try:
        pairs = spec.data.train_on == "preferences"
        return recognise([Row("f", 1, value)], spec.data.format, spec.data.mapping, pairs=pairs)
    except UserError:
        return None


def clicked(
    value: Mapping[str, Any], *clicks: tuple[str, str], start: RunSpec | None = None
) -> tuple[RunSpec, Shape | None]:
    """The spec after clicks of (part, column), and what the row is then."""
    spec = start or RunSpec()
    for part, column in clicks:
        shape = shape_of(value, spec)
        mapping = assigned(spec.data, shape, part, column)
        for edit in mapping_edits(spec.data, shape, mapping):
            spec = spec.replace(edit.path, edit.value)
    return spec, shape_of(value, spec)


def sample(value: Mapping[str, Any], shape: Shape | None) -> Sample:
    assert shape is not None
    found = to_sample(Row("f", 1, value), shape)
    assert isinstance(found, Sample)
    return found


def test_another_answer_of_alpaca_rows_keeps_their_input() -> None:
    spec, shape = clicked(ALPACA, ("completion", "better"))
    assert (spec.data.format, spec.data.mapping) == ("alpaca", {"prompt": "instruction", "completion": "better"})
    assert sample(ALPACA, shape).messages == (Message("user", "Add.\n\n1+1"), Message("assistant", "Two."))


def test_unknown_columns_are_mapped_by_clicks() -> None:
    spec, shape = clicked(UNKNOWN, ("prompt", "frage"))
    assert shape is None
    assert not is_complete(spec.data.mapping)
    spec, shape = clicked(UNKNOWN, ("prompt", "frage"), ("completion", "antwort"), ("system", "rolle"))
    assert is_complete(spec.data.mapping)
    found = sample(UNKNOWN, shape)
    assert [turn.content for turn in found.messages] == ["Sei nett.", "Warum?", "Darum."]


def test_a_column_that_plays_another_part_trades_places() -> None:
    spec, shape = clicked(PAIR, ("completion", "question"))
    assert spec.data.mapping == {"prompt": "answer", "completion": "question"}
    assert (sample(PAIR, shape).prompt, sample(PAIR, shape).completion) == ("So.", "Why?")
    assert clicked(PAIR, ("completion", "question"), ("completion", "answer"))[0].data.mapping == {
        "prompt": "question",
        "completion": "answer",
    }


def test_parts_exclude_each_other() -> None:
    assert clicked(PAIR, ("text", "hint"))[0].data.mapping == {"text": "hint"}
    assert clicked(PAIR, ("text", "hint"), ("prompt", "question"))[0].data.mapping == {"prompt": "question"}
    spec, shape = clicked(CHAT, ("system", "persona"))
    assert spec.data.mapping == {"system": "persona", "messages": "messages"}
    assert [turn.content for turn in sample(CHAT, shape).messages] == ["Be.", "q", "a"]
    assert clicked(CHAT, ("text", "persona"))[0].data.mapping == {"text": "persona"}
    spec, shape = clicked(TEXT, ("text", "{title}: {text}"))
    assert sample(TEXT, shape).completion == "T: long"


@pytest.mark.parametrize("value", [ALPACA, PAIR, CHAT, TEXT])
def test_what_was_recognised_can_be_had_back(value: Mapping[str, Any]) -> None:
    column = list(value)[-1]
    spec, _ = clicked(value, ("text", column))
    for edit in forgotten():
        spec = spec.replace(edit.path, edit.value)
    assert spec.data == RunSpec().data


def test_pairs_of_other_names_are_mapped_by_clicks() -> None:
    pairs = RunSpec().replace("data.train_on", "preferences")
    spec, shape = clicked(
        OTHER_PAIR, ("chosen", "good"), ("rejected", "bad"), ("prompt", "frage"), ("system", "rolle"), start=pairs
    )
    assert is_complete(spec.data.mapping, pairs=True)
    found = sample(OTHER_PAIR, shape)
    assert [turn.content for turn in found.messages] == ["Sei nett.", "Warum?", "Darum."]
    assert found.rejected[-1].content == "Nein."
    turned, _ = clicked(OTHER_PAIR, ("chosen", "bad"), start=spec)
    assert (turned.data.mapping["chosen"], turned.data.mapping["rejected"]) == ("bad", "good")


def test_half_a_pair_is_not_complete() -> None:
    pairs = RunSpec().replace("data.train_on", "preferences")
    spec, shape = clicked(OTHER_PAIR, ("chosen", "good"), ("prompt", "frage"), start=pairs)
    assert shape is None
    assert not is_complete(spec.data.mapping, pairs=True)
    assert not is_complete({"prompt": "frage", "completion": "good"}, pairs=True)
    assert not is_complete({"prompt": "frage", "completion": "good", "chosen": "good"})
    assert is_complete({"chosen": "good", "rejected": "bad"})


def test_pairs_of_which_one_answer_is_trained_keep_both_until_a_single_answer_is_named() -> None:
    spec, shape = clicked(PREFERENCE, ("chosen", "rejected"))
    assert spec.data.mapping == {"prompt": "prompt", "chosen": "rejected", "rejected": "chosen"}
    assert sample(PREFERENCE, shape).messages[-1].content == "n"
    spec, shape = clicked(PREFERENCE, ("completion", "rejected"))
    assert spec.data.mapping == {"prompt": "prompt", "completion": "rejected"}
    assert sample(PREFERENCE, shape).completion == "n"
    assert clicked(PREFERENCE, ("messages", "prompt"))[0].data.mapping == {"messages": "prompt"}


def test_the_parts_are_those_that_the_rows_can_have() -> None:
    data, pair = RunSpec().data, Shape("preference", {"chosen": "chosen", "rejected": "rejected"}, "")
    learned = dataclasses.replace(data, train_on="preferences")
    assert not {"chosen", "rejected"} & {*parts_of(data, None)}
    assert {*parts_of(data, pair)} == {*parts_of(data, None), "chosen", "rejected"}
    assert {*parts_of(learned, None)} == {"prompt", "chosen", "rejected", "system", "messages"}
    hand = dataclasses.replace(data, mapping={"chosen": "good", "rejected": "bad"})
    assert {"chosen", "rejected"} <= {*parts_of(hand, None)}
    assert current(hand, None) == hand.mapping
    single = dataclasses.replace(learned, mapping={"prompt": "q", "completion": "a"})
    assert current(single, None) == {"prompt": "q"}, "an answer alone is no part of a pair"
