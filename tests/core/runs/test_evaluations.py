"""Evaluations kept with runs and compared: whole files, damaged ones, other rows, and runs that have none."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.runs.evaluation_rows import Asked, check_asked
from core.runs.evaluations import (
    Evaluation,
    HeldOut,
    RowChange,
    compare_evaluations,
    list_evaluations,
    load_evaluation,
    save_evaluation,
)
from core.runs.layout import RunFolder

CHANGE = RowChange("f:1", "text", 3, 2.0, 1.0)
HELD = HeldOut("validation", "same", 4, 40, 2.0, 1.5, 0.1, 3, 1, (CHANGE,), seen=0)
FOUND = Evaluation("words", 1000.0, "cpu", "fp32", "none", 2.0, held_out=HELD)


@pytest.fixture
def other(run_folder: RunFolder) -> RunFolder:
    folder = run_folder.path.with_name("other")
    shutil.copytree(run_folder.path, folder)
    return RunFolder(folder)


def test_an_evaluation_is_kept_as_a_file_and_read_back(run_folder: RunFolder) -> None:
    first, second = save_evaluation(FOUND, run_folder), save_evaluation(replace(FOUND, time=2000.0), run_folder)
    assert first.parent == second.parent == run_folder.path / "evaluations"
    assert load_evaluation(first) == FOUND
    found, problems = list_evaluations(run_folder)
    assert [item.time for item in found] == [2000.0, 1000.0]
    assert not problems


def test_a_damaged_file_is_named_and_the_others_stay(run_folder: RunFolder) -> None:
    path = save_evaluation(FOUND, run_folder)
    damaged = path.with_name("damaged.json")
    damaged.write_text(path.read_text("utf-8")[:40], "utf-8")
    found, problems = list_evaluations(run_folder)
    assert found == (FOUND,)
    assert [problem.path for problem in problems] == [str(damaged)]
    with pytest.raises(UserError, match="cannot be read"):
        load_evaluation(damaged)


def test_runs_are_compared_on_the_rows_that_they_share(run_folder: RunFolder, other: RunFolder) -> None:
    save_evaluation(FOUND, run_folder)
    save_evaluation(replace(FOUND, time=2000.0, held_out=replace(HELD, fingerprint="new", tuned=9.0)), run_folder)
    save_evaluation(replace(FOUND, held_out=replace(HELD, tuned=1.25)), other)
    found = compare_evaluations((run_folder, other))
    assert [part.tuned for part in found.held_out if part] == [1.5, 1.25]
    assert found.answers == (None, None)
    assert not found.notes


def test_a_run_on_other_rows_is_left_out_and_named(run_folder: RunFolder, other: RunFolder) -> None:
    save_evaluation(FOUND, run_folder)
    save_evaluation(replace(FOUND, held_out=replace(HELD, fingerprint="new")), other)
    found = compare_evaluations((run_folder, other))
    assert found.held_out == (HELD, None)
    assert found.notes[0].startswith("“other” was not measured on the rows of the others")


def test_a_run_that_was_never_evaluated_is_named(run_folder: RunFolder, other: RunFolder) -> None:
    save_evaluation(FOUND, run_folder)
    with pytest.raises(UserError, match="“other” was never evaluated"):
        compare_evaluations((run_folder, other))


def test_bad_files_are_refused_before_an_engine_starts(run_folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no such file"):
        check_asked(run_folder, Asked(choices=str(tmp_path / "none.jsonl")))
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(UserError, match="The file is empty"):
        check_asked(run_folder, Asked(data=str(empty)))


def test_a_run_that_held_nothing_back_needs_a_file(
    run_folder: RunFolder, facts: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.runs import evaluation_rows

    bare = replace(facts, data=replace(facts.data, validation=replace(facts.data.validation, rows=0)))  # type: ignore[type-var,attr-defined]
    monkeypatch.setattr(evaluation_rows, "load_facts", lambda _folder: bare)
    with pytest.raises(UserError, match="held no rows back"):
        check_asked(run_folder, Asked())
