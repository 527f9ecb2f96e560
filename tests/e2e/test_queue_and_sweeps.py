"""The queue and sweeps on a real model: the real process, real engines, from the command line to the table."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.records import to_plain
from core.runs.child_env import child_env
from core.runs.layout import RunFolder
from core.runs.outcome import read_outcome
from core.runs.process_record import living_process
from core.runs.process_tree import family, kill
from core.runs.queue import Queue, read_queue
from core.runs.store import load_facts, load_plan, load_spec
from core.spec.codec import write_spec
from tests.e2e.real_runs import make_spec, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]
STEPS = 4


def lowrank(*words: object) -> Any:
    """A command in a process of its own, as people give it; the one object that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "core", *map(str, words), "--json"], env=child_env(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def eventually(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, read_queue()
        time.sleep(0.05)


def states() -> dict[str, str]:
    return {entry.name: entry.state for entry in read_queue().entries}


def events_of(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    """The whole lines of one type in a log that may still grow."""
    if not folder.events().exists():
        return []
    whole, _, _ = folder.events().read_text("utf-8").rpartition("\n")
    return [event for line in whole.splitlines() if (event := json.loads(line))["type"] == kind]


def begun(name: str) -> bool:
    """Whether a run of the queue has taken a step."""
    return bool(events_of(read_queue().find(name).folder, "step"))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever the queue started ends with the test."""
    yield
    queue: Queue = read_queue()
    if queue.runner is not None and queue.is_worked_off:
        kill([queue.runner])
    for entry in queue.entries:
        record = living_process(entry.folder)
        if record is not None:
            kill(family(record.key))


@pytest.fixture
def settings(short_starter: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a settings file for a short run."""
    rows = write_rows(tmp_path / "rows.jsonl", 24)

    def write(name: str, **changes: object) -> Path:
        spec = make_spec(short_starter, rows, **{"training__max_steps": STEPS, "output__name": name, **changes})
        write_spec(spec, tmp_path / f"{name}.yaml")
        return tmp_path / f"{name}.yaml"

    return write


def need_a_terabyte(folder: RunFolder) -> None:
    """As if the base model had grown: more than any computer that runs this has in memory."""
    facts = to_plain(load_facts(folder))
    for tensor in facts["model"]["linears"]:
        tensor["out_features"] *= 100_000
    folder.facts.write_text(json.dumps(facts), "utf-8")


def test_a_queue_is_paused_goes_on_with_the_same_run_and_leaves_out_what_does_not_fit(
    settings: Callable[..., Path],
) -> None:
    said = lowrank("queue", "add", settings("one", training__max_steps=60), settings("large"), settings("two"))
    assert [entry["run"] for entry in said["entries"]] == ["one", "large", "two"]
    assert said["state"] == "waiting"
    assert all(entry["expected_seconds"] > 0 for entry in said["entries"])
    need_a_terabyte(read_queue().find("large").folder)
    assert lowrank("queue", "start")["state"] == "going"
    eventually(lambda: begun("one"))
    lowrank("queue", "pause")
    eventually(lambda: read_queue().state == "paused")
    assert states() == {"one": "queued", "large": "queued", "two": "queued"}
    lowrank("queue", "start")
    eventually(lambda: read_queue().state == "empty")
    assert states() == {"one": "done", "large": "skipped", "two": "done"}
    one, large, two = (read_queue().find(name) for name in ("one", "large", "two"))
    assert len(events_of(one.folder, "hello")) == 2
    assert events_of(one.folder, "started")[1]["step"] > 0, "it went on where it was"
    assert "memory" in large.reason.lower()
    assert not large.folder.events().exists()
    outcome = read_outcome(two.folder)
    assert outcome is not None
    assert (outcome.kind, outcome.step) == ("completed", STEPS)
    assert (two.folder.adapter / "adapter_model.safetensors").is_file()


def kill_runner() -> None:
    runner = read_queue().runner
    assert runner is not None
    os.kill(runner.pid, signal.SIGKILL)


def test_a_queue_loses_nothing_when_the_whole_computer_dies_and_when_its_process_alone_does(
    settings: Callable[..., Path],
) -> None:
    lowrank("queue", "add", settings("one", training__max_steps=60), settings("two"), "--start")
    eventually(lambda: begun("one"))
    folder = read_queue().find("one").folder
    (folder.control / "save").touch()
    eventually(lambda: bool(events_of(folder, "checkpoint_saved")))
    record = living_process(folder)
    assert record is not None
    kill_runner()
    kill(family(record.key))
    eventually(lambda: living_process(folder) is None)
    assert states() == {"one": "running", "two": "queued"}, "nothing starts by itself"
    assert lowrank("queue")["state"] == "interrupted"
    lowrank("queue", "start")
    eventually(lambda: len(events_of(folder, "started")) == 2)
    engine = living_process(folder)
    assert engine is not None
    kill_runner()
    eventually(lambda: read_queue().state == "interrupted")
    assert engine.alive, "the run goes on without it"
    assert states() == {"one": "running", "two": "queued"}
    lowrank("queue", "start")
    eventually(lambda: states() == {"one": "done", "two": "done"})
    assert len(events_of(folder, "hello")) == 2, "the living run was found again"
    assert events_of(folder, "started")[1]["step"] > 0, "the dead one went on from its saved state"


def test_a_sweep_is_trained_and_compared(settings: Callable[..., Path], tmp_path: Path) -> None:
    """Of one setting; what sweeps of several are made of is in tests/core/cli/test_cli_queue.py."""
    made = lowrank("sweep", settings("grid", data__validation_share=0.2), "--vary", "adapter.rank=2,4", "--start")
    assert [run["run"] for run in made["runs"]] == ["grid-r2", "grid-r4"]
    specs = [load_spec(RunFolder(Path(run["folder"]))) for run in made["runs"]]
    assert [spec.adapter.alpha for spec in specs] == [4.0, 8.0], "alpha is twice the rank, as in the file"
    assert len({spec.training.seed for spec in specs}) == 1
    assert len({load_facts(RunFolder(Path(run["folder"]))).data.fingerprint for run in made["runs"]}) == 1
    eventually(lambda: set(states().values()) == {"done"})
    shown = lowrank("sweep", "show", "grid", "--curve", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    best = min(shown["runs"], key=lambda run: run["best_validation_loss"])
    assert shown["best"] == best["run"]
    for run in shown["runs"]:
        parameters = load_plan(RunFolder(Path(run["folder"]))).parameters
        assert parameters is not None
        assert run["trainable"] == parameters.trainable
        assert run["tokens_per_second"] > 0
        assert run["memory_peak_bytes"] > 0
    assert len({run["loss"] for run in shown["runs"]}) == 2, "each run is another one"
