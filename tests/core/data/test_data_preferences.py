"""Preference pairs: both answers read, written and split as pairs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.dataset import Dataset, load_dataset
from core.data.encoder import Encoder
from core.data.labels import encode_sample
from core.data.lengths import count_lengths
from core.data.reading import Progress
from core.data.repairs import RowRepairs, drop_repeated
from core.data.report.making import make_report
from core.data.samples import to_sample
from core.data.shapes import recognise
from core.data.sides import answers_of, sides_of
from core.data.split import content_key, group_keys, side_key
from core.data.templates import choose_template
from core.data.token_preview import preview_documents
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Pair, Row, Sample
from core.errors import Problem, UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec

ASK = {"role": "user", "content": "Which way?"}
WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=40).filter(str.strip)


def _rows(*values: Mapping[str, Any]) -> list[Row]:
    return [Row("pairs.jsonl", number, value) for number, value in enumerate(values, start=1)]


def _read(value: Mapping[str, Any]) -> Sample | Problem:
    (row,) = _rows(value)
    return to_sample(row, recognise([row], "auto", {}, pairs=True))


def _pair(value: Mapping[str, Any]) -> Sample:
    found = _read(value)
    assert isinstance(found, Sample), found
    return found


def _says(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in messages]


def _load(folder: Path, model: ModelFacts, values: Sequence[Mapping[str, Any]], **spec: Any) -> Dataset:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    settings_of_data = {"validation_share": 0.0, "train_on": "preferences", **spec}
    return load_dataset(DataSpec(train=(str(path),), **settings_of_data), 1, model)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "Which way?", "chosen": "Left.", "rejected": "Right."},
        {"prompt": [ASK], "chosen": [_turn("assistant", "Left.")], "rejected": [_turn("assistant", "Right.")]},
        {"prompt": "Which way?", "chosen": _turn("assistant", "Left."), "rejected": _turn("assistant", "Right.")},
        {"chosen": [ASK, _turn("assistant", "Left.")], "rejected": [ASK, _turn("assistant", "Right.")]},
        {
            "chosen": "\n\nHuman: Which way?\n\nAssistant: Left.",
            "rejected": "\n\nHuman: Which way?\n\nAssistant: Right.",
        },
        {"messages": [ASK, _turn("assistant", "Left.")], "chosen": "Left.", "rejected": "Right."},
        {"conversations": [{"from": "human", "value": "Which way?"}], "chosen": "Left.", "rejected": "Right."},
    ],
)
def test_both_answers_are_read_in_every_form(value: Mapping[str, Any]) -> None:
    sample = _pair(value)
    assert _says(sample.messages) == [("user", "Which way?"), ("assistant", "Left.")]
    assert _says(sample.rejected) == [("user", "Which way?"), ("assistant", "Right.")]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": None}, "“rejected” is missing"),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "“rejected” is empty"),
        ({"prompt": "a", "chosen": "b", "rejected": {"x": 1}}, "“rejected” is an object"),
        ({"prompt": "a", "chosen": "b", "rejected": "b "}, "nothing to prefer"),
        (
            {"chosen": [ASK, _turn("assistant", "b")], "rejected": [_turn("user", "x"), _turn("assistant", "c")]},
            "what stands before them differs",
        ),
        ({"prompt": "", "chosen": "b", "rejected": "c"}, "Nothing is asked"),
    ],
)
def test_a_pair_that_is_none_says_why(value: Mapping[str, Any], words: str) -> None:
    found = _read(value)
    assert isinstance(found, Problem)
    assert words in found.message


def test_rows_that_are_no_pairs_are_refused_with_a_way_back_that_works() -> None:
    rows = _rows({"messages": [ASK, _turn("assistant", "Left.")]})
    with pytest.raises(UserError) as failure:
        recognise(rows, "auto", {}, pairs=True)
    (problem,) = failure.value.problems
    assert problem.path == "pairs.jsonl"
    assert "“messages”" in problem.message
    assert [edit.value for fix in problem.fixes for edit in fix.edits] == ["completions"]
    assert recognise(rows, "auto", {}).name == "messages"


def test_rows_of_no_known_format_offer_no_way_back_that_fails() -> None:
    with pytest.raises(UserError) as failure:
        recognise(_rows({"x": 1, "y": 2}), "auto", {}, pairs=True)
    assert not failure.value.problems[0].fixes


def test_columns_of_other_names_are_mapped() -> None:
    (row,) = _rows({"q": "a", "good": "b", "bad": "c"})
    shape = recognise([row], "auto", {"prompt": "q", "chosen": "good", "rejected": "bad"}, pairs=True)
    found = to_sample(row, shape)
    assert isinstance(found, Sample)
    assert found.messages[-1].content == "b"
    assert found.rejected[-1].content == "c"


def test_without_pairs_a_row_is_what_it_was_and_the_note_offers_to_learn_both() -> None:
    (row,) = _rows({"prompt": "a", "chosen": "b", "rejected": "c"})
    shape = recognise([row], "auto", {})
    found = to_sample(row, shape)
    assert isinstance(found, Sample)
    assert not found.rejected
    (note,) = shape.notes
    assert [edit.value for fix in note.fixes for edit in fix.edits] == ["preferences"]
    assert not recognise([row], "auto", {}, pairs=True).notes


def test_the_key_counts_the_worse_answer_and_the_sides_do_not() -> None:
    one = _pair({"prompt": "a", "chosen": "b", "rejected": "c"})
    other = _pair({"prompt": "a", "chosen": "b", "rejected": "d"})
    assert content_key(one) != content_key(other)
    assert side_key(one) == side_key(other) == content_key(sides_of(one)[0])
    assert len(set(group_keys([one, other], "equal"))) == 1
    names = ("drop_duplicates", "drop_near_duplicates")
    kept, counts = drop_repeated([[one, other, one]], names)
    assert kept == [[one, other]]
    assert counts["drop_duplicates"] == 1


def test_repairs_mend_both_sides_and_damage_in_either_leaves_the_row_out() -> None:
    sample = _pair({"prompt": "a", "chosen": "good", "rejected": "caf\u00c3\u00a9"})
    mended = RowRepairs(("fix_encoding",)).mend(sample)
    assert mended is not None
    assert mended.rejected[-1].content == "café"
    assert RowRepairs(("drop_damaged",)).mend(sample) is None
    assert RowRepairs(("merge_turns", "drop_refusals")).mend(sample) is sample
    refusal = _pair({"prompt": "a", "chosen": "good", "rejected": "I'm sorry, but I can't."})
    assert RowRepairs(("drop_refusals",)).mend(refusal) is refusal


@settings(max_examples=40, deadline=None)
@given(prompt=WORDS, better=WORDS, worse=WORDS, limit=st.integers(8, 60))
def test_every_token_of_a_pair_is_that_of_its_sides(
    tokenizer: Tokenizer, model: ModelFacts, prompt: str, better: str, worse: str, limit: int
) -> None:
    sample = Sample(
        "f:1",
        (Message("user", prompt), Message("assistant", better)),
        rejected=(Message("user", prompt), Message("assistant", worse)),
    )
    template = choose_template("auto", model, tokenizer)
    spec = DataSpec(train_on="preferences", max_length=limit)
    with Encoder(tokenizer, template, spec, Progress(None)) as encoder:
        rows = encoder.encode([sample, sample])
        left_out = encoder.masked
    alone = [
        encode_sample(Sample("f:1", turns), tokenizer, template, "last", limit)
        for turns in (sample.messages, sample.rejected)
    ]
    if all(document.supervised for document in alone):
        assert rows == [Pair(*alone)] * 2
        assert len(rows[0]) == sum(map(len, alone))
    else:
        assert not rows
        assert left_out == 1


def test_a_data_set_of_pairs_holds_pairs_alone(tmp_path: Path, model: ModelFacts) -> None:
    values = [{"prompt": f"ask {n // 2}", "chosen": f"yes {n // 2}", "rejected": f"no {n}"} for n in range(40)]
    dataset = _load(tmp_path, model, values, validation_share=0.2)
    rows = (*dataset.train, *dataset.validation)
    assert len(rows) == 40
    assert all(isinstance(row, Pair) for row in rows)
    assert dataset.facts.train.tokens == sum(map(len, dataset.train))
    trained = {row.documents[0].ids for row in dataset.train}
    assert dataset.validation
    assert not trained & {row.documents[0].ids for row in dataset.validation}


def test_files_without_pairs_stop_the_load(tmp_path: Path, model: ModelFacts) -> None:
    with pytest.raises(UserError, match="two answers"):
        _load(tmp_path, model, [{"messages": [ASK, _turn("assistant", "Left.")]}])


def test_the_report_counts_what_the_run_trains(tmp_path: Path, model: ModelFacts) -> None:
    values = [
        {"prompt": f"ask {n // 2}", "chosen": f"yes {n // 2}", "rejected": f"no {n} " + "far " * n} for n in range(40)
    ]
    dataset = _load(tmp_path, model, values, validation_share=0.2, max_length=64)
    spec = DataSpec(train=(str(tmp_path / "pairs.jsonl"),), train_on="preferences", validation_share=0.2, max_length=64)
    report = make_report(spec, 1, model)
    assert report.rows == report.epoch.rows == len(dataset.train)
    assert report.validation_rows == len(dataset.validation)
    assert report.tokens == dataset.facts.train.tokens
    assert report.supervised_tokens == dataset.facts.train.supervised_tokens
    found = {finding.name: finding.count for finding in report.findings}
    assert "duplicates" not in found
    assert found["cut"] == dataset.facts.train.truncated_rows


def test_where_nothing_is_left_no_advice_gives_up_the_preferences(tmp_path: Path, model: ModelFacts) -> None:
    values = [{"prompt": "far " * 60, "chosen": "b", "rejected": "c"}]
    with pytest.raises(UserError) as failure:
        _load(tmp_path, model, values, max_length=20)
    first = failure.value.problems[0]
    assert "every pair has an answer without a token" in first.message
    assert [edit.path for fix in first.fixes for edit in fix.edits] == ["data.max_length"]
    template = tmp_path / "refuses.jinja"
    template.write_text("{% for m in messages %}{{ raise_exception('no') }}{% endfor %}", encoding="utf-8")
    with pytest.raises(UserError) as failure:
        _load(tmp_path, model, values, template=str(template), bad_rows="skip")
    assert failure.value.problems[0].message == "No row is left to train."
    assert not any("“all”" in problem.advice for problem in failure.value.problems)


@pytest.mark.parametrize("limit", [12, 24, 1000])
def test_the_token_view_of_a_pair_is_what_is_trained(limit: int, tokenizer: Tokenizer, model: ModelFacts) -> None:
    sample = _pair({"prompt": "Which way?", "chosen": "Left, I think.", "rejected": "No idea at all, sorry."})
    template = choose_template("auto", model, tokenizer)
    spec = DataSpec(train_on="preferences", max_length=limit)
    found = preview_documents(sample, tokenizer, template, spec)
    trained = [encode_sample(side, tokenizer, template, "preferences", limit) for side in sides_of(sample)]
    assert [item.ids[:limit] for item in found] == [row.tokens for row in trained]
    assert [item.trained[:limit] for item in found] == [row.trained for row in trained]
    assert ["".join(item.pieces) for item in found] == [
        template.render(turns) for turns in (sample.messages, sample.rejected)
    ]
    plain = replace(sample, rejected=())
    assert preview_documents(plain, tokenizer, template, spec) == found[:1]


def test_the_answers_of_a_pair_stand_behind_the_last_question() -> None:
    turns = [ASK, _turn("assistant", "Where to?"), _turn("user", "Home.")]
    sample = _pair({"prompt": turns, "chosen": "Left.", "rejected": "Right."})
    better, worse = answers_of(sample)
    assert (_says(better), _says(worse)) == ([("assistant", "Left.")], [("assistant", "Right.")])
    assert answers_of(replace(sample, rejected=()))[1] == ()


def test_a_mapped_prompt_is_read_although_there_are_turns_as_well() -> None:
    (row,) = _rows({"messages": [ASK], "question": "Where?", "chosen": "b", "rejected": "c"})
    shape = recognise([row], "auto", {"prompt": "question", "chosen": "chosen", "rejected": "rejected"}, pairs=True)
    found = to_sample(row, shape)
    assert isinstance(found, Sample)
    assert found.messages[0].content == "Where?"


@pytest.mark.parametrize("repairs", [("drop_near_duplicates",), ("drop_duplicates", "drop_near_duplicates")])
def test_the_report_and_the_loading_agree_on_which_pairs_are_near_duplicates(
    tmp_path: Path, model: ModelFacts, repairs: tuple[str, ...]
) -> None:
    asked = "Tell me in a few plain words how one gets from the old harbour to the station on foot, please"
    values = [
        {"prompt": asked, "chosen": "Left, then on.", "rejected": "No idea."},
        {"prompt": f"{asked}!", "chosen": "Left, then on.", "rejected": "No idea."},
        {"prompt": f"{asked}!", "chosen": "Left, then on.", "rejected": "Ask somebody else."},
        {"prompt": asked, "chosen": "Left, then on.", "rejected": "No idea."},
    ]
    spec = DataSpec(train=(str(tmp_path / "pairs.jsonl"),), train_on="preferences", validation_share=0.0)
    _load(tmp_path, model, values)
    found = {finding.name: finding for finding in make_report(spec, 1, model).findings}
    assert [place.line for place in found["duplicates"].rows] == [4]
    assert [place.line for place in found["near_duplicates"].rows] == [2], "another rejected answer teaches more"
    dataset = _load(tmp_path, model, values, repairs=repairs)
    report = make_report(replace(spec, repairs=repairs), 1, model)
    assert [row.place.rpartition(":")[2] for row in dataset.train] == ["1", "3"]
    assert report.rows == 2
    assert report.repaired == dataset.facts.repaired


def test_the_report_looks_at_both_answers_where_the_repairs_do(tmp_path: Path, model: ModelFacts) -> None:
    values = [
        {"prompt": "a", "chosen": "caf\u00c3\u00a9", "rejected": "th\u00c3\u00a9"},
        {"prompt": "b", "chosen": "good", "rejected": "th\u00c3\u00a9 noir"},
        {"prompt": "c", "chosen": "good", "rejected": "I am {{name}}."},
    ]
    _load(tmp_path, model, values)
    spec = DataSpec(train=(str(tmp_path / "pairs.jsonl"),), train_on="preferences", validation_share=0.0)
    found = {finding.name: finding for finding in make_report(spec, 1, model).findings}
    assert [place.line for place in found["mistaken_encoding"].rows] == [1, 2]
    assert found["mistaken_encoding"].count == 2
    assert "placeholders" not in found, "drop_placeholders judges the chosen answer"
    mended = make_report(replace(spec, repairs=("fix_encoding",)), 1, model)
    assert not mended.findings


def test_lengths_are_those_of_single_answers_and_the_words_say_so(tmp_path: Path, model: ModelFacts) -> None:
    values = [{"prompt": "a", "chosen": "b", "rejected": "far " * 40}, {"prompt": "a", "chosen": "c", "rejected": "d"}]
    dataset = _load(tmp_path, model, values, max_length=24)
    spec = DataSpec(train=(str(tmp_path / "pairs.jsonl"),), train_on="preferences", validation_share=0.0, max_length=24)
    report = make_report(spec, 1, model)
    assert report.documents == 2
    assert report.lengths.total_rows == 4
    assert count_lengths(dataset.train) == report.lengths
    assert report.lengths.cut(24).tokens == dataset.facts.train.lost_tokens
    (cut,) = [finding for finding in report.findings if finding.name == "cut"]
    assert cut.message.startswith("An answer of 1 pair is longer than 24 tokens with its prompt")


def test_each_answer_is_measured_by_itself_where_the_limit_is_told_of(tmp_path: Path, model: ModelFacts) -> None:
    talk = [ASK, _turn("assistant", "There."), {"role": "user", "content": "And then?"}]
    values = [
        {"prompt": talk, "chosen": "far " * 90, "rejected": "near"},
        {"prompt": talk, "chosen": "Left.", "rejected": "Right."},
    ]
    whole = _load(tmp_path, model, values, max_length=512).facts.train
    assert whole.longest_document == whole.longest_uncut < whole.longest < 2 * whole.longest_document
    cut = _load(tmp_path, model, values, max_length=64).facts.train
    assert (cut.longest_document, cut.longest_uncut, cut.truncated_rows) == (64, whole.longest_uncut, 1)
    assert 64 < cut.longest < 128
    spec = DataSpec(train=(str(tmp_path / "pairs.jsonl"),), train_on="preferences", max_length=64)
    (finding,) = [one for one in make_report(spec, 1, model).findings if one.name == "cut"]
    assert {edit.path for fix in finding.fixes for edit in fix.edits} == {"data.max_length"}, "pairs cannot be split"
