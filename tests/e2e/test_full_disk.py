"""The disk fills up under a run at work: it says so, loses nothing that was saved, and goes on once there is room."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.engine.failures import describe
from core.errors import FailureKind
from core.events.types import CheckpointSaved, Started
from core.runs.layout import RunFolder
from core.units import MIB
from tests.core.disks import mounted
from tests.e2e.real_runs import Finished, create, execute, make_spec, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB: the least that a small run starts on, and half as much again."""
    with mounted(tmp_path / "small-disk", 48) as folder:
        yield folder


def half_written(folder: RunFolder) -> list[Path]:
    return [path for path in folder.path.rglob("*") if path.name.endswith((".part", ".tmp", ".new", ".old"))]


def test_a_run_that_fills_its_disk_keeps_what_it_saved_and_goes_on_later(
    short_starter: Path, tmp_path: Path, small_disk: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    settings = {
        "adapter__rank": 2,
        "adapter__alpha": 4.0,
        "training__max_steps": 16,  # enough for the disk to fill up before the last
        "training__checkpoint_minutes": 0.0001,
        "training__keep_checkpoints": 1,
    }
    whole = run_inside(short_starter, rows, **settings)
    state = whole.of(CheckpointSaved)[0].bytes
    folder = create(make_spec(short_starter, rows, output__folder=str(small_disk / "runs"), **settings))
    filler = small_disk / "filler"

    def fill(_supervisor: object, event: object) -> None:
        saved = getattr(event, "body", None)
        if isinstance(saved, CheckpointSaved) and saved.step == 2:
            filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - state // 2))

    failed = execute(folder, fill)
    assert failed.outcome is not None
    assert (failed.outcome.kind, failed.outcome.failure) == ("failed", FailureKind.DISK_FULL)
    assert failed.outcome.message == "The disk is full."
    assert failed.outcome.resumable
    assert half_written(folder) == []
    assert not folder.adapter.exists()
    refused_or_failed(folder)
    filler.unlink()
    resumed = execute(folder)
    assert resumed.outcome is not None
    assert resumed.outcome.kind == "completed", resumed.outcome
    assert resumed.of(Started)[-1].step >= 2
    assert resumed.losses == whole.losses
    assert weights(resumed) == weights(whole)


def refused_or_failed(folder: RunFolder) -> None:
    """While the disk is full, going on is refused before the engine starts."""
    from core.errors import ExitCode, UserError

    with pytest.raises(UserError, match="still needs about") as caught:
        execute(folder)
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT


def weights(finished: Finished) -> bytes:
    return (finished.folder.adapter / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("size", [3 * MIB, 47 * MIB])
def test_libraries_that_say_it_in_words_alone_are_understood(size: int, small_disk: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    (small_disk / "filler").write_bytes(bytes(46 * MIB))
    with pytest.raises(SafetensorError) as caught:
        save_file({"x": torch.zeros(size, dtype=torch.uint8)}, small_disk / "x.safetensors")
    assert describe(caught.value).kind is FailureKind.DISK_FULL
    with pytest.raises(SafetensorError) as elsewhere:
        save_file({"x": torch.zeros(1)}, small_disk / "not there" / "x.safetensors")
    assert describe(elsewhere.value).kind is FailureKind.INTERNAL
