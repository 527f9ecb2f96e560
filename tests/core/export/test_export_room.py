"""A disk that is too small: seen before the first byte, and nothing half-written where it fills up all the same.

The disk is a real one of a megabyte or so where the system lets the tests make one; else only its answer is made up.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from core.errors import ExitCode, UserError
from core.export.merge import merge_adapter, merge_bytes
from core.export.result import copy_result, plan_export
from core.runs.layout import RunFolder
from core.runs.room import SPARE_BYTES, Room, home_advice, room_advice, room_for
from core.spec.codec import to_yaml
from core.spec.run_spec import RunSpec
from core.units import GIB, MIB
from tests.core.export.tiny_models import Tuned


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def tell(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """From now on every file system says that it has so many bytes free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GIB, 10 * GIB - free, free))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this system lets the tests mount no disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that tuned every weight, with a result of 12 MB."""
    folder = RunFolder(tmp_path / "runs" / "words")
    folder.adapter.mkdir(parents=True)
    folder.spec.write_text(to_yaml(RunSpec(), full=True), encoding="utf-8")
    for number in range(3):
        (folder.adapter / f"model-{number}.safetensors").write_bytes(bytes(4_000_000))
    return folder


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_room_is_asked_of_the_disk_that_a_target_will_lie_on(small_disk: Path) -> None:
    room = room_for(MIB, small_disk / "not" / "yet" / "there")
    assert room.place == small_disk
    assert 20 * MIB < room.free <= 24 * MIB
    assert room.missing == 0
    assert room_for(30 * MIB, small_disk).missing > 6 * MIB
    assert room_for(8 * MIB, small_disk).missing == pytest.approx(8 * MIB + SPARE_BYTES - room.free, abs=1)


def test_an_export_is_refused_before_the_first_byte(run: RunFolder, small_disk: Path) -> None:
    plan = plan_export(run, "merged", small_disk / "a" / "b")
    assert plan.exit_code is ExitCode.DOES_NOT_FIT
    (problem,) = plan.problems
    assert "The export takes 11.4 MiB" in problem.message
    assert f"at {small_disk / 'a'}" in problem.message
    assert problem.advice.startswith("Free 3.4 MiB, or choose a folder on another disk")
    with pytest.raises(UserError):
        copy_result(plan)
    assert everything_below(small_disk) == []


def test_a_disk_that_was_filled_since_the_plan_is_seen_at_the_start(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_export(run, "merged", tmp_path / "out")
    assert plan.can_start
    tell(monkeypatch, 1000)
    with pytest.raises(UserError, match="1000 B are free") as caught:
        copy_result(plan)
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_during_a_copy_leaves_nothing(
    run: RunFolder, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(16 * MIB))
    tell(monkeypatch, GIB)  # as if somebody else took the room in between
    with pytest.raises(UserError, match="could not be copied"):
        copy_result(plan_export(run, "merged", small_disk / "out"))
    assert everything_below(small_disk) == [filler]


@pytest.mark.torch
def test_a_merge_is_counted_to_the_byte_and_leaves_nothing_on_a_full_disk(
    llama: Tuned, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = merge_bytes(llama.base, llama.adapter)
    report = merge_adapter(llama.base, llama.adapter, tmp_path / "merged")
    real = sum(path.stat().st_size for path in report.target.iterdir() if path.name != "README.md")
    assert needed == pytest.approx(real, abs=4096)  # settings are written anew
    filler = small_disk / "filler"
    filler.write_bytes(bytes(23 * MIB + MIB // 2))
    with pytest.raises(UserError, match="are free here") as caught:
        merge_adapter(llama.base, llama.adapter, small_disk / "out")
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    with filler.open("ab") as file:
        file.write(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 8192))
    tell(monkeypatch, GIB)
    with pytest.raises(OSError, match="No space left"):
        merge_adapter(llama.base, llama.adapter, small_disk / "out")
    assert everything_below(small_disk) == [filler]


# ------------------------------------------------------------------------------------------------------------- advice


@pytest.fixture
def crowded(lowrank_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with 3 MiB of downloads and 5 MiB of saved states, and no other disk."""
    (lowrank_home / "cache" / "downloads").mkdir(parents=True)
    (lowrank_home / "cache" / "downloads" / "x.whl").write_bytes(bytes(3 * MIB))
    states = lowrank_home / "runs" / "words" / "checkpoints" / "step-1"
    states.mkdir(parents=True)
    (states / "state").write_bytes(bytes(5 * MIB))
    (lowrank_home / "runs" / "words" / "adapter").mkdir()
    (lowrank_home / "runs" / "words" / "adapter" / "result").write_bytes(bytes(50 * MIB))
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [])
    monkeypatch.setenv("HOME", str(lowrank_home))
    return lowrank_home


def test_what_can_be_deleted_is_named_if_it_is_enough(crowded: Path) -> None:
    short = Room(needed=MIB, free=SPARE_BYTES - 3 * MIB, place=crowded)
    states = crowded / "runs" / "*" / "checkpoints"
    assert room_advice(short) == f"Free 4.0 MiB (5.0 MiB lie in {states}), or choose a folder on another disk."
    assert home_advice(short).startswith(f"Free 4.0 MiB (5.0 MiB lie in {states}), or put the data folder on")
    hopeless = Room(needed=GIB, free=0, place=crowded)
    assert room_advice(hopeless) == "Free 1.0 GiB, or choose a folder on another disk."
    assert "lie in" not in home_advice(hopeless)


def test_another_disk_with_room_is_named(crowded: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Part(NamedTuple):
        mountpoint: str
        fstype: str = "tmpfs"
        opts: str = "rw"

    def told(*parts: Any) -> None:
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [Part("/no/such"), *parts])

    short = Room(needed=4 * MIB, free=SPARE_BYTES, place=crowded)
    told(Part(str(small_disk)))
    free = f"24.0 MiB are free at {small_disk}."
    assert room_advice(short).endswith(f"checkpoints), or choose a folder on another disk: {free}")
    shutil.rmtree(crowded / "runs")
    shutil.rmtree(crowded / "cache")
    assert room_advice(short) == f"Free 4.0 MiB, or choose a folder on another disk: {free}"
    assert "24.0 MiB" not in room_advice(Room(needed=9 * MIB, free=0, place=crowded))
    for part in (Part(str(small_disk), opts="ro,nosuid"), Part(str(small_disk), fstype="squashfs")):
        told(part)
        assert room_advice(short) == "Free 4.0 MiB, or choose a folder on another disk."
    told(Part(str(small_disk)))
    same = Room(needed=4 * MIB, free=0, place=small_disk)
    assert str(small_disk) not in room_advice(same)


def test_a_plan_names_them_too(run: RunFolder, crowded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, 12_000_000 + SPARE_BYTES - 4 * MIB)
    (problem,) = plan_export(run, "merged", crowded / "out").problems
    assert "checkpoints)" in problem.advice
