"""Moving the data folder: by name or by copy, whole there or untouched here, and runs find what moved along."""

import json
import os
from pathlib import Path

import pytest

from core import paths
from core.errors import UserError
from core.runs import moving
from core.runs.layout import RunFolder
from core.runs.moving import move_home, plan_move
from core.runs.process_record import write_process
from core.runs.process_tree import identify


@pytest.fixture
def home(usual_home: Path, tmp_path: Path) -> Path:
    """The usual data folder with something in it."""
    home = usual_home
    assert tmp_path in home.parents
    model, run = home / "models" / "small", home / "runs" / "first"
    for folder in (model, run / "checkpoints", home / "cache"):
        folder.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(os.urandom(10_000))
    (run / "facts.json").write_text(json.dumps({"model": {"path": str(model)}, "odd": "ü"}))
    (run / "spec.yaml").write_text(f"model:\n  base: {model}\n")
    (run / "engine.log").write_text(str(model))
    (home / "window.json").write_text(json.dumps({"last_run": str(run), "elsewhere": "/somewhere/else"}))
    return home


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("copies", [False, True])
def test_everything_is_there_and_names_its_new_place(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, copies: bool
) -> None:
    if copies:
        other_disk(monkeypatch)
    before, target = contents(home), tmp_path / "big disk" / "data"
    seen: list[tuple[int, int]] = []
    assert move_home(target, lambda done, total: seen.append((done, total))) == target
    assert paths.home() == target
    assert not home.exists()
    after = contents(target)
    assert set(after) == set(before)
    assert (target / "cache").is_dir()
    assert (target / "runs/first/checkpoints").is_dir()
    same = ("models/small/model.safetensors", "runs/first/engine.log")
    assert all(after[name] == before[name] for name in same)
    assert json.loads(after["runs/first/facts.json"])["model"]["path"] == str(target / "models/small")
    assert str(target / "models/small") in after["runs/first/spec.yaml"].decode()
    window = json.loads(after["window.json"])
    assert window == {"last_run": str(target / "runs/first"), "elsewhere": "/somewhere/else"}
    assert not copies or seen[-1] == (sum(map(len, before.values())),) * 2
    assert not list(target.parent.glob(".*")), "nothing half-made stays"


def other_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the target were on another disk."""
    from dataclasses import replace

    plan = moving.plan_move
    monkeypatch.setattr(moving, "plan_move", lambda target: replace(plan(target), copies=True))


def test_a_second_move_goes_on_from_the_first(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "data", tmp_path / "b" / "data"
    second.mkdir(parents=True)
    assert move_home(first) == first
    assert move_home(second) == second
    assert paths.home() == second
    assert not first.exists()


def test_a_cancelled_or_failed_copy_leaves_everything_where_it_was(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_disk(monkeypatch)
    before, target = contents(home), tmp_path / "disk" / "data"
    assert move_home(target, cancelled=lambda: True) is None
    assert (contents(home), target.exists(), paths.home()) == (before, False, home)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving, "_rewrite", full)
    with pytest.raises(UserError, match=r"No space left on device.*Everything is where it was"):
        move_home(target)
    assert (contents(home), target.exists(), paths.home()) == (before, False, home)
    assert not list(target.parent.glob(".*"))


def test_a_move_that_a_power_cut_ended_is_no_move(home: Path, tmp_path: Path) -> None:
    paths.choose_home(tmp_path / "never-came", home)
    assert paths.home() == home


def test_a_damaged_note_of_the_place_means_the_usual_one(home: Path) -> None:
    for text in ("", "[]", '{"home": 3}', "\0"):
        paths.place_file().parent.mkdir(parents=True, exist_ok=True)
        paths.place_file().write_text(text)
        assert paths.home() == home


def test_the_variable_decides_where_it_is_set(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    with pytest.raises(UserError, match="LOWRANK_HOME says where"):
        move_home(tmp_path / "data")


def test_places_that_cannot_be_are_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for target, words in (
        (home, "lie inside each other"),
        (home / "inside", "lie inside each other"),
        (home.parent, "lie inside each other"),
        (tmp_path / "full", "is not empty"),
        (tmp_path / "full" / "letter.txt", "is not empty"),
    ):
        [problem] = plan_move(target).problems
        assert words in problem.message
        assert problem.advice


def test_too_little_room_is_said_before_anything_is_copied(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.runs.room import Room

    monkeypatch.setattr(moving, "room_for", lambda needed, target: Room(needed, 100, Path("/proc")))
    move = plan_move(tmp_path / "data")
    assert move.copies, "/proc is another file system"
    assert any(words in str(problem) for problem in move.problems for words in ("only 100 B", "cannot be written"))


def test_what_is_going_on_keeps_the_folder(home: Path, tmp_path: Path) -> None:
    folder = RunFolder(home / "runs" / "first")
    me = identify(os.getpid())
    assert me is not None
    write_process(folder, me, first_seq=0, log_start=0)
    with pytest.raises(UserError, match=r"“first” is still going on.*lowrank stop first"):
        move_home(tmp_path / "data")
    folder.process.unlink()
    assert move_home(tmp_path / "data") == tmp_path / "data"
