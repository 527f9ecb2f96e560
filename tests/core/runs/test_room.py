"""Room on a disk: whose disk is asked, what can be deleted, and which other disk has enough."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from core.runs.layout import TRASH, RunFolder
from core.runs.outcome import Outcome, write_outcome
from core.runs.room import SPARE_BYTES, Room, free_advice, home_advice, room_advice, room_for
from core.units import GIB, MIB


def test_room_is_asked_of_the_disk_that_a_target_will_lie_on(small_disk: Path) -> None:
    room = room_for(MIB, small_disk / "not" / "yet" / "there")
    assert room.place == small_disk
    assert 20 * MIB < room.free <= 24 * MIB
    assert room.missing == 0
    assert room_for(30 * MIB, small_disk).missing > 6 * MIB
    assert room_for(8 * MIB, small_disk).missing == pytest.approx(8 * MIB + SPARE_BYTES - room.free, abs=1)


def test_what_is_not_there_yet_is_asked_of_the_nearest_folder_above(tmp_path: Path) -> None:
    assert room_for(1, tmp_path / "a" / "b").place == tmp_path


@pytest.fixture
def crowded(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with 3 MiB of downloads and 5 MiB of saved states, and no other disk."""
    (home / "cache" / "downloads").mkdir(parents=True)
    (home / "cache" / "downloads" / "x.whl").write_bytes(bytes(3 * MIB))
    states = home / "runs" / "words" / "checkpoints" / "step-1"
    states.mkdir(parents=True)
    (states / "state").write_bytes(bytes(5 * MIB))
    write_outcome(RunFolder(home / "runs" / "words"), Outcome("completed", "Done."))
    (home / "runs" / "words" / "adapter").mkdir()
    (home / "runs" / "words" / "adapter" / "result").write_bytes(bytes(50 * MIB))
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [])
    monkeypatch.setenv("HOME", str(home))
    return home


def test_what_can_be_deleted_is_named_if_it_is_enough(crowded: Path) -> None:
    short = Room(needed=MIB, free=SPARE_BYTES - 3 * MIB, place=crowded)
    states = crowded / "runs" / "words" / "checkpoints"
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


def test_what_a_run_could_go_on_from_is_nothing_to_delete(crowded: Path) -> None:
    folder = RunFolder(crowded / "runs" / "words")
    short = Room(needed=MIB, free=SPARE_BYTES - 3 * MIB, place=crowded)
    write_outcome(folder, Outcome("stopped", "Stopped."))
    assert free_advice(short) == "Free 4.0 MiB, then try again."
    folder.path.rename(crowded / "runs" / "other")
    (crowded / "runs" / TRASH).mkdir()
    (crowded / "runs" / "other").rename(crowded / "runs" / TRASH / "words")
    trash = crowded / "runs" / TRASH
    assert free_advice(short) == f"Free 4.0 MiB, then try again: 55.0 MiB lie in {trash}."
