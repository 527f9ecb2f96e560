"""The verbs “queue” and “sweep” as people type them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.runs import queueing
from core.runs.launch import LaunchCommand
from core.runs.process_tree import kill
from core.runs.queue import read_queue
from core.runs.sweep_groups import list_groups
from core.spec.codec import apply_assignments, write_spec
from core.spec.run_spec import RunSpec
from tests.core.cli.conftest import Said

LowRank = Callable[..., Said]


@pytest.fixture
def files(tmp_path: Path, basics: tuple[str, ...]) -> Callable[[str], Path]:
    """Writes a settings file; its run gets the same name."""

    def write(name: str) -> Path:
        spec = apply_assignments(RunSpec(), [word for word in basics if word != "--set"])
        write_spec(spec.replace("output.name", name), tmp_path / f"{name}.yaml")
        return tmp_path / f"{name}.yaml"

    return write


@pytest.fixture
def idle_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process at the queue that does nothing."""
    command = LaunchCommand((sys.executable, "-c", "import time; time.sleep(60)"), {}, Path.cwd())
    monkeypatch.setattr(queueing, "runner_command", lambda: command)


def names() -> list[str]:
    return [entry.name for entry in read_queue().waiting]


def test_runs_are_added_moved_and_removed(lowrank: LowRank, files: Callable[[str], Path]) -> None:
    assert "The queue is empty." in lowrank("queue").out
    said = lowrank("queue", "add", files("one"), files("two"), "--set", "training.epochs=2")
    assert said.code == 0, said.err
    assert "Added “one”" in said.out
    assert "has not been started" in said.out
    assert names() == ["one", "two"]
    assert lowrank("queue", "add", files("three"), "--first").code == 0
    assert names() == ["three", "one", "two"]
    lowrank("queue", "move", "two", "front")
    lowrank("queue", "move", "2", "down")
    assert names() == ["two", "one", "three"]
    said = lowrank("queue", "remove", "one", "--json")
    assert [entry["run"] for entry in said.json["entries"]] == ["two", "three"]
    assert said.json["state"] == "waiting"
    assert lowrank("queue", "add", "one").code == 0, "the run is still there, and can be added by its name"
    assert names() == ["two", "three", "one"]


def test_starting_holding_and_going_on(lowrank: LowRank, files: Callable[[str], Path], idle_runner: None) -> None:
    assert lowrank("queue", "start").code == 2, "there is nothing to start"
    assert lowrank("queue", "add", files("one"), "--start", "--json").json["state"] == "going"
    assert lowrank("queue", "stop", "--json").json["state"] == "stopping"
    assert lowrank("queue", "pause", "--json").json["state"] == "pausing"
    said = lowrank("queue", "start")
    assert "The queue is at work." in said.out
    assert "queue pause" in said.out
    runner = read_queue().runner
    assert runner is not None
    kill([runner])
    while read_queue().is_worked_off:
        pass
    said = lowrank("queue")
    assert "broke off" in said.out
    assert "queue start" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add",), "Nothing is named"),
        (("add", "nosuch"), "There is no run “nosuch”"),
        (("add", "nosuch.yaml"), "nosuch.yaml"),
        (("add", "nosuch", "--set", "adapter.rank=8"), "stand already"),
        (("move", "x"), "takes a run and where it goes"),
        (("move", "x", "sideways"), "takes a run and where it goes"),
        (("move", "x", "up"), "no run “x” in the queue"),
        (("remove",), "No run is named"),
        (("start", "x"), "takes no names"),
        (("dance",), "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_said(lowrank: LowRank, words: tuple[str, ...], told: str) -> None:
    said = lowrank("queue", *words)
    assert said.code in (2, 4)
    assert told in " ".join(said.err.split())


def test_a_sweep_is_planned_made_and_shown(lowrank: LowRank, files: Callable[[str], Path]) -> None:
    spec = files("grid")
    vary = ("--vary", "adapter.rank=2,4", "--vary", "training.learning_rate=1e-4,2e-4")
    said = lowrank("sweep", spec, *vary, "--dry-run")
    assert said.code == 0, said.err
    assert "4 runs, about" in said.out
    assert "Alpha follows the rank: it is 2 times as large." in said.out
    assert list_groups() == ()
    assert names() == []
    said = lowrank("sweep", spec, *vary, "--json")
    assert [run["values"]["adapter.rank"] for run in said.json["runs"]] == [2, 2, 4, 4]
    assert said.json["group"] == "grid"
    assert names() == ["grid-r2-lr0.0001", "grid-r2-lr0.0002", "grid-r4-lr0.0001", "grid-r4-lr0.0002"]
    assert {entry.group for entry in read_queue().waiting} == {"grid"}
    shown = lowrank("sweep", "show", "last")
    assert "grid-r4-lr0.0002" in shown.out
    assert lowrank("sweep", "show", "grid", "--json").json["best"] is None
    assert "grid" in lowrank("sweep", "list").out
    assert lowrank("sweep", "show", "grid", "--curve", "x.png").code == 4, "there is nothing to draw yet"


def test_many_runs_want_to_be_confirmed(
    lowrank: LowRank, files: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = ",".join(str(rank) for rank in range(1, 26))
    said = lowrank("sweep", files("grid"), "--vary", f"adapter.rank={ranks}")
    assert said.code == 2
    assert "25 runs" in said.err
    assert "--yes" in said.err
    assert names() == []
    assert lowrank("sweep", files("grid"), "--vary", f"adapter.rank={ranks}", "--yes").code == 0
    assert len(names()) == 25


def test_a_sweep_without_anything_varied_is_none(lowrank: LowRank, files: Callable[[str], Path]) -> None:
    assert "Nothing is varied" in lowrank("sweep", files("grid")).err
    assert "one argument too many" in lowrank("sweep", files("grid"), "more", "--vary", "adapter.rank=2").err
    assert lowrank("sweep", "list").out.startswith("There are no sweeps yet.")
