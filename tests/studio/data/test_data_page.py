"""The Data page as a person uses it: choosing files, looking at rows, seeing what is wrong, moving the limit."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFileDialog, QLabel, QWidget

from studio.pages.data.page import DataPage
from tests.studio.data.opened_page import opened

WAIT_MS = 20_000


def write_rows(path: Path, rows: int, *, broken: tuple[int, ...] = ()) -> Path:
    """Prompts and completions of growing length; the lines in ``broken`` (from 1) are cut off."""
    lines = [
        json.dumps({"prompt": f"What is {i}?", "completion": "It is a number. " * (1 + i % 9)}) for i in range(rows)
    ]
    for line in broken:
        lines[line - 1] = '{"prompt": "cut'
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def page(qtbot: Any, desk: Any) -> Iterator[DataPage]:
    yield from opened(qtbot, desk)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Decides what the file dialog will return."""

    def answer(*paths: Path) -> None:
        names = [str(path) for path in paths]
        monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (names, ""))

    return answer


def click(qtbot: Any, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def wait_rows(qtbot: Any, page: DataPage, rows: int) -> None:
    qtbot.waitUntil(lambda: page.rows.model.rowCount() == rows, timeout=WAIT_MS)


def wait_sample(qtbot: Any, page: DataPage) -> None:
    qtbot.waitUntil(lambda: page.rows.sample.place.full_text() != "", timeout=WAIT_MS)


def visible(page: QWidget, name: str) -> list[QWidget]:
    return [widget for widget in page.findChildren(QWidget, name) if widget.isVisible()]


def texts(widget: QWidget) -> str:
    return "\n".join(label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget))


def test_nothing_chosen_offers_files_and_the_sample_set(qtbot: Any, desk: Any, page: DataPage) -> None:
    assert page.findChild(QWidget, "choose-files").isVisible()
    assert not page.rows.isVisible()
    assert not page.lengths.isVisible()
    click(qtbot, page.findChild(QWidget, "use-sample-set"))
    data = desk.session.spec.data
    assert [Path(name).name for name in data.train] == ["devils-dictionary.jsonl"]
    assert [Path(name).name for name in data.validation] == ["devils-dictionary-held-back.jsonl"]
    assert not page.findChild(QWidget, "choose-files").isVisible()
    wait_rows(qtbot, page, 500)
    assert "Recognised because all of the first 200 rows" in texts(page.rows)


def test_files_are_added_by_dialog_once_and_remembered(
    qtbot: Any, desk: Any, page: DataPage, choose: Callable[..., None], tmp_path: Path
) -> None:
    one, two = write_rows(tmp_path / "one.jsonl", 3), write_rows(tmp_path / "two.jsonl", 4)
    choose(one, two)
    click(qtbot, page.findChild(QWidget, "choose-files"))
    assert desk.session.spec.data.train == (str(one), str(two))
    choose(two)
    click(qtbot, page.findChild(QWidget, "add-train"))
    assert desk.session.spec.data.train == (str(one), str(two))
    click(qtbot, page.findChild(QWidget, "add-validation"))
    assert desk.session.spec.data.validation == (str(two),)
    assert set(desk.preferences.now.recent_data) == {str(one), str(two)}


