"""One base model spread over several processes: the same losses and the same adapter as one process with all of it."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.events.tail import EventTail
from core.events.types import CheckpointSaved, Completed, Event, Hello, Notice, Sampled, Started, Step, Stopped
from core.runs.child_env import child_env
from core.runs.control import place_request
from core.runs.launch import engine_command
from core.runs.layout import RunFolder
from core.runs.process_tree import family
from core.runs.supervisor import Supervisor
from core.spec.codec import to_yaml
from tests.e2e.real_runs import Finished, create, execute_inside, make_spec, run_inside, write_rows
from tests.e2e.test_several_processes import rank_of

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

STEPS = 12
"""Of the run that is interrupted twice: enough for a request to arrive before the end on a busy computer."""
CLOSE = partial(pytest.approx, rel=1e-5)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 40)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Five rows a step and one row a pass, so that two processes never have equally many passes."""
    return {
        "data__validation_share": 0.2,
        "data__packing": "off",
        "training__effective_batch": 5,
        "training__evaluate_every": 3,
        "training__sample_prompts": ("What is a cat?",),
        "training__sample_every": 3,
        "training__sample_tokens": 6,
        "hardware__activation_checkpointing": "layers",
        "hardware__checkpointed_layers": 1,
        "hardware__threads": 1,
    }


@pytest.fixture(scope="module")
def alone(short_starter: Path, rows: Path, settings: dict[str, Any]) -> Finished:
    return run_inside(short_starter, rows, **settings)


def spread(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "hardware__processes": 2, "hardware__sharding": "base"}


def shared(folder: RunFolder, processes: int, on_event: Any = None) -> Finished:
    supervisor = Supervisor(folder, engine_command(folder, processes))
    supervisor.start()
    outcome = supervisor.wait(on_event=(lambda event: on_event(supervisor, event)) if on_event else None)
    return Finished(folder, outcome, EventTail(folder.events()).read())


def log_of(finished: Finished) -> str:
    return f"{finished.outcome}\n{finished.folder.log.read_text(encoding='utf-8')[-3000:]}"


def notices(finished: Finished) -> list[str]:
    return [notice.code for notice in finished.of(Notice)]


def assert_same(finished: Finished, alone: Finished) -> None:
    from safetensors.torch import load_file

    assert finished.losses == CLOSE(alone.losses)
    expected = load_file(alone.folder.adapter / "adapter_model.safetensors")
    found = load_file(finished.folder.adapter / "adapter_model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert (tensor - expected[name]).abs().max() < 1e-4, name


def test_processes_of_torchrun_that_share_a_base_learn_the_same(
    short_starter: Path, rows: Path, settings: dict[str, Any], alone: Finished, tmp_path: Path
) -> None:
    """Nothing interrupts them; those of our own launcher are in the other test."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(to_yaml(make_spec(short_starter, rows, **spread(settings))), encoding="utf-8")
    script, run = tmp_path / "train.sh", tmp_path / "runs" / "by-torchrun"
    assert main(["launch-script", str(spec), "--run", str(run), "--to", str(script)]) == 0
    done = subprocess.run(["bash", script], env=child_env(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    folder = RunFolder(run)
    finished = Finished(folder, None, EventTail(folder.events()).read())
    assert finished.state.hello.world_size == 2
    assert "base_spread" in notices(finished)
    assert finished.validation == CLOSE(alone.validation)
    for one, other in zip(finished.of(Step), alone.of(Step), strict=True):
        assert (one.tokens, one.supervised_tokens, one.passes) == (other.tokens, other.supervised_tokens, other.passes)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
    said, expected = ([(sample.step, sample.text) for sample in run.of(Sampled)] for run in (finished, alone))
    assert said == expected
    assert not finished.folder.other_rank_events(), "only a failure is told by another process than the first"
    assert_same(finished, alone)


def test_a_process_that_dies_ends_all_and_the_run_goes_on_with_two_and_at_last_with_one(
    short_starter: Path, rows: Path, settings: dict[str, Any], alone: Finished
) -> None:
    """Killed while others wait for its share of a layer; the run began from an adapter, which it holds by itself."""
    began = {**settings, "training__max_steps": STEPS, "adapter__start_from": str(alone.folder.adapter)}
    expected = run_inside(short_starter, rows, **began)
    folder = create(make_spec(short_starter, rows, **spread(began)))

    def save_then_kill_the_second(supervisor: Supervisor, event: Event) -> None:
        if isinstance(event.body, Step) and event.body.step == 1:
            place_request(folder, "save")
        if isinstance(event.body, CheckpointSaved):
            ranks = [key.pid for key in family(supervisor._record.key) if rank_of(key.pid) == "1"]
            os.kill(ranks[0], signal.SIGKILL)

    killed = shared(folder, 0, save_then_kill_the_second)
    assert killed.outcome.kind == "failed", log_of(killed)
    assert "Process 2 of 2 of this run was ended by SIGKILL" in killed.outcome.message
    assert killed.outcome.resumable

    before = killed.events[-1].seq

    def stop_after_one(supervisor: Supervisor, event: Event) -> None:
        if isinstance(event.body, Step) and event.seq > before:
            supervisor.stop()

    stopped = shared(folder, 2, stop_after_one)
    assert stopped.outcome.kind == "stopped", log_of(stopped)
    resumed_at, stopped_at = stopped.of(Started)[-1].step, stopped.of(Stopped)[-1].step
    assert 1 <= resumed_at < stopped_at < STEPS
    assert notices(stopped).count("base_spread") == 2
    finished = execute_inside(folder)
    assert isinstance(finished.events[-1].body, Completed)
    assert finished.of(Started)[-1].step == stopped_at
    assert [event.world_size for event in finished.of(Hello)] == [2, 2], "in this process nobody says hello"
    assert notices(finished).count("base_not_spread") == 1
    assert_same(finished, expected)
