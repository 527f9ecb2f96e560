"""Another place for all data, chosen in the window: weighed, refused, moved, and the window starts anew there."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget

from core import paths
from studio.pages.settings.folders import FoldersCard

ROOT = Path(__file__).parents[3]
WAIT_MS = 30_000


@pytest.fixture
def chosen_home(usual_home: Path) -> Path:
    """The usual data folder with a model in it."""
    home = usual_home
    (home / "models" / "small").mkdir(parents=True)
    (home / "models" / "small" / "model.safetensors").write_bytes(b"0" * 5000)
    return home


def click(qtbot: Any, card: QWidget, name: str) -> None:
    found = card.findChild(QAbstractButton, name)
    assert found is not None
    assert found.isVisibleTo(card), name
    qtbot.mouseClick(found, Qt.MouseButton.LeftButton)


def words(card: QWidget) -> str:
    labels = (label for label in card.findChildren(QLabel) if label.isVisibleTo(card))
    return "\n".join(label.accessibleName() or label.text() for label in labels)


@pytest.fixture
def card(qtbot: Any, desk: Any, chosen_home: Path) -> FoldersCard:
    made = FoldersCard(desk)
    made.resize(800, 500)
    qtbot.addWidget(made)
    made.show()
    return made


def test_a_folder_is_weighed_and_everything_moves(
    qtbot: Any, desk: Any, card: FoldersCard, chosen_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "letter.txt").write_text("mine")
    card.mover.choose(tmp_path / "disk")
    qtbot.waitUntil(lambda: "will be moved" in words(card), timeout=WAIT_MS)
    target = tmp_path / "disk" / "lowrank-studio"
    assert f"KiB will be moved to {target} at once" in words(card)
    with qtbot.waitSignal(desk.restarting, timeout=WAIT_MS):
        click(qtbot, card, "move-go")
    assert paths.home() == target
    assert (target / "models" / "small" / "model.safetensors").stat().st_size == 5000
    assert not chosen_home.exists()
    assert desk.preferences.path == target / "window.json"


def test_a_place_that_cannot_be_is_refused_with_its_reason(
    qtbot: Any, card: FoldersCard, chosen_home: Path, tmp_path: Path
) -> None:
    card.mover.choose(chosen_home / "models")
    qtbot.waitUntil(lambda: "lie inside each other" in words(card), timeout=WAIT_MS)
    assert not card.mover.findChild(QAbstractButton, "move-go").isVisibleTo(card)
    click(qtbot, card, "move-cancel")
    assert not card.mover.isVisibleTo(card)
    assert paths.home() == chosen_home


def test_where_the_variable_decides_nothing_can_be_chosen(qtbot: Any, desk: Any, lowrank_home: Path) -> None:
    made = FoldersCard(desk)
    qtbot.addWidget(made)
    assert not made.findChild(QAbstractButton, "move-home").isEnabled()


@pytest.mark.skipif(os.name != "posix", reason="the window is ended by a POSIX signal")
def test_the_program_starts_anew_in_the_new_place(chosen_home: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
import studio.app as app
begin = app.Studio._begin
def then(self):
    begin(self)

    self.window.show_page("settings")
    card = self.window.pages["settings"].folders.mover
    card._weighed_then = card._weighed
    def weighed(move):
        card._weighed_then(move)
        card.go()
    card._weighed = weighed
    card.choose(Path(sys.argv[1]))
app.Studio._begin = then
sys.exit(app.run(["studio"]))
"""
    target = tmp_path / "elsewhere"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    first = subprocess.Popen([sys.executable, "-P", "-c", program, str(target)], cwd=ROOT, env=environment)
    assert first.wait(60) == 0
    second = _window_of(target)
    try:
        assert (target / "models" / "small").is_dir()
        assert not chosen_home.exists()
    finally:
        second.terminate()
        second.wait(30)


def _window_of(home: Path) -> Any:
    """The process of the window that has opened on a data folder."""
    import psutil

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if command[-2:] != ["-m", "studio"]:
                continue
            try:
                if any(Path(file.path).parent.parent == home for file in process.open_files()):
                    return process
            except psutil.Error:
                continue
        time.sleep(0.2)
    raise AssertionError("the window has not opened again")
