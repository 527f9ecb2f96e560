"""Files of prompts and of questions: what is understood, and what is said of rows that are not."""

import json
from pathlib import Path

import pytest

from core.data.types import Message, Row
from core.errors import Problem, UserError
from core.runs.evaluation_files import Question, read_answers, read_choices, read_question
from core.spec.sections import DataSpec


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"question": "q", "choices": ["x", "y"], "answer": 1}, 1),
        ({"question": "q", "choices": ["x", "y"], "answer": "y"}, 1),
        ({"question": "q", "choices": ["x", "y"], "answer": "B"}, 1),
        ({"ctx": "q", "endings": ["x", "y", "z"], "label": "2"}, 2),
        ({"question": "q", "choices": ["2", "1"], "answer": "1"}, 1),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}, 1),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "A"}, 0),
        ({"prompt": "q", "options": ["x", "y"], "gold": 0.0}, 0),
    ],
)
def test_the_usual_ways_to_say_what_is_right_are_read(row: dict[str, object], right: int) -> None:
    found = read_question(Row("f", 1, row))
    assert isinstance(found, Question)
    assert found.right == right


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"choices": ["x", "y"], "answer": 0}, "no question"),
        ({"question": "q", "answer": 0}, "no choices"),
        ({"question": "q", "choices": ["x"], "answer": 0}, "no choices"),
        ({"question": "q", "choices": ["x", "x"], "answer": 0}, "there twice"),
        ({"question": "q", "choices": ["x", "y"]}, "does not say which choice is right"),
        ({"question": "q", "choices": ["x", "y"], "answer": None}, "does not say which choice is right"),
        ({"question": "q", "choices": ["x", "y"], "answer": 2}, "none of the row’s 2 choices"),
        ({"question": "q", "choices": ["x", "y"], "answer": -1}, "none of the row’s 2 choices"),
        ({"question": "q", "choices": ["x", "y"], "answer": True}, "none of the row’s 2 choices"),
        ({"question": "q", "choices": ["x", "y"], "answer": "C"}, "none of the row’s 2 choices"),
    ],
)
def test_a_bad_question_is_named_with_its_line(row: dict[str, object], words: str) -> None:
    found = read_question(Row("f", 7, row))
    assert isinstance(found, Problem)
    assert found.path == "f:7"
    assert words in found.message


def test_broken_lines_are_left_out_by_number_and_a_file_of_them_is_refused(tmp_path: Path) -> None:
    good = {"question": "q", "choices": ["x", "y"], "answer": 0}
    path = write(tmp_path / "some.jsonl", good, "not json", {"question": "q"})
    found = read_choices(path)
    assert (len(found.items), found.skipped) == (1, 2)
    assert [problem.path for problem in found.problems] == [f"{path}:2", f"{path}:3"]
    bad = write(tmp_path / "bad.jsonl", {"question": "q"}, {"question": "q"})
    with pytest.raises(UserError, match="No row of the file has a question") as caught:
        read_choices(bad)
    assert [problem.path for problem in caught.value.problems] == [bad, f"{bad}:1", f"{bad}:2"]


def test_the_last_answer_of_a_row_is_expected_and_others_are_named(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = write(
        tmp_path / "rows.jsonl",
        {"messages": [*turns, {"role": "user", "content": "more"}, {"role": "assistant", "content": "b"}]},
        {"messages": turns},
        "{",
    )
    found = read_answers(path, DataSpec())
    assert [(item.prompt, item.expected) for item in found.items] == [("more", "b"), ("q", "a")]
    assert found.items[0].messages[0] == Message("user", "q")
    assert found.skipped == 1
    assert found.problems[0].path == f"{path}:3"


def test_running_text_has_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No row of the file has a prompt and an answer"):
        read_answers(write(tmp_path / "text.jsonl", {"text": "Once."}, {"text": "Twice."}), DataSpec())
