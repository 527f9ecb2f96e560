"""An offline pack in the window: recognised where a folder is opened, weighed, taken in, refused when it is damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFileDialog, QLabel, QWidget

from core.hub.pack.making import make_pack, plan_making
from core.paths import models_dir
from studio.shell.opening import Kind, kind_of
from studio.widgets.controls import Switch
from tests.studio.model.test_model_page import press, text_of, titles, visible_child

WAIT_MS = 30_000


@pytest.fixture
def pack(tmp_path: Path, tiny_folder: Path) -> Path:
    """A pack with two models, on a stick."""
    second = shutil.copytree(tiny_folder, tmp_path / "elsewhere" / "second")
    folder = tmp_path / "stick" / "pack"
    make_pack(plan_making(folder, [str(tiny_folder), str(second)]), lambda *_: None)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, pack: Path) -> Path:
    """The pack is what somebody chooses in the dialog."""
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(pack))
    return pack


def words(widget: QWidget) -> str:
    return "\n".join(found.text() for found in widget.findChildren(QLabel) if found.isVisibleTo(widget))


def box_of(page: Any, name: str) -> Switch:
    found = page.local.findChild(Switch, f"pack-item-{name}")
    assert found is not None
    return found  # type: ignore[no-any-return]


def tick(qtbot: Any, box: Switch) -> None:
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))


def test_a_pack_is_opened_like_a_folder_and_taken_in(
    qtbot: Any, desk: Any, page: Any, opened: Path, settled: Callable[[], None]
) -> None:
    press(qtbot, page, "open-folder")
    qtbot.waitUntil(lambda: "are to be copied" in text_of(page, "pack-numbers"), timeout=WAIT_MS)
    assert desk.session.spec.model.base == "", "a pack is no model"
    assert box_of(page, "my-tiny").accessibleName() == "my-tiny · 1.2 MiB · apache-2.0"
    tick(qtbot, box_of(page, "second"))
    qtbot.waitUntil(lambda: text_of(page, "pack-numbers").startswith("1.2 MiB"), timeout=WAIT_MS)
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS) as told:
        press(qtbot, page, "pack-go")
    assert "my-tiny is ready and chosen" in told.args[0].text
    assert visible_child(page, "pack-card") is None
    assert (models_dir() / "my-tiny" / "model.safetensors").is_file()
    assert not (models_dir() / "second").exists()
    assert desk.session.spec.model.base == "my-tiny"
    qtbot.waitUntil(lambda: titles(page) == ["my-tiny"], timeout=WAIT_MS)
    settled()


def test_several_models_are_listed_when_they_are_here(qtbot: Any, desk: Any, page: Any, opened: Path) -> None:
    press(qtbot, page, "open-folder")
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS) as told:
        press_when_ready(qtbot, page)
    assert told.args[0].text == "2 models of the pack are here."
    qtbot.waitUntil(lambda: titles(page) == ["my-tiny", "second"], timeout=WAIT_MS)
    press(qtbot, page, "open-folder")
    qtbot.waitUntil(lambda: "already" in text_of(page, "pack-numbers"), timeout=WAIT_MS)
    assert box_of(page, "second").accessibleName().endswith("is here")
    assert not page.findChild(QWidget, "pack-go").isEnabled()
    press(qtbot, page, "pack-close")
    assert visible_child(page, "pack-card") is None


def press_when_ready(qtbot: Any, page: Any) -> None:
    qtbot.waitUntil(lambda: page.findChild(QWidget, "pack-go").isEnabled(), timeout=WAIT_MS)
    press(qtbot, page, "pack-go")


def test_nothing_chosen_is_nothing_to_do(qtbot: Any, page: Any, opened: Path) -> None:
    press(qtbot, page, "open-folder")
    qtbot.waitUntil(lambda: "are to be copied" in text_of(page, "pack-numbers"), timeout=WAIT_MS)
    for name in ("my-tiny", "second"):
        tick(qtbot, box_of(page, name))
    assert text_of(page, "pack-numbers") == "Nothing is chosen."
    assert not page.findChild(QWidget, "pack-go").isEnabled()


def test_a_pack_that_lacks_a_file_says_so_before_anything_is_copied(qtbot: Any, page: Any, opened: Path) -> None:
    (opened / "models" / "second" / "model.safetensors").unlink()
    press(qtbot, page, "open-folder")
    qtbot.waitUntil(lambda: visible_child(page, "pack-problem") is not None, timeout=WAIT_MS)
    assert "model.safetensors of “second” is missing" in words(page.local)
    assert not page.findChild(QWidget, "pack-go").isEnabled()
    tick(qtbot, box_of(page, "second"))
    qtbot.waitUntil(lambda: page.findChild(QWidget, "pack-go").isEnabled(), timeout=WAIT_MS)
    assert visible_child(page, "pack-problem") is None


def test_a_damaged_file_ends_it_and_another_copy_goes_on(qtbot: Any, desk: Any, page: Any, opened: Path) -> None:
    weights = opened / "models" / "second" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    press(qtbot, page, "open-folder")
    press_when_ready(qtbot, page)
    qtbot.waitUntil(lambda: visible_child(page, "arrival-again") is not None, timeout=WAIT_MS)
    card = visible_child(page, "arrival-pack")
    assert card is not None
    assert "does not hold what was packed" in words(card)
    assert (models_dir() / "my-tiny").is_dir()
    assert not (models_dir() / "second").exists()
    weights.write_bytes(whole)
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS) as told:
        press(qtbot, page, "arrival-again")
    assert told.args[0].text == "2 models of the pack are here."


def test_cancelling_leaves_nothing_half(
    qtbot: Any, desk: Any, page: Any, opened: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is held at its first block until it has been cancelled."""
    import threading

    from core.hub.pack import copying

    held = threading.Event()
    add = copying.Count.add

    def wait(self: Any, count: int) -> None:
        held.wait(20)
        add(self, count)

    monkeypatch.setattr(copying.Count, "add", wait)
    press(qtbot, page, "open-folder")
    press_when_ready(qtbot, page)
    press(qtbot, page, "arrival-cancel")
    held.set()
    qtbot.waitUntil(lambda: visible_child(page, "arrival-pack") is None, timeout=WAIT_MS)
    from studio.workers.task import end_tasks

    assert end_tasks() == 0
    assert not [path for path in models_dir().rglob("*") if path.is_file()]


def test_a_broken_pack_is_said(qtbot: Any, page: Any, opened: Path) -> None:
    (opened / "lowrank-pack.json").write_text("{")
    press(qtbot, page, "open-folder")
    qtbot.waitUntil(lambda: visible_child(page, "pack-problem") is not None, timeout=WAIT_MS)
    assert "is damaged" in words(page.local)


def test_a_dropped_pack_is_offered_on_the_page(qtbot: Any, desk: Any, pack: Path, open_page: Callable[[], Any]) -> None:
    from studio.shell.files import Files

    assert kind_of(pack) is Kind.PACK
    files = Files(desk, QWidget())
    with qtbot.waitSignal(desk.went) as went:
        files.open_path(pack)
    assert went.args == ["model"]
    page = open_page()
    assert page.places.value() == "local"
    qtbot.waitUntil(lambda: "are to be copied" in text_of(page, "pack-numbers"), timeout=WAIT_MS)
