"""A run is not made where it finds no room, and one that ran out of it does not go on until there is some."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core import paths
from core.errors import ExitCode, UserError
from core.facts.types import Facts
from core.plan.types import Disk, Plan
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.room import SPARE_BYTES
from core.runs.store import create_run
from core.runs.supervisor import Supervisor
from core.spec.run_spec import RunSpec
from core.units import GIB, MIB
from tests.core.disks import tell

DISK = Disk(checkpoint_bytes=3 * MIB, adapter_bytes=MIB, merged_bytes=5 * MIB, run_bytes=10 * MIB, free_bytes=GIB)


@pytest.fixture
def plan(plan: Plan) -> Plan:
    """A plan that was made while there was room."""
    return dataclasses.replace(plan, disk=DISK)


def refusal(make: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    (problem,) = caught.value.problems
    return f"{problem.path}: {problem.message}", problem.advice


def test_a_disk_that_filled_up_since_the_plan_was_made_is_seen_at_the_start(
    spec: RunSpec, facts: Facts, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, 10 * MIB + SPARE_BYTES - 1)
    message, advice = refusal(lambda: create_run(spec, facts, plan))
    assert message.startswith("output.folder: The run needs about 26.0 MiB on disk for its checkpoints and its result")
    assert "26.0 MiB are free at" in message
    assert advice.startswith("Free 1 B, or choose a folder on another disk")
    assert not paths.runs_dir().exists()
    tell(monkeypatch, 10 * MIB + SPARE_BYTES)
    assert create_run(spec, facts, plan).plan.exists()


def test_the_disk_of_the_output_folder_counts(
    spec: RunSpec, facts: Facts, plan: Plan, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "filler").write_bytes(bytes(6 * MIB))
    there = spec.replace("output.folder", str(small_disk / "runs"))
    message, advice = refusal(lambda: create_run(there, facts, plan))
    assert f"are free at {small_disk}" in message
    assert "8.0 MiB" in advice
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    assert create_run(spec, facts, plan).path.parent == paths.runs_dir()


@pytest.mark.skipif(os.name != "posix", reason="the fake engine's ways to die are POSIX signals")
def test_a_run_goes_on_as_soon_as_there_is_room_for_the_rest(
    run_folder: RunFolder, fake: Callable[..., LaunchCommand], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, 6 * MIB + SPARE_BYTES)
    message, advice = refusal(lambda: Supervisor(run_folder, fake("ok")).start())
    assert message.startswith(f"{run_folder.path}: The run still needs about 26.0 MiB on disk")
    assert advice == "Free 4.0 MiB, then try again."
    assert not run_folder.process.exists()
    for number in (1, 2):  # what it has saved is not needed again
        (run_folder.checkpoints / f"step-{number}").mkdir(parents=True)
        (run_folder.checkpoints / f"step-{number}" / "state").write_bytes(bytes(2 * MIB))
    supervisor = Supervisor(run_folder, fake("ok"))
    supervisor.start()
    assert supervisor.wait().kind == "completed"


def test_without_a_known_size_nothing_is_refused(
    spec: RunSpec, facts: Facts, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, 0)
    assert create_run(spec, facts, dataclasses.replace(plan, disk=None)).path.is_dir()
