"""Run folders: made whole, named well, read strictly, deleted into a trash."""

import errno
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import paths
from core.errors import UserError, warning
from core.facts.types import Facts
from core.plan.types import Plan
from core.runs import store
from core.runs.layout import RunFolder
from core.runs.lock import FolderBusy, hold_lock
from core.runs.store import (
    create_job,
    create_run,
    delete_run,
    empty_trash,
    list_runs,
    load_facts,
    load_job,
    load_plan,
    load_spec,
    run_name,
    safe_name,
)
from core.spec.run_spec import RunSpec

NOON = time.strptime("2026-11-23 12:34:56", "%Y-%m-%d %H:%M:%S")


def test_a_run_folder_holds_what_was_asked_known_and_planned(spec: RunSpec, facts: Facts, plan: Plan) -> None:
    plan = replace(plan, problems=(warning("data.train", "Few rows.", "Add some."),), template="{{ x }}")
    folder = create_run(spec, facts, plan)
    assert folder.path == paths.runs_dir() / "words"
    assert load_spec(folder) == spec
    assert load_facts(folder) == facts
    assert load_plan(folder) == plan
    assert load_job(folder).kind == "train"
    assert sorted(item.name for item in folder.path.iterdir()) == ["control", "facts.json", "plan.json", "spec.yaml"]
    assert [item.name for item in paths.runs_dir().iterdir()] == ["words"]


def test_every_setting_is_written_so_that_later_defaults_change_nothing(
    spec: RunSpec, facts: Facts, plan: Plan
) -> None:
    text = create_run(spec, facts, plan).spec.read_text("utf-8")
    assert "learning_rate: 0.0002" in text
    assert "keep_checkpoints: 2" in text


def test_nothing_is_overwritten_and_names_are_numbered(spec: RunSpec, facts: Facts, plan: Plan) -> None:
    (paths.runs_dir() / "words").mkdir(parents=True)
    (paths.runs_dir() / "words" / "mine.txt").write_text("mine")
    names = [create_run(spec, facts, plan).path.name for _ in range(3)]
    assert names == ["words-2", "words-3", "words-4"]
    assert (paths.runs_dir() / "words" / "mine.txt").read_text() == "mine"


