"""Shortcuts for what most rows are: each gives exactly what the long way gives."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import samples, split
from core.data.many_texts import ManyTexts
from core.data.report.checks import CHECKS, TURN_CHECKS, find_flaws
from core.data.samples import to_sample
from core.data.split import content_key
from core.data.turn_order import begins_with_answer, find_disorder, has_open_end, has_repeated_speaker, is_in_order
from core.data.types import Message, Row, Sample, Shape

PIECES = (
    "plain words", "\n", " ", "x" * 220, "again and again " * 40, "{{name}}", "${{ name }}", "{{ 1 }}", "[Your name]",
    "[your own words", "<PLACEHOLDER>", "<YOUR NAME HERE>", "a < b [0]", "[Ihr Name]", "[您的名字]", "【请填写地址】",
    "【要点】", "Lorem ipsum", "TO" + "DO: later", "\nTBD\n", "\nN/A", "```\n{{code}}\n```", "``` {{open", "FIX" + "ME",
    "Ã©", "Â", "caf\u00e9", "\u201cquoted\u201d", "\ufffd", "\0", "\x85", "\x9f", "\u2028", "As an AI",
    "as a language model", "I'm sorry, but I can't", "I’m sorry, but I cannot", "I can help",
    "作为AI", "抱歉,我无法", "Als KI", "😀",
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=5).map("".join)
messages = st.builds(
    Message,
    st.sampled_from(("system", "user", "assistant", "tool")),
    texts,
    st.sampled_from(({}, {}, {"weight": 0}, {"tool_calls": []}, {"name": "n"})),
)
rows = st.builds(Sample, st.just("a:1"), st.lists(messages, min_size=1, max_size=5).map(tuple)) | st.builds(
    Sample, st.just("a:1"), prompt=texts, completion=texts
)


@given(st.lists(rows, max_size=8))
def test_rows_looked_at_together_show_what_each_shows_alone(found: list[Sample]) -> None:
    alone = {
        (name, place, excerpt)
        for place, row in enumerate(found)
        for name, check in {**CHECKS, **(TURN_CHECKS if row.messages else {})}.items()
        if (excerpt := check(row)) is not None
    }
    together = list(find_flaws(found))
    assert set(together) == alone
    assert len(together) == len(alone)
    for name in {*CHECKS, *TURN_CHECKS}:
        places = [place for finding, place, _ in together if finding == name]
        assert places == sorted(places)


@pytest.mark.parametrize(
    "piece", ["{{name}}", "[Your name]", "【请填写地址】", "Ã©", "\ufffd", "\0", "As an AI", "抱歉,我无法"]
)
def test_one_row_in_many_is_found(piece: str) -> None:
    many = [Sample("a:1", (Message("user", "What?"), Message("assistant", "“Well”.\n"))) for _ in range(300)]
    many[123] = Sample("a:1", (Message("user", "What?"), Message("assistant", f"{piece} it is")))
    assert [place for _, place, _ in find_flaws(many)] == [123]


@given(st.lists(texts, max_size=8), st.sampled_from(("{{", "a", "抱歉", "\ufffd", "n q")))
def test_many_texts_are_searched_as_each_is(found: list[str], hint: str) -> None:
    many = ManyTexts(found)
    assert many.holding(hint) == {place for place, text in enumerate(found) if hint in text}
    for first, last in (("\x80", "\x9f"), ("Â", "ð"), ("\uffff", "\U0001ffff")):
        expected = {place for place, text in enumerate(found) if any(first <= letter <= last for letter in text)}
        assert many.beyond_ascii(first, last) == expected


@given(rows)
def test_a_conversation_in_order_has_no_finding(row: Sample) -> None:
    if row.messages and is_in_order(row):
        assert not has_repeated_speaker(row)
        assert not begins_with_answer(row)
        assert not has_open_end(row)
        assert find_disorder(row) is None


@given(rows)
def test_the_key_of_a_row_is_the_hash_of_its_json(row: Sample) -> None:
    content: Sequence[Any] = (
        [[turn.role, turn.content, dict(turn.extra)] for turn in row.messages],
        row.prompt,
        row.completion,
        [dict(tool) for tool in row.tools],
    )
    assert content_key(row) == split._hashed(json.dumps(content, sort_keys=True, ensure_ascii=True))


turns = st.fixed_dictionaries(
    {
        "role": st.sampled_from(("user", "assistant", "system", "human", "", None)),
        "content": texts | st.sampled_from(("\ud800", None, 3)),
    },
    optional={"weight": st.just(0), "from": st.just("gpt")},
)


@given(st.fixed_dictionaries({"messages": st.lists(turns, max_size=4) | st.none()}, optional={"id": st.just([[1]])}))
def test_plain_conversations_are_read_as_others_are(value: Mapping[str, Any]) -> None:
    shape = Shape("messages", {"messages": "messages"}, "")
    row = Row("a", 1, value)
    quick = to_sample(row, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_plain_conversation", lambda *_: None)
        assert to_sample(row, shape) == quick
