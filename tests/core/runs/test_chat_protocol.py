"""Requests to a chat: there and back, in whole lines, and refused when they make no sense."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.types import Message
from core.errors import UserError
from core.runs.chat_protocol import (
    Ask,
    Cancel,
    ChatSampling,
    Drop,
    Request,
    RequestError,
    RequestTail,
    append_request,
    decode_request,
    encode_request,
)
from core.runs.voices import Voice

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=3).map(tuple)


@given(
    request=st.one_of(
        st.builds(Cancel, TEXT),
        st.builds(Drop, TEXT),
        st.builds(Voice, TEXT, TEXT, TEXT, TEXT),
        st.builds(
            Ask,
            TEXT,
            st.sampled_from(["base", "tuned", "voice-1"]),
            MESSAGES,
            st.builds(
                ChatSampling,
                max_new_tokens=st.integers(1, 99),
                temperature=st.floats(0, 2),
                top_p=st.floats(0.1, 1),
                repetition_penalty=st.floats(0.5, 2),
                seed=st.integers(0, 99),
            ),
        ),
    )
)
def test_every_request_survives_the_way(request: Request) -> None:
    line = encode_request(request)
    assert "\n" not in line
    assert decode_request(line) == request


def test_settings_that_are_left_out_take_their_default() -> None:
    line = json.dumps({"ask": {"request": "1", "voice": "base", "messages": [{"role": "user", "content": "Hello"}]}})
    assert decode_request(line) == Ask("1", "base", (Message("user", "Hello"),), ChatSampling())


@pytest.mark.parametrize(
    "line",
    ["", "[", "[" * 100_000, "null", "{}", '{"cancel":1}', '{"ask":1}', '{"ask":{}}', '{"ask":{"request":"1"}}',
     '{"ask":{"request":"1","voice":3,"messages":[]}}'],
)  # fmt: skip
def test_a_line_that_is_no_request_is_named(line: str) -> None:
    with pytest.raises(RequestError):
        decode_request(line)


def test_the_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    tail = RequestTail(path)
    assert tail.read() == []
    append_request(path, Cancel("1"))
    append_request(path, Cancel("ä🙂"))
    assert [decode_request(line) for line in tail.read()] == [Cancel("1"), Cancel("ä🙂")]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b'{"cancel"')
        file.flush()
        assert tail.read() == []
        file.write(b':"3"}\n')
    assert tail.read() == ['{"cancel":"3"}']


def test_every_problem_of_a_question_is_told() -> None:
    ask = Ask("1", "base", (Message("user", "half \ud83d"),), ChatSampling(max_new_tokens=0, top_p=2.0, seed=-1))
    with pytest.raises(UserError) as caught:
        ask.check()
    assert [problem.path for problem in caught.value.problems] == ["max_new_tokens", "top_p", "seed", "messages"]
