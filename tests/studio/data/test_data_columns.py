"""Which column plays which part: by clicks on headings, by fields with templates, and back to what was recognised."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QApplication, QLabel, QMenu, QWidget

from studio.pages.data.page import DataPage

WAIT_MS = 20_000
ROW = {"question": "Why?", "context": "It rains.", "answer": "Clouds.", "persona": "Be brief.", "count": 3}


@pytest.fixture
def page(qtbot: Any, desk: Any, tmp_path: Path) -> Iterator[DataPage]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**ROW, "count": place}) + "\n" for place in range(5)), "utf-8")
    desk.session.edit("data.train", (str(path),))
    made = DataPage(desk)
    made.resize(840, 900)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    wait_rows(qtbot, made)
    yield made
    made.close_page()


def wait_rows(qtbot: Any, page: DataPage) -> None:
    def read() -> bool:
        return page.rows.model.rowCount() == 5 and not page.rows.reader.is_busy and not page.rows._timer.isActive()

    qtbot.waitUntil(read, timeout=WAIT_MS)


def click(qtbot: Any, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def menu_of(qtbot: Any, page: DataPage, column: str) -> QMenu:
    """The menu that a click on a heading opens."""
    names = page.rows.table.horizontalHeader()
    place = [page.rows.model.column_name(index) for index in range(page.rows.model.columnCount())].index(column)
    at = QPoint(names.sectionViewportPosition(place) + 20, names.height() // 2)
    page.rows.table.scrollTo(page.rows.model.index(0, place))
    at.setX(names.sectionViewportPosition(place) + 20)
    qtbot.mouseClick(names.viewport(), Qt.MouseButton.LeftButton, pos=at)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    return menu


def choose(qtbot: Any, page: DataPage, column: str, title: str) -> None:
    menu = menu_of(qtbot, page, column)
    action = next(item for item in menu.actions() if item.text() == title)
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())
    QApplication.processEvents()


def fill(qtbot: Any, page: DataPage, part: str, text: str) -> Any:
    field: Any = page.findChild(QWidget, f"column-{part}")
    field.setFocus()
    qtbot.keySequence(field, QKeySequence.StandardKey.SelectAll)
    qtbot.keyClicks(field, text)
    assert field.currentText() == text
    return field


def preview(page: DataPage, part: str) -> str:
    found: Any = page.findChild(QWidget, f"preview-{part}")
    return str(found.full_text())


def notes(page: DataPage) -> str:
    return "\n".join(item.text() for item in page.rows.columns.findChildren(QLabel) if item.isVisible())


def test_the_headings_say_which_part_a_column_plays_and_the_reason_how_sure_that_is(page: DataPage) -> None:
    headings = [page.rows.model.headerData(place, Qt.Orientation.Horizontal) for place in range(5)]
    assert headings == ["question → Prompt", "context", "answer → Answer", "persona", "count"]
    reason = page.rows._reason.text()
    assert "the columns “question” and “answer”" in reason
    assert "makes sense of 100 %" in reason
    tip = page.rows.model.headerData(1, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert "Click" in tip


def test_a_click_on_a_heading_gives_the_column_another_part(qtbot: Any, page: DataPage, desk: Any) -> None:
    menu = menu_of(qtbot, page, "answer")
    assert [item.text() for item in menu.actions() if item.isChecked()] == ["Answer"]
    menu.close()
    choose(qtbot, page, "persona", "System text")
    wait_rows(qtbot, page)
    wanted = {"prompt": "question", "completion": "answer", "system": "persona"}
    assert desk.session.spec.data.mapping == wanted
    sample, _ = page.rows.current()
    assert sample is not None
    assert [turn.content for turn in sample.messages] == ["Be brief.", "Why?", "Clouds."]
    choose(qtbot, page, "context", "Running text")
    wait_rows(qtbot, page)
    assert desk.session.spec.data.mapping == {"text": "context"}
    choose(qtbot, page, "context", "Recognise by itself")
    wait_rows(qtbot, page)
    assert desk.session.spec.data.mapping == {}
    assert "Question and answer" in page.rows._shape.text()


def test_a_part_that_needs_another_one_opens_the_fields(qtbot: Any, page: DataPage, desk: Any) -> None:
    choose(qtbot, page, "context", "Running text")
    wait_rows(qtbot, page)
    choose(qtbot, page, "question", "Prompt")
    assert page.rows.columns.isVisible()
    assert desk.session.spec.data.mapping == {"text": "context"}, "half a mapping is not put into the spec"
    answer: Any = page.findChild(QWidget, "column-completion")
    qtbot.waitUntil(lambda: page.window().focusWidget() in (answer, answer.lineEdit()), timeout=WAIT_MS)
    assert not page.rows.columns.take.isEnabled()
    qtbot.keyClicks(answer.lineEdit(), "answer")
    click(qtbot, page.rows.columns.take)
    wait_rows(qtbot, page)
    assert desk.session.spec.data.mapping == {"prompt": "question", "completion": "answer"}
    assert not page.rows.columns.isVisible()


def test_columns_are_combined_with_a_preview_at_each_key(qtbot: Any, page: DataPage, desk: Any) -> None:
    choose(qtbot, page, "question", "Combine columns…")
    fields = page.rows.columns
    assert (fields.fields["prompt"].currentText(), fields.fields["completion"].currentText()) == ("question", "answer")
    assert preview(page, "prompt") == "→ Why?"
    fill(qtbot, page, "prompt", "{question} {cont")
    assert preview(page, "prompt") == "→ nothing in this row" or "{cont" in preview(page, "prompt")
    fill(qtbot, page, "prompt", "{question}\\n{contexd} #{count}")
    assert "no column “contexd”" in notes(page)
    assert "Did you mean “context”?" in notes(page)
    assert not fields.take.isEnabled()
    fill(qtbot, page, "prompt", "{question}\\n{context} #{count}")
    assert preview(page, "prompt") == "→ Why? It rains. #0"
    assert "no column" not in notes(page)
    page.rows.table.choose(3)
    assert preview(page, "prompt") == "→ Why? It rains. #3"
    assert not fields.grab().isNull()
    click(qtbot, fields.take)
    wait_rows(qtbot, page)
    assert desk.session.spec.data.mapping == {
        "prompt": "{question}\\n{context} #{count}",
        "completion": "answer",
    }
    sample, _ = page.rows.current()
    assert sample is not None
    assert sample.prompt == "Why?\nIt rains. #0"
    headings = [page.rows.model.headerData(place, Qt.Orientation.Horizontal) for place in range(5)]
    assert headings == ["question → Prompt", "context → Prompt", "answer → Answer", "persona", "count → Prompt"]
    assert page.rows.model.part_of("question") == "", "a column of several has no part of its own to be ticked"


def test_headings_can_be_read_whole_and_so_can_the_path_where_there_is_room(page: DataPage) -> None:
    names = page.rows.table.horizontalHeader()
    for place in range(5):
        assert names.sectionSize(place) >= names.sectionSizeHint(place)
    page.resize(1200, 900)
    QApplication.processEvents()
    assert page.rows._name.text() == page.rows._name.full_text()
    page.resize(600, 900)
    QApplication.processEvents()
    assert "…" in page.rows._name.text(), "the tip has the rest"


def test_the_fields_open_by_a_button_and_close_without_a_change(qtbot: Any, page: DataPage, desk: Any) -> None:
    click(qtbot, page.findChild(QWidget, "change-columns"))
    fields = page.rows.columns
    assert fields.isVisible()
    fill(qtbot, page, "text", "context")
    assert fields.mapping() == {"text": "context"}, "running text takes the place of the others"
    click(qtbot, page.findChild(QWidget, "cancel-columns"))
    assert not fields.isVisible()
    assert desk.session.spec.data.mapping == {}


def test_the_menu_opens_by_the_keyboard(qtbot: Any, page: DataPage) -> None:
    table = page.rows.table
    table.setFocus()
    table.setCurrentIndex(page.rows.model.index(1, 2))
    qtbot.keyClick(table, Qt.Key.Key_F10, Qt.KeyboardModifier.ShiftModifier)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    assert [item.text() for item in menu.actions() if item.isChecked()] == ["Answer"]
    menu.close()
