"""The foot of the window: what the device does right now, as its driver says it."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.facts.types import GpuFacts
from core.units import GIB
from studio.shell.status_bar import StatusBar

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stands in for nvidia-smi with a shell script")
CARD = GpuFacts(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 * GIB, 23 * GIB)
BUSY = "0, GPU-aa11, NVIDIA GeForce RTX 4090, 24576, 4096, 97, 71, 431.55"
IDLE = "1, GPU-bb22, Tesla T4, 15360, 15360, 0, 40, [N/A]"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A program in nvidia-smi's place; called with what it says."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setattr("core.facts.nvidia._program", lambda _environment: str(program))

    def say(answer: str) -> None:
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
        program.chmod(0o755)

    return say


def bar_of(qtbot: Any, desk: Any, *gpus: GpuFacts) -> StatusBar:
    desk.session.begin()
    qtbot.waitUntil(lambda: desk.session.hardware is not None)
    desk.session.hardware = replace(desk.session.hardware, gpus=gpus)
    bar = StatusBar(desk)
    qtbot.addWidget(bar)
    bar.resize(1200, 30)
    bar.show()
    return bar


def ask(qtbot: Any, bar: StatusBar, words: str) -> None:
    bar._count = 2  # every third time a GPU's driver is asked
    bar.sample()
    qtbot.waitUntil(lambda: bar._device.full_text() == words)


def test_a_gpu_says_how_busy_and_how_hot_it_is(qtbot: Any, desk: Any, driver: Callable[[str], None]) -> None:
    bar = bar_of(qtbot, desk, CARD)
    assert bar._device.full_text() == "NVIDIA GeForce RTX 4090 · 1.0 GiB of 24.0 GiB in use"
    driver(BUSY)
    ask(qtbot, bar, "NVIDIA GeForce RTX 4090 · 20.0 GiB of 24.0 GiB in use · 97 % busy · 71 °C · 432 W")
    driver("the driver says something else")
    ask(qtbot, bar, "NVIDIA GeForce RTX 4090 · 1.0 GiB of 24.0 GiB in use")


def test_of_several_the_one_that_trains_is_shown(
    qtbot: Any, desk: Any, driver: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = bar_of(qtbot, desk, CARD)
    driver(f"{BUSY}\n{IDLE}")
    ask(qtbot, bar, "Tesla T4 · 0 B of 15.0 GiB in use · 0 % busy · 40 °C")
    monkeypatch.setattr(type(desk.runs), "is_live", property(lambda _: True))
    ask(qtbot, bar, "NVIDIA GeForce RTX 4090 · 20.0 GiB of 24.0 GiB in use · 97 % busy · 71 °C · 432 W")


def test_a_narrow_window_shortens_it(qtbot: Any, desk: Any, driver: Callable[[str], None]) -> None:
    bar = bar_of(qtbot, desk, CARD)
    driver(BUSY)
    ask(qtbot, bar, "NVIDIA GeForce RTX 4090 · 20.0 GiB of 24.0 GiB in use · 97 % busy · 71 °C · 432 W")
    whole = bar._device.width()
    assert bar._device.text() == bar._device.full_text()
    bar.resize(420, 30)
    qtbot.waitUntil(lambda: bar._device.width() < whole)
    assert bar._device.text().endswith("…")
    assert bar.minimumSizeHint().width() < 420


def test_without_a_gpu_it_is_the_processor(qtbot: Any, desk: Any) -> None:
    bar = bar_of(qtbot, desk)
    assert bar._device.full_text().startswith("Processor · ")
