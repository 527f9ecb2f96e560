"""Bringing files in: dropped on the list that they are meant for, whole folders, and several files with weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QInputDialog, QMenu, QWidget

from studio.pages.data.page import DataPage
from studio.pages.data.weight_button import with_weight
from studio.shell.opening import Kind, kind_of
from tests.studio.data.opened_page import opened

WAIT_MS = 20_000


def rows(path: Path, count: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": f"{path.stem} {n}"}) + "\n" for n in range(count)), "utf-8")
    return path


@pytest.fixture
def page(qtbot: Any, desk: Any, tmp_path: Path) -> Iterator[DataPage]:
    desk.session.edit("data.train", (str(rows(tmp_path / "first.jsonl")),))
    yield from opened(qtbot, desk)


def drag(target: Any, *paths: Path, drops: bool = True, text: str = "") -> bool:
    """What Qt sends while something is dragged over a widget and let go; returns whether it was taken."""
    data = QMimeData()
    if text:
        data.setText(text)
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(10, 10), copy, data, left, none)
    enter.ignore()
    QApplication.sendEvent(target, enter)
    if not enter.isAccepted():
        return False
    assert target.property("drop") is True
    assert not target.grab().isNull()
    QApplication.sendEvent(target, QDropEvent(QPointF(10, 10), copy, data, left, none) if drops else QDragLeaveEvent())
    assert target.property("drop") is False
    return True


def choose(qtbot: Any, menu: QMenu, title: str) -> None:
    action = next(item for item in menu.actions() if item.text() == title)
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())


def weights(page: DataPage) -> list[Any]:
    return [item for item in page.findChildren(QWidget, "file-weight") if item.isVisible()]


def test_files_and_folders_go_where_they_are_dropped(qtbot: Any, page: DataPage, desk: Any, tmp_path: Path) -> None:
    first = desk.session.spec.data.train[0]
    one, folder = rows(tmp_path / "one.jsonl"), rows(tmp_path / "folder" / "two.jsonl").parent
    assert drag(page.files._train, one, folder)
    qtbot.waitUntil(lambda: len(desk.session.spec.data.train) == 3, timeout=WAIT_MS)
    assert desk.session.spec.data.train == (first, str(one), str(folder))
    held = rows(tmp_path / "held.jsonl")
    assert drag(page.files._validation, held)
    qtbot.waitUntil(lambda: bool(desk.session.spec.data.validation), timeout=WAIT_MS)
    assert desk.session.spec.data.validation == (str(held),)
    assert drag(page.files._train, held, drops=False), "moved away again"
    assert not drag(page.files._train, tmp_path / "missing.jsonl")
    assert not drag(page.files._train, text="words")
    assert len(desk.session.spec.data.train) == 3


def test_a_folder_is_chosen_by_a_dialog(
    qtbot: Any, page: DataPage, desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = rows(tmp_path / "many" / "a.jsonl", 2).parent
    rows(folder / "b.jsonl", 4)
    for answer in ("", str(folder)):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, answer=answer: answer)
        qtbot.mouseClick(page.findChild(QWidget, "folder-train"), Qt.MouseButton.LeftButton)
    assert desk.session.spec.data.train[1:] == (str(folder),)
    page.files.show_file(str(folder))
    qtbot.waitUntil(lambda: page.rows.model.rowCount() == 6, timeout=WAIT_MS)


def test_several_files_have_weights(
    qtbot: Any, page: DataPage, desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not weights(page), "one file alone has none"
    first, second = desk.session.spec.data.train[0], str(rows(tmp_path / "second.jsonl"))
    desk.session.edit("data.train", (first, second))
    assert [item.text() for item in weights(page)] == ["×1", "×1"]
    qtbot.mouseClick(weights(page)[1], Qt.MouseButton.LeftButton)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    assert [item.text() for item in menu.actions() if item.isChecked()] == ["Each row once"]
    choose(qtbot, menu, "Each row twice")
    assert desk.session.spec.data.weights == {second: 2.0}
    assert [item.text() for item in weights(page)] == ["×1", "×2"]
    assert "second.jsonl: 2" in weights(page)[1].accessibleName()
    monkeypatch.setattr(QInputDialog, "getDouble", lambda *_: (0.75, True))
    qtbot.mouseClick(weights(page)[0], Qt.MouseButton.LeftButton)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    choose(qtbot, menu, "Another weight…")
    assert desk.session.spec.data.weights == {first: 0.75, second: 2.0}
    qtbot.mouseClick(page.files._train.chips[1].cross, Qt.MouseButton.LeftButton)
    assert desk.session.spec.data.weights == {first: 0.75}, "the weight goes with its file"
    assert desk.session.spec.data.train == (first,)
    assert [item.text() for item in weights(page)] == ["×0.75"]


def test_weights_by_name_and_path_are_replaced() -> None:
    before = {"a.jsonl": 2.0, "/x/b.jsonl": 3.0}
    assert with_weight(before, "/x/a.jsonl", 0.5) == {"/x/b.jsonl": 3.0, "/x/a.jsonl": 0.5}
    assert with_weight(before, "/x/b.jsonl", 1.0) == {"a.jsonl": 2.0}
    assert with_weight({}, "/x/b.jsonl", 1.0) == {}


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.tab", "a.pq", "a.arrow", "a.markdown", "a.json.zst", "a.csv.gz", "A.TSV"]
)
def test_the_window_knows_every_kind_of_data_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    assert kind_of(path) is Kind.DATA
    assert kind_of(tmp_path) is Kind.DATA, "and the folder that it lies in"


def test_folders_without_data_are_none(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / "README.md").write_bytes(b"x")
    assert kind_of(tmp_path) is Kind.NOTHING
    rows(tmp_path / "deep" / "deeper" / "rows.jsonl")
    assert kind_of(tmp_path) is Kind.DATA
