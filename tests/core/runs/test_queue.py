"""The queue's file and its process, with fake engines."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ExitCode, UserError, error
from core.facts.types import Facts
from core.paths import write_json
from core.plan.types import Plan
from core.runs import queue_runner
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.outcome import read_outcome
from core.runs.process_record import living_process
from core.runs.process_tree import ProcessKey, family, identify, kill
from core.runs.queue import Entry, Queue, change_queue, queue_dir, queue_file, read_queue
from core.runs.queue_runner import Runner
from core.runs.queueing import add_runs, hold_queue, require_plannable, start_queue
from core.runs.store import create_run
from core.runs.supervisor import Supervisor
from core.spec.run_spec import RunSpec
from tests.core.runs.conftest import FAKE_ENGINE, eventually

GONE = ProcessKey(2**22 + 1, "long ago")


@pytest.fixture
def make(spec: RunSpec, facts: Facts, plan: Plan) -> Iterator[Callable[[str], RunFolder]]:
    """Makes a run that was never started; engines that work on any of them end with the test."""
    folders: list[RunFolder] = []

    def made(name: str) -> RunFolder:
        folders.append(create_run(spec.replace("output.name", name), facts, plan))
        return folders[-1]

    yield made
    for folder in folders:
        record = living_process(folder)
        if record is not None:
            kill(family(record.key))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_runner, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(queue_runner, "LOOK_SECONDS", 0.02)
    # The facts of these runs name a model and rows that nobody has; tests/e2e looks at real ones again.
    monkeypatch.setattr(queue_runner, "recheck", lambda folder: None)


class FakeEngines:
    """Supervisors of fake engines: each run has a mode, “ok” where none is named."""

    def __init__(self, **modes: str) -> None:
        self.modes = modes
        self.begun: list[str] = []

    def __call__(self, folder: RunFolder) -> Supervisor:
        name = folder.path.name
        mode = self.modes.get(name, "ok")
        argv = (sys.executable, "-P", str(FAKE_ENGINE), str(folder.path), mode)
        supervisor = Supervisor(folder, LaunchCommand(argv, child_env(), folder.path))
        start = supervisor.start

        def noted() -> None:
            self.begun.append(name)
            start()

        supervisor.start = noted  # type: ignore[method-assign]
        return supervisor


def states() -> dict[str, str]:
    return {entry.name: entry.state for entry in read_queue().entries}


def names(queue: Queue) -> list[str]:
    return [entry.name for entry in queue.waiting]


# ------------------------------------------------------------------------------------------------------- the file


def test_order_can_be_changed_in_every_way(make: Callable[[str], RunFolder]) -> None:
    queue = add_runs([make(name) for name in "abcd"])
    assert names(queue) == ["a", "b", "c", "d"]
    path = queue.find("c").path
    assert names(queue.moved(path, "up")) == ["a", "c", "b", "d"]
    assert names(queue.moved(path, "down")) == ["a", "b", "d", "c"]
    assert names(queue.moved(path, "first")) == ["c", "a", "b", "d"]
    assert names(queue.moved(queue.find("a").path, "last")) == ["b", "c", "d", "a"]
    assert names(queue.moved(queue.find("a").path, "up")) == ["a", "b", "c", "d"]
    assert names(queue.moved(queue.find("4").path, "down")) == ["a", "b", "c", "d"]
    assert names(queue.placed(path, 0)) == ["c", "a", "b", "d"]
    assert names(queue.placed(path, 99)) == ["a", "b", "d", "c"]
    assert names(queue.without(path)) == ["a", "b", "d"]
    assert path.is_dir(), "a run that leaves the queue stays a run"
    assert names(add_runs([make("e"), make("f")], first=True)) == ["e", "f", "a", "b", "c", "d"]


def test_the_queue_is_what_its_file_says(make: Callable[[str], RunFolder]) -> None:
    add_runs([make("a")], group="grid")
    (entry,) = read_queue().entries
    assert (entry.name, entry.state, entry.group) == ("a", "queued", "grid")
    assert json.loads(queue_file().read_text("utf-8"))["entries"][0]["path"] == str(entry.path)
    queue_file().write_text("{")
    with pytest.raises(UserError, match="damaged") as refused:
        read_queue()
    assert "Delete the file" in refused.value.problems[0].advice


def test_changes_of_many_at_once_all_count(make: Callable[[str], RunFolder]) -> None:
    folders = [make(f"run-{number}") for number in range(12)]
    threads = [threading.Thread(target=add_runs, args=([folder],)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(read_queue())) == sorted(folder.path.name for folder in folders)


def test_what_cannot_wait_is_refused(make: Callable[[str], RunFolder]) -> None:
    folder = make("a")
    add_runs([folder])
    with pytest.raises(UserError, match="in the queue already"):
        add_runs([folder])
    done = make("done")
    supervisor = FakeEngines()(done)
    supervisor.start()
    supervisor.wait()
    with pytest.raises(UserError, match="is complete"):
        add_runs([make("b"), done])
    assert names(read_queue()) == ["a"], "none is added when one is refused"
    with pytest.raises(UserError, match="no run “x”"):
        read_queue().find("x")
    with pytest.raises(UserError, match="does not wait"):
        read_queue().moved(done.path, "up")


def test_a_plan_that_only_lacks_memory_may_wait_and_another_may_not(plan: Plan) -> None:
    require_plannable(plan)
    broken = replace(plan, problems=(error("adapter.rank", "It is too high.", "Lower it."),))
    with pytest.raises(UserError, match="too high"):
        require_plannable(broken)


# ------------------------------------------------------------------------------------------------------ the process


def test_runs_come_one_after_another_and_a_failed_one_holds_nobody_up(make: Callable[[str], RunFolder]) -> None:
    engines = FakeEngines(b="oom", c="segfault")
    add_runs([make(name) for name in "abcd"])
    Runner(engines).work()
    assert engines.begun == ["a", "b", "c", "d"]
    queue = read_queue()
    assert states() == {"a": "done", "b": "failed", "c": "failed", "d": "done"}
    assert "memory ran out" in queue.find("b").reason
    assert queue.find("d").reason == ""
    assert (queue.state, queue.at_work) == ("empty", False)
    assert all(first.ended <= second.began for first, second in zip(queue.entries, queue.entries[1:], strict=False))


def test_what_does_not_fit_at_its_time_is_left_out(
    make: Callable[[str], RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(folder: RunFolder) -> None:
        if folder.path.name == "b":
            raise UserError(error("", "It needs 9 GiB.", "Free some."), exit_code=ExitCode.DOES_NOT_FIT)

    monkeypatch.setattr(queue_runner, "recheck", look)
    add_runs([make(name) for name in "abc"])
    engines = FakeEngines()
    Runner(engines).work()
    assert states() == {"a": "done", "b": "skipped", "c": "done"}
    assert engines.begun == ["a", "c"]
    assert read_queue().find("b").reason == "It needs 9 GiB. Free some."
    assert not read_queue().find("b").folder.process.exists()
    add_runs([read_queue().find("b").folder])
    assert states()["b"] == "queued", "it can be put in again"


def test_pausing_saves_the_run_at_work_and_starting_goes_on_with_it(make: Callable[[str], RunFolder]) -> None:
    add_runs([make("a"), make("b")])
    engines = FakeEngines(a="steady")
    thread = threading.Thread(target=Runner(engines).work)
    thread.start()
    eventually(lambda: living_process(read_queue().find("a").folder) is not None)
    assert read_queue().state == "going"
    hold_queue("pause")
    thread.join(60)
    queue = read_queue()
    assert (queue.state, names(queue)) == ("paused", ["a", "b"])
    outcome = read_outcome(queue.find("a").folder)
    assert outcome is not None
    assert outcome.paused
    engines.modes["a"] = "resume"
    change_queue(lambda now: replace(now, hold=""))
    Runner(engines).work()
    assert states() == {"a": "done", "b": "done"}


def test_stopping_lets_the_run_at_work_end(make: Callable[[str], RunFolder]) -> None:
    add_runs([make("a"), make("b")])
    engines = FakeEngines(a="steady")
    thread = threading.Thread(target=Runner(engines).work)
    thread.start()
    eventually(lambda: living_process(read_queue().find("a").folder) is not None)
    hold_queue("stop")
    assert read_queue().state == "stopping"
    with pytest.raises(UserError, match="at work"):
        read_queue().without(read_queue().find("a").path)
    read_queue().find("a").folder.request("stop").touch()  # somebody stops the run itself
    thread.join(60)
    assert states() == {"a": "stopped", "b": "queued"}
    assert engines.begun == ["a"]
    assert read_queue().state == "paused"


def test_a_run_that_somebody_stops_does_not_stop_the_queue(make: Callable[[str], RunFolder]) -> None:
    add_runs([make("a"), make("b")])
    thread = threading.Thread(target=Runner(FakeEngines(a="steady")).work)
    thread.start()
    eventually(lambda: living_process(read_queue().find("a").folder) is not None)
    read_queue().find("a").folder.request("stop").touch()
    thread.join(60)
    assert states() == {"a": "stopped", "b": "done"}


def test_a_run_that_somebody_pauses_pauses_the_queue(make: Callable[[str], RunFolder]) -> None:
    add_runs([make("a"), make("b")])
    thread = threading.Thread(target=Runner(FakeEngines(a="steady")).work)
    thread.start()
    eventually(lambda: living_process(read_queue().find("a").folder) is not None)
    read_queue().find("a").folder.request("pause").touch()
    thread.join(60)
    assert (states(), read_queue().state) == ({"a": "queued", "b": "queued"}, "paused")


def test_the_systems_wish_to_end_pauses_and_the_rest_waits(make: Callable[[str], RunFolder]) -> None:
    add_runs([make("a"), make("b")])
    runner = Runner(FakeEngines(a="steady"))
    thread = threading.Thread(target=runner.work)
    thread.start()
    eventually(lambda: living_process(read_queue().find("a").folder) is not None)
    runner.signalled = True
    thread.join(60)
    queue = read_queue()
    assert (states(), queue.hold) == ({"a": "queued", "b": "queued"}, "")
    assert queue.state == "waiting"


def test_a_run_outside_the_queue_is_waited_for(make: Callable[[str], RunFolder]) -> None:
    other = FakeEngines(other="steady")(make("other"))
    other.start()
    add_runs([make("a")])
    thread = threading.Thread(target=Runner(FakeEngines()).work)
    thread.start()
    eventually(lambda: read_queue().waiting_for == "other")
    assert states() == {"a": "queued"}
    other.stop()
    other.wait()
    thread.join(60)
    assert states() == {"a": "done"}
    assert read_queue().waiting_for == ""


def _broken_off(*folders: RunFolder) -> None:
    """As if the process at the queue had been killed while the first run was at work."""
    entries = tuple(Entry(folder.path, "queued") for folder in folders)
    first = replace(entries[0], state="running", began=1.0)
    change_queue(lambda _queue: Queue((first, *entries[1:]), at_work=True, runner=GONE))
    assert read_queue().state == "interrupted"


def test_an_engine_that_outlived_the_queues_process_is_found_again(make: Callable[[str], RunFolder]) -> None:
    a, b = make("a"), make("b")
    engine = FakeEngines(a="steady")(a)
    engine.start()
    _broken_off(a, b)
    engines = FakeEngines(a="ok")
    thread = threading.Thread(target=Runner(engines).work)
    thread.start()
    eventually(lambda: read_queue().is_worked_off)
    a.request("stop").touch()
    engine.wait()
    thread.join(60)
    assert states() == {"a": "stopped", "b": "done"}
    assert engines.begun == ["b"]


def test_a_run_that_ended_meanwhile_is_not_begun_again(make: Callable[[str], RunFolder]) -> None:
    a, b = make("a"), make("b")
    engine = FakeEngines()(a)
    engine.start()
    engine.wait()
    _broken_off(a, b)
    engines = FakeEngines()
    Runner(engines).work()
    assert states() == {"a": "done", "b": "done"}
    assert engines.begun == ["b"]


def test_a_run_that_was_lost_with_its_computer_goes_on(make: Callable[[str], RunFolder]) -> None:
    a, b = make("a"), make("b")
    # Another process begins it, because the system tells a parent how its child ended.
    code = (
        "import sys; from pathlib import Path; from core.runs.child_env import child_env\n"
        "from core.runs.launch import LaunchCommand; from core.runs.layout import RunFolder\n"
        "from core.runs.supervisor import Supervisor\n"
        "folder = RunFolder(Path(sys.argv[2]))\n"
        "Supervisor(folder, LaunchCommand((sys.executable, '-P', *sys.argv[1:]), child_env(), folder.path)).start()\n"
    )
    subprocess.run([sys.executable, "-c", code, FAKE_ENGINE, a.path, "steady"], env=child_env(), check=True)
    eventually(lambda: a.events().exists() and b'"step"' in a.events().read_bytes())
    record = living_process(a)
    assert record is not None
    kill(family(record.key))
    eventually(lambda: living_process(a) is None)
    _broken_off(a, b)
    engines = FakeEngines(a="resume")
    Runner(engines).work()
    assert states() == {"a": "done", "b": "done"}
    assert engines.begun == ["a", "b"]


# ------------------------------------------------------------------------------------------- the process, for real


def test_only_one_process_is_at_the_queue(make: Callable[[str], RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    add_runs([make("a")])
    waits = (sys.executable, "-c", "import time; time.sleep(60)")
    command = LaunchCommand(waits, dict(os.environ), Path.cwd())
    first = start_queue(command)
    assert first.runner is not None
    again = start_queue(command)
    assert again.runner == first.runner
    kill([first.runner])
    eventually(lambda: identify(first.runner.pid) is None)
    assert read_queue().state == "interrupted"
    third = start_queue(command)
    assert third.runner != first.runner
    assert third.runner is not None
    kill([third.runner])


def test_a_second_process_gives_way(make: Callable[[str], RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    from core.runs.file_lock import exclusive

    monkeypatch.setattr(queue_runner, "_PATIENCE_SECONDS", 0.1)
    add_runs([make("a")])
    with exclusive(queue_dir() / "runner.lock"):
        assert queue_runner.main(FakeEngines()) == ExitCode.DONE
    assert states() == {"a": "queued"}
    assert not read_queue().at_work


def test_nothing_to_do_is_nothing_to_start() -> None:
    with pytest.raises(UserError, match="nothing in the queue"):
        start_queue()


def test_the_process_outlives_its_starter_and_says_what_it_does(make: Callable[[str], RunFolder]) -> None:
    """The real command, on a folder that is damaged: it is left out, and the process ends by itself."""
    folder = make("a")
    add_runs([folder])
    write_json(folder.facts, {})
    code = "from core.runs.queueing import start_queue; start_queue()"
    subprocess.run([sys.executable, "-c", code], env=child_env(), check=True)
    eventually(lambda: states() == {"a": "failed"})
    assert "damaged" in read_queue().find("a").reason
    eventually(lambda: not read_queue().at_work)
    assert "a: failed" in (queue_dir() / "runner.log").read_text("utf-8")