def test_two_at_once_get_two_folders(spec: RunSpec, facts: Facts, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the rename somebody else takes the name."""
    write = store.write_json
    target = paths.runs_dir() / "words"

    def meanwhile(path: Path, value: object) -> None:
        write(path, value)
        if not target.exists():
            target.mkdir()
            (target / "theirs").touch()

    monkeypatch.setattr(store, "write_json", meanwhile)
    assert create_run(spec, facts, plan).path.name == "words-2"
    assert [item.name for item in target.iterdir()] == ["theirs"]
    assert sorted(item.name for item in paths.runs_dir().iterdir()) == ["words", "words-2"]


def test_a_run_that_cannot_be_made_leaves_nothing(
    spec: RunSpec, facts: Facts, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_json", full)
    with pytest.raises(UserError, match="words cannot be made: No space left on device") as refused:
        create_run(spec, facts, plan)
    assert refused.value.problems[0].path == "output.folder"
    assert list(paths.runs_dir().iterdir()) == []


def test_a_runs_folder_that_is_a_file(spec: RunSpec, facts: Facts, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        create_run(spec.replace("output.folder", str(tmp_path / "file")), facts, plan)


def test_a_folder_of_ones_own(spec: RunSpec, facts: Facts, plan: Plan, tmp_path: Path) -> None:
    folder = create_run(spec.replace("output.folder", str(tmp_path / "elsewhere" / "runs")), facts, plan)
    assert folder.path == tmp_path / "elsewhere" / "runs" / "words"


@pytest.mark.parametrize(
    ("base", "train", "name"),
    [
        ("starter", ("/data/words.jsonl",), "starter-words-20261123-123456"),
        ("/models/Llama 3.2 (1B)/", ("C:/x/a b.csv", "other.csv"), "Llama-3.2-1B-a-b-20261123-123456"),
        ("C:\\models\\tiny.gguf", (), "tiny-20261123-123456"),
        ("org/模型", ("数据.jsonl",), "模型-数据-20261123-123456"),
        ("", (), "20261123-123456"),
        ("x" * 300, ("y" * 300,), f"{'x' * 26}-{'y' * 26}-20261123-123456"),
    ],
)
def test_a_run_without_a_name_gets_one(base: str, train: tuple[str, ...], name: str) -> None:
    assert run_name(RunSpec().replace("model.base", base).replace("data.train", train), NOON) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My first run!", "My-first-run"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c:d", "a-b-c-d"),
        (".hidden", "hidden"),
        ("trailing. ", "trailing"),
        ("CON", "CON-run"),
        ("nul.txt", "nul.txt-run"),
        ("  ", ""),
        ("???", ""),
        ("größer", "größer"),
    ],
)
def test_names_are_safe_on_every_system(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(st.text())
def test_no_text_makes_an_unsafe_name(text: str) -> None:
    name = safe_name(text)
    assert len(name) <= 84
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.startswith(".")
    assert name == name.strip(". ")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("plan.json", None, "missing, so this is not a whole run folder"),
        ("plan.json", "", "damaged"),
        ("plan.json", "{}", "Plan.choices is missing"),
        ("plan.json", "[" * 100_000, "damaged"),
        ("facts.json", "null", "expected a mapping"),
        ("facts.json", '{"hardware": 3}', "Facts.hardware: expected a mapping"),
    ],
)
def test_a_damaged_folder_is_said_to_be(run_folder: RunFolder, file: str, content: str | None, words: str) -> None:
    path = run_folder.path / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    load: Callable[[RunFolder], object] = load_plan if file == "plan.json" else load_facts
    with pytest.raises(UserError, match=words) as refused:
        load(run_folder)
    assert refused.value.problems[0].path == str(path)
    assert refused.value.problems[0].advice


def test_a_file_that_is_no_text(run_folder: RunFolder) -> None:
    run_folder.plan.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="damaged"):
        load_plan(run_folder)
    run_folder.facts.unlink()
    run_folder.facts.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load_facts(run_folder)


# ------------------------------------------------------------------------------------------------------------ jobs


def test_a_job_says_what_to_do() -> None:
    folder = create_job("sample", {"prompt": "Hi", "model": Path("/m"), "tokens": 5})
    assert folder.path.parent == paths.jobs_dir()
    assert folder.path.name.startswith("sample-")
    assert json.loads(folder.job.read_text()) == {
        "kind": "sample",
        "arguments": {"prompt": "Hi", "model": "/m", "tokens": 5},
    }
    assert load_job(folder).arguments["tokens"] == 5
    assert create_job("sample", {}).path != folder.path
    folder.job.write_text('{"kind": "dance"}')
    with pytest.raises(UserError, match="expected one of"):
        load_job(folder)


# ------------------------------------------------------------------------------------------------------------ trash


def test_a_deleted_run_lies_in_the_trash_until_that_is_emptied(spec: RunSpec, facts: Facts, plan: Plan) -> None:
    empty_trash()
    trashed = []
    for _ in range(3):
        folder = create_run(spec, facts, plan)
        trashed.append(delete_run(folder))
        assert not folder.path.exists()
    assert [path.name for path in trashed] == ["words", "words-2", "words-3"]
    assert all(RunFolder(path).spec.exists() for path in trashed)
    assert list_runs() == ()
    empty_trash()
    assert not trashed[0].parent.exists()


def test_a_live_run_is_not_deleted(run_folder: RunFolder) -> None:
    with hold_lock(run_folder), pytest.raises(FolderBusy, match="already working"):
        delete_run(run_folder)
    assert run_folder.spec.exists()


def test_a_run_that_is_not_there_cannot_be_deleted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be moved to the trash: No such file"):
        delete_run(RunFolder(tmp_path / "absent"))
