"""Several engine processes on one run folder: the same losses as one, through our own launcher and through torchrun."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.events.tail import EventTail
from core.events.types import Step
from core.runs.launch import LaunchCommand, engine_command
from core.runs.layout import RunFolder
from core.runs.supervisor import Supervisor
from tests.e2e.real_runs import Finished, create, make_spec, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

CLOSE = partial(pytest.approx, rel=1e-5)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 40)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"data__validation_share": 0.2, "training__evaluate_every": 3, "hardware__threads": 1}


@pytest.fixture
def alone(short_starter: Path, rows: Path, settings: dict[str, Any]) -> Finished:
    return run_inside(short_starter, rows, **settings)


def shared(folder: RunFolder, processes: int, on_event: Any = None) -> Finished:
    """A run by so many processes of our own launcher."""
    supervisor = Supervisor(folder, several(folder, processes))
    supervisor.start()
    outcome = supervisor.wait(on_event=(lambda event: on_event(supervisor, event)) if on_event else None)
    return Finished(folder, outcome, EventTail(folder.events()).read())


def several(folder: RunFolder, processes: int) -> LaunchCommand:
    command = engine_command(folder)
    return LaunchCommand((*command.argv, "--processes", str(processes)), command.env, command.cwd)


def log_of(finished: Finished) -> str:
    return f"{finished.outcome}\n{finished.folder.log.read_text(encoding='utf-8')[-3000:]}"


def adapter(folder: RunFolder) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder.adapter / "adapter_model.safetensors")


@pytest.mark.parametrize("processes", [2, 4])
def test_as_many_processes_as_wanted_learn_the_same(
    short_starter: Path, rows: Path, settings: dict[str, Any], alone: Finished, processes: int
) -> None:
    finished = shared(create(make_spec(short_starter, rows, **settings)), processes)
    assert finished.outcome.kind == "completed", log_of(finished)
    assert finished.state.hello.world_size == processes
    assert finished.losses == CLOSE(alone.losses)
    assert finished.validation == CLOSE(alone.validation)
    for one, other in zip(finished.of(Step), alone.of(Step), strict=True):
        assert (one.tokens, one.supervised_tokens) == (other.tokens, other.supervised_tokens)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
    assert not finished.folder.other_rank_events(), "only a failure is told by another process than the first"
    expected = adapter(alone.folder)
    for name, tensor in adapter(finished.folder).items():
        assert (tensor - expected[name]).abs().max() < 1e-4, name
