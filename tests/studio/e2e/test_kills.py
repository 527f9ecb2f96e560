"""Either side is killed; the other survives, and says the truth."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.events.tail import EventTail
from core.events.types import Hello, PhaseStarted, Step
from core.runs.layout import RunFolder
from core.spec.codec import write_spec
from core.spec.run_spec import RunSpec
from tests.studio.e2e.person import Person
from tests.studio.e2e.test_main_job import until_run, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.torch]

PHASES = ("load", "data", "adapt", "step", "evaluate", "sample", "save")
WAIT = 90_000


def quick_spec(rows: Path, steps: int) -> RunSpec:
    """A run that goes through every phase again and again, with small steps."""
    spec = RunSpec()
    for path, value in {
        "model.base": "starter",
        "data.train": (str(rows),),
        "data.max_length": 128,
        "adapter.rank": 4,
        "training.max_steps": steps,
        "training.effective_batch": 2,
        "training.evaluate_every": 2,
        "training.sample_prompts": ("Say something.",),
        "training.sample_every": 2,
        "training.sample_tokens": 8,
        "training.checkpoint_minutes": 0.02,
        "hardware.device": "cpu",
        "output.name": "killed",
    }.items():
        spec = spec.replace(path, value)
    return spec


@pytest.fixture
def studio(qapp: Any, qtbot: Any, short_home: Path, tmp_path: Path) -> Iterator[Any]:
    """The running application with a run that is ready to start."""
    from studio.app import Studio

    made = Studio(qapp)
    made.show()
    made.desk.session.set_spec(quick_spec(write_rows(tmp_path / "rows.jsonl", 24), 2000))
    qtbot.waitUntil(lambda: made.desk.session.prepared() is not None, timeout=WAIT)
    yield made
    run = made.desk.runs.current
    if run is not None and run.is_live:
        run.thread_of_run.supervisor.kill()
        qtbot.waitUntil(lambda: not run.is_live, timeout=WAIT)
    made.window.close()
    made.close()
    made.window.deleteLater()
    qapp.processEvents()


def kill_in(phase: str, folder: RunFolder, pump: Any) -> None:
    """Kills the engine as soon as its log says that a phase has begun, or a first step was taken."""
    tail, pid = EventTail(folder.events()), 0
    deadline = time.monotonic() + WAIT / 1000
    while time.monotonic() < deadline:
        pump()
        for event in tail.read():
            pid = event.body.pid if isinstance(event.body, Hello) else pid
            if (phase == "step" and isinstance(event.body, Step)) or (
                isinstance(event.body, PhaseStarted) and event.body.phase == phase
            ):
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.002)
    raise AssertionError(f"the phase {phase} did not begin")


@pytest.mark.timeout(600)
def test_an_engine_killed_in_any_phase_is_said_to_be_killed(qtbot: Any, qapp: Any, studio: Any) -> None:
    runs = studio.desk.runs
    for phase in PHASES:
        studio.window.start()
        run = runs.current
        assert run is not None
        kill_in(phase, run.folder, qapp.processEvents)
        qtbot.waitUntil(lambda run=run: not run.is_live, timeout=WAIT)
        outcome = run.outcome
        assert outcome is not None, phase
        assert outcome.kind == "crashed", (phase, outcome)
        assert outcome.signal == "SIGKILL", (phase, outcome)
        assert outcome.message, phase
        assert outcome.resumable == bool(run.state.checkpoints), (phase, outcome)
        assert studio.window.isVisible()
        assert studio.window.page == "training"
        # the same settings can be started again at once
        assert studio.desk.session.prepared() is not None


@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_from_its_saved_state(qtbot: Any, qapp: Any, studio: Any) -> None:
    studio.window.start()
    run = studio.desk.runs.current
    qtbot.waitUntil(lambda: len(run.state.checkpoints) > 0 and run.state.step > 3, timeout=WAIT)
    os.kill(run.state.hello.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: not run.is_live, timeout=WAIT)
    assert run.outcome.resumable
    saved = run.state.checkpoints[-1].step
    studio.desk.runs.resume(run.folder)
    again = studio.desk.runs.current
    assert again is not run
    qtbot.waitUntil(lambda: again.state.attempt == 2 and again.state.step > saved, timeout=WAIT)
    steps = list(again.state.history.column("step"))
    assert steps == sorted(set(steps)), "the curve has each step once"
    again.stop()
    qtbot.waitUntil(lambda: not again.is_live, timeout=WAIT)
    assert again.outcome.kind == "stopped"


@pytest.mark.timeout(600)
def test_a_killed_window_leaves_the_run_going_and_the_next_one_finds_it(person: Person, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    write_spec(quick_spec(write_rows(tmp_path / "rows.jsonl", 24), 2000), spec)
    person.open_window(spec)
    person.until(lambda: not person.see()["reading"] and person.see()["base"], "the spec was not opened")
    person.press("ctrl+Return")
    seen = until_run(person, "the run did not begin", step=2)
    engine, step = seen["hello"], seen["step"]
    person.kill_window()
    time.sleep(2)
    os.kill(int(str(engine)), 0)  # it lives
    person.open_window()
    seen = until_run(person, "the run was not found again", step=int(str(step)) + 1)
    assert seen["hello"] == engine, "the same engine"
    assert seen["points"] == seen["step"], "the whole curve"
    assert seen["outcome"] == ""

    # the engine ends while nobody watches; the window says so truthfully when it is opened again
    person.close_window()
    os.kill(int(str(engine)), signal.SIGKILL)
    person.open_window()
    seen = until_run(person, "the end of the run was not noticed", outcome="lost")
    assert seen["points"] >= int(str(step))
    person.close_window()
