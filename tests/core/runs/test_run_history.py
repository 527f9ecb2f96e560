"""The list of runs shows every folder as what it is, and a run is found by what people call it."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core import paths
from core.errors import UserError
from core.events.types import Body, Completed, Evaluated, Heartbeat, Hello, Started, Step
from core.events.writer import EventWriter
from core.facts.types import Facts
from core.plan.types import Plan
from core.runs.history import find_run, list_runs, recent_events, summarise
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.process_record import read_process, write_process
from core.runs.process_tree import ProcessKey
from core.runs.store import create_job, create_run
from core.runs.supervisor import Supervisor
from core.spec.run_spec import RunSpec

STARTED = Started(0, 5, 80, 4, 1, 2, "none", "fp32", "sdpa", "chunked", 0, 2048)
DEAD = ProcessKey(2**22 + 7, "long ago")


def write(folder: RunFolder, *bodies: Body) -> None:
    with EventWriter(folder.events()) as writer:
        for body in bodies:
            writer.emit(body)


def step(number: int) -> Step:
    return Step(number, number / 5, 3.0 / number, 1e-4, 0.5, 10, 5, 0.1, 1)


@pytest.fixture
def make(spec: RunSpec, facts: Facts, plan: Plan) -> Callable[..., RunFolder]:
    """Makes a run of a name and an age in seconds."""

    def make(name: str, age: float = 0.0) -> RunFolder:
        folder = create_run(spec.replace("output.name", name), facts, plan)
        when = time.time() - age
        os.utime(folder.spec, (when, when))
        return folder

    return make


def test_there_are_no_runs_yet() -> None:
    assert list_runs() == ()


def test_a_run_from_its_making_to_its_end(run_folder: RunFolder, fake: Callable[..., LaunchCommand]) -> None:
    (new,) = list_runs()
    assert (new.name, new.status, new.base, new.method, new.step, new.steps) == (
        "words",
        "new",
        "starter",
        "lora",
        0,
        5,
    )
    assert new.folder == run_folder
    supervisor = Supervisor(run_folder, fake("steady"))
    supervisor.start()
    while supervisor.run_state.step < 2:
        supervisor.poll()
        time.sleep(0.01)
    (live,) = list_runs()
    assert (live.status, live.problem) == ("running", "")
    assert live.step >= 2
    assert live.loss is not None
    supervisor.stop()
    outcome = supervisor.wait()
    (stopped,) = list_runs()
    assert (stopped.status, stopped.step, stopped.loss) == ("stopped", outcome.step, outcome.loss)
    assert stopped.seconds == outcome.seconds
    assert stopped.problem == outcome.message


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_run_killed_with_nobody_watching_is_lost(run_folder: RunFolder, fake: Callable[..., LaunchCommand]) -> None:
    supervisor = Supervisor(run_folder, fake("steady"))
    supervisor.start()
    while supervisor.run_state.step < 2:
        supervisor.poll()
        time.sleep(0.01)
    record = read_process(run_folder)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    while record.alive:
        time.sleep(0.01)
    (summary,) = list_runs()
    assert summary.status == "lost"
    assert summary.step >= 2
    assert "nobody was watching" in summary.problem
    assert summary.seconds >= 0
    assert supervisor.wait().signal == "SIGKILL"
    assert list_runs()[0].status == "crashed"


def test_an_end_without_a_written_outcome_is_read_from_the_events(make: Callable[..., RunFolder]) -> None:
    folder = make("done")
    assert summarise(folder).status == "new"
    write(folder, Heartbeat(1.0))
    assert summarise(folder).status == "lost"  # a copy without its process.json
    folder.events().unlink()
    write_process(folder, DEAD, first_seq=0, log_start=0)
    write(folder, Hello(1, "", "train", 1, ""), STARTED, step(1), Evaluated(1, 2.5, 9, 0.1), step(2),
          Completed(2, 1.0, "Done.", {}))  # fmt: skip
    summary = summarise(folder)
    assert (summary.status, summary.step, summary.loss, summary.validation_loss) == ("completed", 2, 1.5, 2.5)
    # Another attempt that died before its first word makes it lost, whatever the one before had said.
    write_process(folder, DEAD, first_seq=6, log_start=0)
    assert summarise(folder).status == "lost"
    write(folder, Hello(1, "", "train", 1, ""))
    assert summarise(folder).status == "lost"


def test_a_long_log_is_not_read_whole(make: Callable[..., RunFolder]) -> None:
    folder = make("long")
    write(folder, Hello(1, "", "train", 1, ""), *(Heartbeat(1.0) for _ in range(200)), step(4), step(5))
    with folder.events().open("ab") as file:
        file.write(b'{"torn')
    assert [event.seq for event in recent_events(folder.events(), 600)][-2:] == [201, 202]
    assert len(recent_events(folder.events(), 600)) < 10
    assert recent_events(folder.path / "absent") == []
    write_process(folder, DEAD, first_seq=0, log_start=0)
    assert (summarise(folder).step, summarise(folder).steps) == (5, 5)


def test_the_newest_run_comes_first_and_strangers_are_not_runs(make: Callable[..., RunFolder]) -> None:
    make("old", 500)
    make("new", 5)
    make("middle", 50)
    (paths.runs_dir() / "notes").mkdir()
    (paths.runs_dir() / "file.txt").touch()
    (paths.runs_dir() / ".half-made.part").mkdir()
    (paths.runs_dir() / ".half-made.part" / "spec.yaml").touch()
    assert [run.name for run in list_runs()] == ["new", "middle", "old"]


@pytest.mark.parametrize("damage", ["no spec", "spec is rubbish", "spec is a folder", "spec is binary", "unknown keys"])
def test_a_damaged_folder_is_listed_as_damaged(make: Callable[..., RunFolder], damage: str) -> None:
    make("whole")
    folder = make("broken", 100)
    folder.spec.unlink()
    if damage == "spec is a folder":
        folder.spec.mkdir()
    elif damage != "no spec":
        content = {"spec is rubbish": b"a: [", "spec is binary": b"\x00\xff\x00", "unknown keys": b"modle: {base: x}"}
        folder.spec.write_bytes(content[damage])
    runs = {run.name: run for run in list_runs()}
    assert runs["whole"].status == "new"
    assert runs["broken"].status == "damaged"
    assert len(runs["broken"].problem) > 10


@pytest.mark.parametrize("name", ["plan.json", "process.json", "outcome.json", "events.jsonl", "facts.json"])
def test_rubbish_in_any_other_file_stops_no_list(make: Callable[..., RunFolder], name: str) -> None:
    folder = make("odd")
    for content in (b"", b"{", b"\xff\x00", b"null", b'{"batch": {"steps": "x"}}', b"[" * 5000):
        (folder.path / name).write_bytes(content)
        assert summarise(folder).status == "new"
    (folder.path / name).unlink()
    (folder.path / name).mkdir()
    assert summarise(folder).status in ("new", "damaged")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(make: Callable[..., RunFolder]) -> None:
    folder = make("secret")
    folder.path.chmod(0)
    try:
        assert [run.status for run in list_runs()] == ["damaged"]
    finally:
        folder.path.chmod(0o700)


def test_a_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="runs folder cannot be read"):
        list_runs(tmp_path / "file")


# ------------------------------------------------------------------------------------------------------------ finding


def test_a_run_is_found_by_name_beginning_path_and_age(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, verbs, both = make("words", 30), make("verbs", 20), make("words-and-verbs", 40)
    assert find_run("words") == words
    assert find_run("VER") == verbs
    assert find_run("words-") == both
    assert find_run(" last ") == verbs
    assert find_run(str(words.path)) == words
    monkeypatch.chdir(words.path.parent.parent)
    assert find_run("runs/words") == words
    monkeypatch.chdir(words.path)
    assert find_run(".") == words


def test_a_folder_from_elsewhere_is_found_by_its_plain_name(
    make: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(make("away").path, tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    assert find_run("copied") == RunFolder(tmp_path / "copied")


def test_a_run_called_last_is_meant_before_the_newest(make: Callable[..., RunFolder]) -> None:
    called = make("last", 100)
    make("newest")
    assert find_run("last") == called


@pytest.mark.parametrize(
    ("wanted", "message", "advice"),
    [
        ("", "No run is named", "“last”"),
        ("wrods", "There is no run “wrods”", "Did you mean “words” or “wordy”?"),
        ("zzz", "There is no run “zzz”", "“lowrank runs”"),
        ("w", "begins the names of 2 runs", "“words” or “wordy”"),
        ("no/such/folder", "There is no folder", "Check the path"),
        ("..", "is not a run", "own folder"),
    ],
)
def test_what_is_not_found_is_said_with_what_is_close(
    make: Callable[..., RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    message: str,
    advice: str,
) -> None:
    make("words")
    make("wordy")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        find_run(wanted)
    (problem,) = refused.value.problems
    assert message in problem.message
    assert advice in problem.advice


def test_many_that_fit_are_not_all_listed(make: Callable[..., RunFolder]) -> None:
    for letter in "abcde":
        make(f"run-{letter}")
    with pytest.raises(UserError, match="“run-a”, “run-b”, “run-c” or 2 more"):
        find_run("run")


def test_the_last_of_nothing() -> None:
    with pytest.raises(UserError, match=r"There are no runs in .* yet"):
        find_run("last")
    create_job("sample", {})
    with pytest.raises(UserError, match="There are no runs"):
        find_run("last")
