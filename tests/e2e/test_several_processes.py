"""Several engine processes on one run folder: the same losses as one, through our own launcher and through torchrun."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.events.tail import EventTail
from core.events.types import Completed, Event, Hello, Started, Step, Stopped
from core.runs.child_env import child_env
from core.runs.launch import engine_command
from core.runs.layout import RunFolder
from core.runs.process_tree import family
from core.runs.supervisor import Supervisor
from core.spec.codec import to_yaml
from tests.e2e.real_runs import Finished, create, execute_inside, make_spec, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

STEPS = 12
CLOSE = partial(pytest.approx, rel=1e-5)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 40)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Enough steps for a request to arrive before the last one on a busy computer."""
    return {
        "data__validation_share": 0.2,
        "training__max_steps": STEPS,
        "training__evaluate_every": 3,
        "hardware__threads": 1,
    }


@pytest.fixture(scope="module")
def alone(short_starter: Path, rows: Path, settings: dict[str, Any]) -> Finished:
    return run_inside(short_starter, rows, **settings)


def shared(folder: RunFolder, processes: int, on_event: Any = None) -> Finished:
    """A run by so many processes of our own launcher."""
    supervisor = Supervisor(folder, engine_command(folder, processes))
    supervisor.start()
    outcome = supervisor.wait(on_event=(lambda event: on_event(supervisor, event)) if on_event else None)
    return Finished(folder, outcome, EventTail(folder.events()).read())


def log_of(finished: Finished) -> str:
    return f"{finished.outcome}\n{finished.folder.log.read_text(encoding='utf-8')[-3000:]}"


def adapter(folder: RunFolder) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder.adapter / "adapter_model.safetensors")


def assert_same(finished: Finished, alone: Finished) -> None:
    """Every number and the result of an uninterrupted run are those of one process."""
    assert finished.losses == CLOSE(alone.losses)
    assert finished.validation == CLOSE(alone.validation)
    for one, other in zip(finished.of(Step), alone.of(Step), strict=True):
        assert (one.tokens, one.supervised_tokens) == (other.tokens, other.supervised_tokens)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
    assert not finished.folder.other_rank_events(), "only a failure is told by another process than the first"
    expected, found = adapter(alone.folder), adapter(finished.folder)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert (tensor - expected[name]).abs().max() < 1e-4, name


def test_a_stopped_run_goes_on_with_another_number_of_processes(
    short_starter: Path, rows: Path, settings: dict[str, Any], alone: Finished
) -> None:
    folder = create(make_spec(short_starter, rows, **settings))

    def stop_after_two(supervisor: Supervisor, event: Event) -> None:
        if isinstance(event.body, Step) and event.body.step == 2:
            supervisor.stop()

    stopped = shared(folder, 2, stop_after_two)
    assert stopped.outcome.kind == "stopped", log_of(stopped)
    assert stopped.outcome.resumable
    assert stopped.of(Stopped)[-1].step < STEPS
    finished = execute_inside(folder)
    assert isinstance(finished.events[-1].body, Completed)
    assert [started.step for started in finished.of(Started)] == [0, stopped.of(Stopped)[-1].step]
    assert [event.world_size for event in finished.of(Hello)] == [2], "in this process nobody says hello"
    assert finished.losses == CLOSE(alone.losses)


def test_four_processes_go_on_from_an_adapter_and_learn_what_one_does(
    short_starter: Path, rows: Path, settings: dict[str, Any], alone: Finished
) -> None:
    begun = {**settings, "training__max_steps": 4, "adapter__start_from": str(alone.folder.adapter)}
    expected = run_inside(short_starter, rows, **begun)
    finished = shared(create(make_spec(short_starter, rows, **begun)), 4)
    assert finished.outcome.kind == "completed", log_of(finished)
    assert finished.state.hello.world_size == 4
    assert_same(finished, expected)
    assert expected.validation[0] == pytest.approx(alone.validation[-1], rel=2e-6), (
        "it begins where the first one ended"
    )
    assert finished.folder.start.read_bytes() == expected.folder.start.read_bytes()


def test_a_process_that_dies_ends_all_with_its_name(short_starter: Path, rows: Path, settings: dict[str, Any]) -> None:
    folder = create(make_spec(short_starter, rows, **{**settings, "training__max_steps": 500}))

    def kill_the_second(supervisor: Supervisor, event: Event) -> None:
        if isinstance(event.body, Step) and event.body.step == 1:
            launcher = supervisor._record.key
            ranks = [key.pid for key in family(launcher) if rank_of(key.pid) == "1"]
            os.kill(ranks[0], signal.SIGKILL)

    finished = shared(folder, 2, kill_the_second)
    assert finished.outcome.kind == "failed", log_of(finished)
    assert "Process 2 of 2 of this run was ended by SIGKILL" in finished.outcome.message
    assert finished.state.step < 500


def rank_of(pid: int) -> str:
    import psutil

    return psutil.Process(pid).environ().get("RANK", "")


def test_two_processes_of_torchrun_learn_the_same_by_a_script(
    short_starter: Path, rows: Path, settings: dict[str, Any], alone: Finished, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(to_yaml(make_spec(short_starter, rows, **settings)), encoding="utf-8")
    script, run = tmp_path / "train.sh", tmp_path / "runs" / "by-torchrun"
    assert main(["launch-script", str(spec), "--gpus", "2", "--run", str(run), "--to", str(script)]) == 0
    done = subprocess.run(["bash", script], env=child_env(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    folder = RunFolder(run)
    finished = Finished(folder, None, EventTail(folder.events()).read())
    assert finished.state.hello.world_size == 2
    assert_same(finished, alone)
