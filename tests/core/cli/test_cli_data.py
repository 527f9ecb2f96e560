"""``lowrank data``: what is in data files, before anything is trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ExitCode
from tests.core.cli.conftest import Said

LowRank = Callable[..., Said]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch, lowrank_home: Path) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def messy(rows: Path) -> Path:
    """The eighty conversations, one of them twice, and one with a placeholder."""
    more = [
        {"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am {{name}}."}]}
    ]
    first = rows.read_text("utf-8").splitlines(keepends=True)[0]
    rows.write_text(rows.read_text("utf-8") + first + json.dumps(more[0]) + "\n", encoding="utf-8")
    return rows


def test_rows_shape_mask_and_findings_are_printed(lowrank: LowRank, messy: Path, tiny_model: Path) -> None:
    said = lowrank("data", messy, "--model", tiny_model)
    assert said.code == ExitCode.DONE
    lines = said.out.splitlines()
    assert any(line.startswith("Rows        messages: Recognised because") for line in lines)
    assert any(line.startswith("Template    the own one of tiny") for line in lines)
    assert any(line.startswith("    masked  <|im_start|>user") for line in lines)
    assert any(line.startswith("   trained  A number, 0.<|im_end|>") for line in lines)
    assert "78 rows to learn from, 4 to measure with" in said.out
    assert "Warning: 1 row says what a row before it says." in lines
    assert "    --set 'data.repairs=[\"drop_duplicates\"]'" in lines
    assert "    rows.jsonl:81  What is 0?" in lines
    assert "    rows.jsonl:82  Who are you? I am {{name}}." in lines
    assert "Languages   English" in said.out or "Latin script" in said.out
    assert all(len(line) <= 100 for line in lines)


def test_words_of_a_writing_without_spaces_are_shown_as_far_as_the_line_goes(
    lowrank: LowRank, tmp_path: Path, tiny_model: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    answer = "此致，[您的姓名]" + "".join(map(chr, range(0x4E00, 0x4F00)))
    turns = [{"role": "user", "content": "写信"}, {"role": "assistant", "content": answer}]
    path.write_text(json.dumps({"messages": turns}, ensure_ascii=False) + "\n", encoding="utf-8")
    said = lowrank("data", path, "--model", tiny_model, "--set", "data.validation_share=0")
    (shown,) = [line for line in said.out.splitlines() if line.startswith("    rows.jsonl:1  ")]
    assert "[您的姓名]" in shown
    assert shown.endswith("…")
    wide = len(shown) + sum("一" <= letter <= "鿿" or letter == "，" for letter in shown)
    assert 98 <= wide <= 100, "each of these letters takes two places"


def test_what_everybody_should_know_about_the_rows_is_said_before_the_report(
    lowrank: LowRank, tmp_path: Path, tiny_model: Path
) -> None:
    path = tmp_path / "pictures.jsonl"
    turns = [{"role": "user", "content": "What is this?"}, {"role": "assistant", "content": "A cat."}]
    path.write_text(json.dumps({"messages": turns, "images": ["cat.png"]}) + "\n", encoding="utf-8")
    words = ("data", path, "--model", tiny_model, "--set", "data.validation_share=0")
    said = lowrank(*words, "--set", "data.template=llama3").out
    shown = " ".join(said.split())
    assert "The rows refer to pictures, films or sounds in “images”; only their text is trained." in shown
    assert "no token at which this model stops, so it may not know when to stop" in shown
    assert "--set data.template=plain" in said
    assert shown.index("only their text") < shown.index("All rows")
    (media,) = lowrank(*words, "--json").json["sample"]["notes"]
    assert media["severity"] == "warning"


def test_what_is_offered_mends_it(lowrank: LowRank, messy: Path, tiny_model: Path) -> None:
    before = messy.read_bytes()
    repairs = '["drop_duplicates", "drop_placeholders"]'
    said = lowrank("data", messy, "--model", tiny_model, "--set", f"data.repairs={repairs}")
    assert "Nothing is wrong with these rows." in said.out
    assert "drop_placeholders: 1" in said.out
    assert messy.read_bytes() == before


def test_programs_get_the_whole_report(lowrank: LowRank, messy: Path, tiny_model: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text(messy.read_text("utf-8").splitlines(keepends=True)[4], encoding="utf-8")
    words = ("--model", tiny_model, "--validation", held, "--set", "data.max_length=24", "--json")
    found = lowrank("data", messy, *words).json
    report = found["report"]
    assert (found["exit_code"], report["rows"], report["validation_rows"]) == (0, 82, 0)
    assert sum(report["lengths"]["rows"]) == 82
    named = {item["name"]: item for item in report["findings"]}
    assert set(named) >= {"cut", "duplicates", "placeholders", "unmeasured"}
    assert named["duplicates"]["rows"][0]["line"] == 81
    assert named["duplicates"]["fixes"][0]["edits"] == [{"path": "data.repairs", "value": ["drop_duplicates"]}]
    assert found["sample"]["parts"][-1] == {"trained": None, "text": found["sample"]["parts"][-1]["text"]}
    assert "".join(part["text"] for part in found["sample"]["parts"]).startswith("<|im_start|>user")
    assert found["spec"]["max_length"] == 24


def test_a_settings_file_says_which_rows(lowrank: LowRank, messy: Path, tiny_model: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"model: {{base: {tiny_model}}}\ndata: {{train: [rows.jsonl], repairs: [drop_duplicates]}}\n")
    found = lowrank("data", "--spec", spec, "--json").json
    assert found["report"]["repaired"] == {"drop_duplicates": 1}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "No data file is named."),
        (("nosuch.jsonl",), "There is no such file."),
        (("rows.jsonl", "--model", "nosuch"), "There is no model “nosuch”"),
        (("rows.jsonl", "--model", "Qwen/Qwen3-8B"), "its tokenizer is needed"),
        (("rows.jsonl", "--set", "data.repairs=merge_turn"), "Did you mean “merge_turns”?"),
        (("rows.jsonl", "--set", "data.nosuch=1"), "data.nosuch"),
        (("rows.jsonl", "--frobnicate"), "no option"),
    ],
)
def test_what_cannot_be_looked_at_is_said(
    lowrank: LowRank, rows: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(rows.parent)
    said = lowrank("data", *words)
    assert said.code == ExitCode.BAD_SPEC
    assert sentence in " ".join(said.err.split())


def test_rows_that_cannot_be_used_end_in_a_report(lowrank: LowRank, tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": ""}\n' * 3 + '{"prompt": "a", "completion": "b"}\n')
    said = lowrank("data", path, "--model", tiny_model)
    assert said.code == ExitCode.DONE
    assert "3 rows cannot be used" in said.out
    assert "data.bad_rows=skip" in said.out
    path.write_text('{"prompt": "a", "completion": ""}\n' * 3)
    said = lowrank("data", path, "--model", tiny_model)
    assert said.code == ExitCode.DONE
    assert "None of the first rows can be used." in said.out
    assert "0 rows to learn from" in said.out


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four preference pairs."""
    rows = [
        {"prompt": "Which way is it?", "chosen": f"Left, {number} steps.", "rejected": "No idea " + "at all " * number}
        for number in range(4)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


LEARNED = ("--set", "data.train_on=preferences", "--set", "data.validation_share=0")


def test_both_answers_of_a_pair_are_shown_with_what_carries_loss(
    lowrank: LowRank, pairs: Path, tiny_model: Path
) -> None:
    said = lowrank("data", pairs, "--model", tiny_model, *LEARNED)
    assert said.code == ExitCode.DONE
    lines = said.out.splitlines()
    assert "First row   pairs.jsonl:1, two answers to one prompt" in lines
    chosen = next(place for place, line in enumerate(lines) if line.startswith("Chosen      "))
    rejected = next(place for place, line in enumerate(lines) if line.startswith("Rejected    "))
    assert "   trained  Left, 0 steps.<|im_end|>" in lines[chosen:rejected]
    assert "    masked  <|im_start|>user" in lines[chosen:rejected]
    assert lines[rejected + 1] == "    masked  (as above)", "the prompt is read once"
    assert any(line.startswith("   trained  No idea") for line in lines[rejected:])
    assert "of each answer with its prompt, by itself" in said.out
    assert "are not used" not in said.out, "the note for rows of which one answer is trained"


def test_programs_get_both_answers(lowrank: LowRank, pairs: Path, tiny_model: Path) -> None:
    sample = lowrank("data", pairs, "--model", tiny_model, *LEARNED, "--json").json["sample"]
    assert set(sample) == {"place", "chosen", "rejected", "notes"}
    trained = {
        name: [part["text"] for part in sample[name]["parts"] if part["trained"]] for name in ("chosen", "rejected")
    }
    assert trained["chosen"] == ["Left, 0 steps.<|im_end|>"]
    assert trained["rejected"][0].startswith("No idea")
    assert sample["rejected"]["supervised_tokens"] > 0
    assert "".join(part["text"] for part in sample["rejected"]["parts"]).startswith("<|im_start|>user")
    plain = lowrank("data", pairs, "--model", tiny_model, "--set", "data.validation_share=0", "--json").json["sample"]
    assert "parts" in plain
    assert "rejected" not in plain


def test_rows_that_are_no_pairs_say_what_to_do(lowrank: LowRank, rows: Path, tiny_model: Path) -> None:
    said = lowrank("data", rows, "--model", tiny_model, *LEARNED)
    assert said.code == ExitCode.BAD_SPEC
    assert "Learning preferences needs two answers to each prompt" in " ".join(said.err.split())
    assert "data.train_on=completions" in said.err
