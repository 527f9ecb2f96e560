"""The sizes on the page “What fits”, and the disk that a run goes to."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PySide6.QtWidgets import QLabel

from core.plan.types import Disk
from core.units import GIB, MIB

DISK = Disk(
    checkpoint_bytes=480 * MIB,
    adapter_bytes=160 * MIB,
    merged_bytes=15 * GIB,
    run_bytes=1608 * MIB,
    free_bytes=40 * GIB,
    gguf_bytes={"F16": 15 * GIB, "Q4_K_M": 4915 * MIB},
)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def card(qtbot: Any) -> Any:
    from studio.pages.fit.disk_card import DiskCard

    made = DiskCard()
    qtbot.addWidget(made)
    return made


def shown(card: Any) -> dict[str, str]:
    texts = {item.objectName().removeprefix("fit-disk-"): item for item in card.findChildren(QLabel)}
    return {name: item.text() for name, item in texts.items() if name and not item.isHidden()}


def test_every_size_is_there(card: Any) -> None:
    card.show_disk(DISK)
    found = shown(card)
    assert found["run"] == "1.6 GiB"
    assert (found["checkpoint"], found["result"]) == ("480.0 MiB", "160.0 MiB")
    assert found["merged"] == "15.0 GiB"
    assert found["gguf"].replace("\N{NO-BREAK SPACE}", " ") == "F16 15.0 GiB,  Q4_K_M 4.8 GiB"
    assert "download" not in found
    assert card._space.accessibleName() == "Takes 1.6 GiB of 40.0 GiB free."


def test_a_download_comes_on_top_and_unknown_sizes_are_no_card(card: Any) -> None:
    card.show_disk(dataclasses.replace(DISK, download_bytes=2 * GIB))
    assert shown(card)["download"] == "2.0 GiB"
    card.show_disk(None)
    assert card.isHidden()


def test_another_output_folder_is_another_disk(
    qtbot: Any, desk: Any, settled: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(path: Any) -> Usage:
        free = 3 * GIB if str(path).startswith(str(tmp_path / "other")) else 70 * GIB
        return Usage(100 * GIB, 100 * GIB - free, free)

    (tmp_path / "other").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", usage)
    desk.session.begin()
    settled()
    assert desk.session.hardware.disk_free_bytes == 70 * GIB
    desk.session.edit("output.folder", str(tmp_path / "other" / "runs"))
    qtbot.waitUntil(lambda: not desk.session.is_reading, timeout=20_000)
    assert desk.session.hardware.disk_free_bytes == 3 * GIB
    assert desk.session.undo()
    qtbot.waitUntil(lambda: not desk.session.is_reading, timeout=20_000)
    assert desk.session.hardware.disk_free_bytes == 70 * GIB
