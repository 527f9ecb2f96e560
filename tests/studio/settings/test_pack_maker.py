"""An offline pack made in the window: the models are listed, the chosen ones copied, refusals said, a stop kept."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton, QFileDialog, QLabel, QWidget

from core.hub.pack.manifest import read_pack
from core.paths import models_dir
from studio.pages.settings.pack_maker import PackMakerCard
from studio.state.downloads import OFFERED_PACK
from studio.widgets.controls import Switch
from tests.core.hub.conftest import whole_model

WAIT_MS = 30_000


@pytest.fixture
def models(lowrank_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models of the application's own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    first = models_dir() / "first"
    first.mkdir(parents=True)
    for name, content in whole_model().files.items():
        if "/" not in name:
            (first / name).write_bytes(content)
    shutil.copytree(first, models_dir() / "second")
    return models_dir()


@pytest.fixture
def card(qtbot: Any, desk: Any, models: Path) -> PackMakerCard:
    made = PackMakerCard(desk)
    made.resize(700, 400)
    qtbot.addWidget(made)
    made.show()
    return made


def click(qtbot: Any, card: QWidget, name: str) -> None:
    found = card.findChild(QAbstractButton, name)
    assert found is not None
    assert found.isVisibleTo(card), name
    assert found.isEnabled(), name
    qtbot.mouseClick(found, Qt.MouseButton.LeftButton)


def words(card: QWidget) -> str:
    return "\n".join(found.text() for found in card.findChildren(QLabel) if found.isVisibleTo(card))


def choose(qtbot: Any, card: PackMakerCard, *names: str) -> None:
    click(qtbot, card, "pack-make")
    qtbot.waitUntil(lambda: list(card.boxes) == ["first", "second"], timeout=WAIT_MS)
    assert not card.into.isEnabled()
    for name in names:
        box = card.findChild(Switch, f"pack-model-{name}")
        assert box is not None
        qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    assert card.into.isEnabled()


def test_the_chosen_models_go_into_a_folder(
    qtbot: Any, card: PackMakerCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "letter.txt").write_text("dear")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(stick))
    choose(qtbot, card, "first")
    click(qtbot, card, "pack-into")
    qtbot.waitUntil(lambda: "The pack is whole" in words(card), timeout=WAIT_MS)
    assert [item.name for item in read_pack(stick / "lowrank-pack").items] == ["first"]
    choose(qtbot, card, "second")
    card.write_into(stick / "lowrank-pack")
    qtbot.waitUntil(lambda: "The pack is whole" in words(card), timeout=WAIT_MS)
    assert [item.name for item in read_pack(stick / "lowrank-pack").items] == ["first", "second"]
    assert card.open.isVisibleTo(card)


def test_the_focus_stays_in_the_card(qtbot: Any, card: PackMakerCard) -> None:
    card.make.setFocus()
    qtbot.keyClick(card.make, Qt.Key.Key_Space)
    assert card.focusWidget() is card.leave
    qtbot.waitUntil(lambda: bool(card.boxes), timeout=WAIT_MS)
    qtbot.keyClick(card.leave, Qt.Key.Key_Space)
    assert card.focusWidget() is card.make


def test_a_refusal_is_said_and_the_choice_stays(qtbot: Any, card: PackMakerCard, tmp_path: Path) -> None:
    weights = models_dir() / "second" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    choose(qtbot, card, "first", "second")
    card.write_into(tmp_path / "pack")
    qtbot.waitUntil(lambda: "is cut off" in words(card), timeout=WAIT_MS)
    assert card.chosen == ("first", "second")
    assert not (tmp_path / "pack").exists()
    click(qtbot, card, "pack-cancel")
    assert card.make.isVisibleTo(card)


def test_a_stopped_making_says_how_it_goes_on(
    qtbot: Any, card: PackMakerCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from core.hub.pack import copying

    held = threading.Event()
    add = copying.Count.add

    def wait(self: Any, count: int) -> None:
        held.wait(20)
        add(self, count)

    monkeypatch.setattr(copying.Count, "add", wait)
    choose(qtbot, card, "first")
    card.write_into(tmp_path / "pack")
    click(qtbot, card, "pack-cancel")
    held.set()
    assert "make it again in the same folder" in words(card)
    from studio.workers.task import end_tasks

    assert end_tasks() == 0


def test_taking_one_in_leads_to_the_model_page(
    qtbot: Any, desk: Any, card: PackMakerCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    with qtbot.waitSignal(desk.went) as went:
        click(qtbot, card, "pack-take")
    assert went.args == ["model"]
    assert desk.memory[OFFERED_PACK] == tmp_path


def test_without_models_there_is_nothing_to_choose(
    qtbot: Any, desk: Any, lowrank_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    made = PackMakerCard(desk)
    qtbot.addWidget(made)
    made.begin()
    qtbot.waitUntil(lambda: "no models" in words(made), timeout=WAIT_MS)
    assert made.make.isVisibleTo(made)