def test_a_chip_goes_by_its_cross_and_by_delete(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    names = [str(write_rows(tmp_path / f"{name}.jsonl", 2)) for name in ("one", "two", "three")]
    desk.session.edit("data.train", tuple(names))
    chips = page.findChildren(QWidget, "chip-train")
    assert len(chips) == 3
    click(qtbot, chips[0].cross)  # type: ignore[attr-defined]
    assert desk.session.spec.data.train == tuple(names[1:])
    qtbot.waitUntil(lambda: len(visible(page, "chip-train")) == 2, timeout=WAIT_MS)
    chip = visible(page, "chip-train")[0]
    chip.setFocus()
    qtbot.keyClick(chip, Qt.Key.Key_Delete)
    assert desk.session.spec.data.train == (names[2],)
    qtbot.waitUntil(lambda: len(visible(page, "chip-train")) == 1, timeout=WAIT_MS)
    assert visible(page, "chip-train")[0].hasFocus(), "the focus goes to the neighbour"


def test_a_recent_file_comes_back_from_the_menu(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    path = str(write_rows(tmp_path / "rows.jsonl", 2))
    other = str(write_rows(tmp_path / "other.jsonl", 2))
    desk.preferences.remember("recent_data", other)
    desk.session.edit("data.train", (path,))
    assert page.findChild(QWidget, "recent-train").isVisible()
    menu = page.files._train.recent_menu()
    assert [action.toolTip() for action in menu.actions()] == [other]
    menu.actions()[0].trigger()
    assert desk.session.spec.data.train == (path, other)
    assert not page.findChild(QWidget, "recent-train").isVisible()


def test_another_chip_shows_another_file(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("question,answer\nWhy?,Because.\n", "utf-8")
    desk.session.edit("data.train", (str(write_rows(tmp_path / "one.jsonl", 3)), str(table)))
    wait_rows(qtbot, page, 3)
    chip = page.findChildren(QWidget, "chip-train")[1]
    qtbot.mouseClick(chip, Qt.MouseButton.LeftButton, pos=QPoint(12, 12))
    wait_rows(qtbot, page, 1)
    headings = [page.rows.model.headerData(place, Qt.Orientation.Horizontal) for place in range(2)]
    assert headings == ["question → Prompt", "answer → Answer"]
    assert chip.property("chosen") == "true"


def test_the_table_reads_on_as_one_scrolls(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    desk.session.edit("data.train", (str(write_rows(tmp_path / "long.jsonl", 1234)),))
    wait_rows(qtbot, page, 500)
    table = page.rows.table
    table.verticalScrollBar().setValue(table.verticalScrollBar().maximum())
    wait_rows(qtbot, page, 1000)
    table.verticalScrollBar().setValue(table.verticalScrollBar().maximum())
    wait_rows(qtbot, page, 1234)
    assert "1,234 rows" in texts(page.rows)
    assert page.rows.model.headerData(1233, Qt.Orientation.Vertical) == "1,234"


def test_broken_rows_are_marked_listed_and_found_again(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 700, broken=(4, 9, 20, 21, 22, 640))
    desk.session.edit("data.train", (str(path),))
    wait_rows(qtbot, page, 500)
    model = page.rows.model
    assert str(model.data(model.index(3, 0))).startswith("The line is not valid JSON")
    assert page.rows.table.columnSpan(3, 0) == 2
    assert len(page.problems.problems) == 5
    assert len(page.findChildren(QWidget, "problem-place")) == 3
    click(qtbot, page.findChild(QWidget, "more-problems"))
    qtbot.waitUntil(lambda: len(visible(page, "problem-place")) == 5, timeout=WAIT_MS)
    click(qtbot, visible(page, "problem-place")[1])
    assert page.rows.table.currentIndex().row() == 8
    # a row that is not in the table yet is read first
    page.problems.asked.emit(str(path), 640)
    qtbot.waitUntil(lambda: page.rows.table.currentIndex().row() == 639, timeout=WAIT_MS)


def test_broken_rows_can_be_skipped_from_the_list(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    desk.session.edit("data.train", (str(write_rows(tmp_path / "rows.jsonl", 30, broken=(4,))),))
    wait_rows(qtbot, page, 30)
    skip = page.findChild(QWidget, "skip-rows")
    assert skip.isVisible()
    click(qtbot, skip)
    assert desk.session.spec.data.bad_rows == "skip"
    qtbot.waitUntil(lambda: not skip.isVisible(), timeout=WAIT_MS)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.jsonl", None, "There is no"),
        ("empty.jsonl", b"", "empty"),
        ("archive.jsonl", b"PK\x03\x04 and so on", "ZIP archive"),
        ("odd.jsonl", b'{"alpha": "a", "beta": "b"}\n' * 3, "fit no known format"),
        ("bytes.jsonl", b"\xff\xfe\x00\x00 what", "UTF-32"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    qtbot: Any, desk: Any, page: DataPage, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    desk.session.edit("data.train", (str(path),))
    qtbot.waitUntil(lambda: bool(page.problems.problems), timeout=WAIT_MS)
    assert words in texts(page.problems)
    assert page.problems.isVisible()


def test_a_row_as_conversation_and_raw(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Because."}, {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "So it is."},
    ]  # fmt: skip
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n", "utf-8")
    desk.session.edit("data.train", (str(path),))
    wait_sample(qtbot, page)
    sample = page.rows.sample
    shown = texts(sample)
    for word in ("System", "Be brief.", "User", "Why?", "Assistant", "So it is."):
        assert word in shown
    assert shown.count("trained") == 2
    click(qtbot, sample.modes.button("raw"))
    assert json.loads(sample.raw.toPlainText()) == {"messages": turns}


def test_tokens_ask_for_a_model_first(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    desk.session.edit("data.train", (str(write_rows(tmp_path / "rows.jsonl", 3)),))
    wait_sample(qtbot, page)
    click(qtbot, page.rows.sample.modes.button("tokens"))
    assert "No base model yet" in texts(page.rows.sample)
    with qtbot.waitSignal(desk.went) as went:
        click(qtbot, page.rows.sample.findChild(QWidget, "choose-model"))
    assert went.args == ["model"]
    assert "Tokens can be counted once a base model is chosen." in texts(page.lengths)


def test_settings_are_edited_where_they_stand(qtbot: Any, desk: Any, page: DataPage) -> None:
    click(qtbot, page.findChild(QWidget, "data.train_on-all"))
    assert desk.session.spec.data.train_on == "all"
    templates = page.findChild(QWidget, "data.template")
    values = [templates.itemData(place) for place in range(templates.count())]  # type: ignore[attr-defined]
    assert values[:2] == ["auto", "none"]
    assert "chatml" in values
    templates.setFocus()
    qtbot.keyClick(templates, Qt.Key.Key_Down)
    assert desk.session.spec.data.template == "none"


def test_weights_of_files_are_written_as_pairs(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / name, 3) for name in ("a.jsonl", "b.jsonl")]
    desk.session.edit("data.train", tuple(map(str, paths)))
    click(qtbot, page.findChild(QWidget, "more-data"))
    field: Any = page.findChild(QWidget, "data.weights")
    assert field.isVisible()

    def write(text: str) -> None:
        field.setFocus()
        field.selectAll()
        qtbot.keyClicks(field, text)
        qtbot.keyClick(field, Qt.Key.Key_Return)

    write("a.jsonl: 2, b.jsonl: 0.5")
    assert desk.session.spec.data.weights == {"a.jsonl": 2, "b.jsonl": 0.5}
    write("a.jsonl: many")
    assert field.property("state") == "bad"
    assert "a.jsonl: many" in field.toolTip()
    assert desk.session.spec.data.weights == {"a.jsonl": 2, "b.jsonl": 0.5}, "what makes no sense changes nothing"
    write(f"{paths[0]}: 3")
    assert desk.session.spec.data.weights == {str(paths[0]): 3}


def test_another_encoding_reads_the_file_again(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_bytes('{"prompt": "Grüße", "completion": "schön"}\n'.encode("cp1252") * 3)
    desk.session.edit("data.train", (str(path),))
    qtbot.waitUntil(lambda: any("not UTF-8" in item.message for item in page.rows.problems), timeout=WAIT_MS)
    desk.session.edit("data.encoding", "windows_1252")
    qtbot.waitUntil(lambda: not page.rows.problems, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "schön" in texts(page.rows.sample), timeout=WAIT_MS)


def test_a_template_file_is_chosen_and_refused_when_the_dialog_is_left(
    qtbot: Any, desk: Any, page: DataPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates: Any = page.findChild(QWidget, "data.template")
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages }}", "utf-8")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    templates.activated.emit(templates.count() - 1)
    assert desk.session.spec.data.template == "auto"
    assert templates.currentData() == "auto"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    templates.activated.emit(templates.count() - 1)
    assert desk.session.spec.data.template == str(path)
    assert templates.currentText() == "mine.jinja"


def test_the_share_held_back_gives_way_to_files(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    desk.session.edit("data.train", (str(write_rows(tmp_path / "rows.jsonl", 3)),))
    share = page.findChild(QWidget, "data.validation_share")
    assert share.isVisible()
    desk.session.edit("data.validation", (str(write_rows(tmp_path / "held.jsonl", 3)),))
    assert not share.isVisible()


def test_the_page_can_be_made_anew(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    desk.session.edit("data.train", (str(write_rows(tmp_path / "rows.jsonl", 3)),))
    wait_rows(qtbot, page, 3)
    click(qtbot, page.rows.sample.modes.button("raw"))
    again = DataPage(desk)
    qtbot.addWidget(again)
    again.show()
    wait_rows(qtbot, again, 3)
    assert again.rows.sample.modes.value() == "raw"
    again.close_page()


def test_unknown_columns_are_asked_for(qtbot: Any, desk: Any, page: DataPage, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"alpha": "Why?", "beta": "Because.", "note": "x"}\n' * 3, "utf-8")
    desk.session.edit("data.train", (str(path),))
    wait_sample(qtbot, page)
    assert "Not recognised yet" in texts(page.rows.sample)
    take = page.findChild(QWidget, "use-columns")
    assert take.isVisible()
    prompt: Any = page.findChild(QWidget, "column-prompt")
    text: Any = page.findChild(QWidget, "column-text")
    answer: Any = page.findChild(QWidget, "column-completion")
    assert (prompt.currentText(), answer.currentText()) == ("alpha", "beta")
    text.setFocus()
    qtbot.keyClick(text, Qt.Key.Key_Down)
    assert prompt.currentText() == "", "running text takes the place of a prompt"
    assert take.isEnabled()
    prompt.setFocus()
    qtbot.keyClick(prompt, Qt.Key.Key_Down)
    assert text.currentText() == ""
    assert not take.isEnabled(), "a prompt alone teaches nothing"
    answer.setFocus()
    qtbot.keyClick(answer, Qt.Key.Key_Down)
    assert not take.isEnabled(), "one column cannot be both"
    qtbot.keyClick(answer, Qt.Key.Key_Down)
    assert visible(page, "preview-completion")[0].full_text() == "→ Because."  # type: ignore[attr-defined]
    click(qtbot, take)
    assert desk.session.spec.data.mapping == {"prompt": "alpha", "completion": "beta"}
    qtbot.waitUntil(lambda: "Because." in texts(page.rows.sample), timeout=WAIT_MS)
    assert not page.findChild(QWidget, "use-columns").isVisible()
    assert not page.problems.problems
