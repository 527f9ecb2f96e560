"""The thread around a short engine job: progress, end, refusal, cancel, a crash, and a folder that goes away."""

import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError, error
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
from core.runs.store import create_job
from core.runs.supervisor import Supervisor
from studio.workers.job_thread import JobThread, end_jobs, live_jobs

FAKE_ENGINE = Path(__file__).parents[2] / "fakes" / "fake_engine.py"
WAIT_MS = 30_000


def job(mode: str, seconds: float = 0.0, patience: float = 10.0) -> JobThread:
    def begin() -> Supervisor:
        folder = create_job("export", {})
        argv = (sys.executable, str(FAKE_ENGINE), str(folder.path), mode, str(seconds))
        root = str(FAKE_ENGINE.parents[2])
        return Supervisor(folder, LaunchCommand(argv, {**child_env(), "PYTHONPATH": root}, folder.path))

    return JobThread(begin, patience=patience)


def test_a_job_that_completes(qtbot: Any) -> None:
    thread = job("ok")
    told: list[Any] = []
    happened: list[Any] = []
    thread.progressed.connect(lambda *values: told.append(values))
    thread.happened.connect(happened.extend)
    with qtbot.waitSignal(thread.ended, timeout=WAIT_MS) as ended:
        thread.start()
    assert ended.args[0].kind == "completed"
    assert told[0][:2] == (-1.0, "Pretending to train.")
    assert [event.seq for event in happened] == list(range(len(happened)))
    assert thread.wait(5000)
    assert thread.supervisor is not None
    assert not thread.supervisor.folder.path.exists(), "nobody needs its folder any more"
    qtbot.waitUntil(lambda: thread not in live_jobs(), timeout=WAIT_MS)


def test_a_job_that_crashes_leaves_its_log(qtbot: Any) -> None:
    thread = job("segfault")
    with qtbot.waitSignal(thread.ended, timeout=WAIT_MS) as ended:
        thread.start()
    assert ended.args[0].kind == "crashed"
    assert thread.wait(5000)
    assert thread.supervisor is not None
    assert thread.supervisor.folder.log.exists()


def test_a_cancelled_job_stops(qtbot: Any) -> None:
    thread = job("steady", 0.1)
    with qtbot.waitSignal(thread.progressed, timeout=WAIT_MS):
        thread.start()
    with qtbot.waitSignal(thread.ended, timeout=WAIT_MS) as ended:
        thread.cancel()
    assert ended.args[0].kind == "stopped"
    assert thread.cancelled


def test_a_deaf_job_is_ended_at_once_without_patience(qtbot: Any) -> None:
    thread = job("deaf", 60.0, patience=0.0)
    with qtbot.waitSignal(thread.progressed, timeout=WAIT_MS):
        thread.start()
    with qtbot.waitSignal(thread.ended, timeout=5000) as ended:
        thread.cancel()
    assert ended.args[0].kind == "stopped"


def test_a_job_that_cannot_begin(qtbot: Any) -> None:
    def refuse() -> Supervisor:
        raise UserError(error("name", "The name is taken.", "Choose another one."))

    thread = JobThread(refuse)
    with qtbot.waitSignal(thread.refused, timeout=WAIT_MS) as refused:
        thread.start()
    assert str(refused.args[0]) == "name: The name is taken. Choose another one."


def test_a_job_cancelled_before_it_began_never_starts(qtbot: Any) -> None:
    thread = job("deaf", 60.0)
    thread.cancel()
    with qtbot.waitSignal(thread.ended, timeout=WAIT_MS) as ended:
        thread.start()
    assert ended.args[0].kind == "stopped"
    assert thread.supervisor is not None
    assert not thread.supervisor.folder.path.exists()


@pytest.mark.parametrize("mode", ["steady", "ok"])
def test_the_end_of_the_window_ends_jobs(qtbot: Any, mode: str) -> None:
    thread = job(mode, 0.1)
    thread.start()
    assert end_jobs() == 0
    assert thread.isFinished()
