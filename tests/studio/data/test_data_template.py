"""The chat template on the Data page: which one applies, editing it on a row of one's own, and what hostile ones do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QLineEdit, QWidget

from core.data.templates import builtin_templates
from core.facts.model_files import read_model
from core.spec.demo import demo_spec
from studio.pages.data.page import DataPage
from studio.pages.data.template_dialog import TemplateDialog
from studio.widgets.basics import column
from studio.widgets.code_edit import CodeEdit

WAIT_MS = 20_000
TEXT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}\n{% endfor %}"


@pytest.fixture
def page(qtbot: Any, desk: Any, starter_home: Path, settled: Callable[[], None]) -> Iterator[DataPage]:
    desk.session.set_spec(demo_spec("starter"))
    settled()
    made = DataPage(desk)
    made.resize(840, 900)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    qtbot.waitUntil(lambda: made.rows.current()[0] is not None, timeout=WAIT_MS)
    yield made
    made.close_page()


def click(qtbot: Any, widget: QWidget) -> None:
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def opened(qtbot: Any, page: DataPage) -> TemplateDialog:
    click(qtbot, page.findChild(QWidget, "edit-template"))
    dialog = page.template.dialog
    assert dialog is not None
    qtbot.waitUntil(dialog.editor.isEnabled, timeout=WAIT_MS)
    wait_tried(qtbot, dialog)
    return dialog


def wait_tried(qtbot: Any, dialog: TemplateDialog) -> None:
    qtbot.waitUntil(lambda: not dialog.trials.is_busy and dialog._tried.text == dialog.text(), timeout=WAIT_MS)


def type_all(qtbot: Any, dialog: TemplateDialog, text: str) -> None:
    """Replaces the text as a person would: select all, then paste."""
    dialog.editor.setFocus()
    qtbot.keySequence(dialog.editor, QKeySequence.StandardKey.SelectAll)
    QApplication.clipboard().setText(text)
    qtbot.keySequence(dialog.editor, QKeySequence.StandardKey.Paste)
    assert dialog.text() == text
    wait_tried(qtbot, dialog)


def shown(dialog: TemplateDialog) -> str:
    return "".join(piece.text for piece in dialog.panel.view.pieces)


def words(widget: QWidget) -> str:
    return "\n".join(item.text() for item in widget.findChildren(QLabel) if item.isVisible())


def test_the_card_says_which_template_applies_and_where_it_came_from(
    qtbot: Any, page: DataPage, desk: Any, starter: Path, settled: Callable[[], None], tmp_path: Path
) -> None:
    origin = page.findChild(QLabel, "template-origin")
    assert f"from its file {read_model(starter).template_origin}" in origin.text()
    assert not page.findChild(QWidget, "own-template").isVisible()
    desk.session.edit("data.template", "chatml")
    assert "“chatml” comes with this application" in origin.text()
    click(qtbot, page.findChild(QWidget, "tools-as-text"))
    assert desk.session.spec.data.template == "chatml+tools"
    assert "tools are written as text" in origin.text()
    desk.session.edit("data.template", TEXT)
    assert "Edited here" in origin.text()
    assert page.template.field.editor.list.currentText() == "Edited here"  # type: ignore[attr-defined]
    assert not page.findChild(QWidget, "tools-as-text").isVisible()
    path = tmp_path / "mine.jinja"
    path.write_text(TEXT, "utf-8")
    desk.session.edit("data.template", str(path))
    assert str(path) in origin.text()
    click(qtbot, page.findChild(QWidget, "own-template"))
    assert desk.session.spec.data.template == "auto"


def test_a_base_model_without_a_template_is_warned_about(
    qtbot: Any, page: DataPage, desk: Any, starter: Path, settled: Callable[[], None], tmp_path: Path
) -> None:
    import json

    base = tmp_path / "base"
    base.mkdir()
    for path in starter.iterdir():
        if path.name not in ("chat_template.jinja", "tokenizer_config.json"):
            (base / path.name).symlink_to(path)
    settings = json.loads((starter / "tokenizer_config.json").read_text("utf-8"))
    settings.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    desk.session.edit("model.base", str(base))
    settled()
    origin = page.findChild(QLabel, "template-origin")
    assert "has no chat template of its own, so “plain” is used" in origin.text()
    assert origin.property("role") == "warn"
    dialog = opened(qtbot, page)
    assert shown(dialog).startswith("### User:")
    assert not dialog.reset.isVisible()
    assert "“plain”" in dialog.state.text()


def test_typing_shows_at_once_what_becomes_of_the_row(qtbot: Any, page: DataPage, desk: Any) -> None:
    dialog = opened(qtbot, page)
    assert shown(dialog).startswith("<|im_start|>system")
    assert "model’s own" in dialog.state.text()
    assert "adds a text of its own: “You are a helpful AI assistant" in words(dialog.panel)
    sample, place = page.rows.current()
    assert sample is not None
    assert place in words(dialog)
    type_all(qtbot, dialog, TEXT)
    question, answer = (message.content for message in sample.messages)
    assert shown(dialog) == f"[user] {question}<|im_end|>\n[assistant] {answer}<|im_end|>\n"
    trained = "".join(piece.text for piece in dialog.panel.view.pieces if piece.kind == "trained")
    assert answer in trained
    assert question not in trained
    assert desk.session.spec.data.template == "auto", "nothing is changed before it is used"
    dialog.editor.moveCursor(dialog.editor.textCursor().MoveOperation.Start)
    qtbot.keyClicks(dialog.editor, "!!")
    qtbot.waitUntil(lambda: shown(dialog).startswith("!![user]"), timeout=WAIT_MS)
    wait_tried(qtbot, dialog)
    click(qtbot, dialog.use)
    assert desk.session.spec.data.template == "!!" + TEXT
    assert page.template.dialog is None
    desk.session.undo()
    assert desk.session.spec.data.template == "auto"


def test_known_texts_are_recorded_by_their_names_and_cancel_changes_nothing(
    qtbot: Any, page: DataPage, desk: Any
) -> None:
    dialog = opened(qtbot, page)
    names = [dialog.start.itemData(place) for place in range(dialog.start.count())]
    assert names == ["", "auto", *builtin_templates()]
    dialog.start.activated.emit(names.index("zephyr"))
    qtbot.waitUntil(lambda: "Zephyr" in dialog.text(), timeout=WAIT_MS)
    wait_tried(qtbot, dialog)
    assert "“zephyr”" in dialog.state.text()
    click(qtbot, dialog.use)
    assert desk.session.spec.data.template == "zephyr"
    dialog = opened(qtbot, page)
    assert "Zephyr" in dialog.text()
    click(qtbot, dialog.reset)
    qtbot.waitUntil(lambda: "SmolLM" in dialog.text(), timeout=WAIT_MS)
    wait_tried(qtbot, dialog)
    click(qtbot, dialog.findChild(QWidget, "cancel-template"))
    assert desk.session.spec.data.template == "zephyr"
    dialog = opened(qtbot, page)
    click(qtbot, dialog.reset)
    qtbot.waitUntil(lambda: "SmolLM" in dialog.text(), timeout=WAIT_MS)
    wait_tried(qtbot, dialog)
    qtbot.keyClick(dialog, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert desk.session.spec.data.template == "auto"


@pytest.mark.parametrize(
    ("text", "line", "said", "is_usable"),
    [
        ("{% for m in messages %}\n{{ m.role }\n{% endfor %}", 2, "not valid Jinja", False),
        ("{{ messages }}\n{{ messages.__class__.__mro__ }}", 2, "unsafe", True),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{ messages }}",
            0,
            "t",  # too many turns, or too long, whichever comes first
            True,
        ),
        ("{{ messages }}{{ 'a' * 10**12 }}", 1, "characters", True),
        ("hello", 0, "neither", False),
    ],
    ids=["syntax", "attributes", "endless", "memory", "no template"],
)
def test_bad_and_hostile_templates_end_in_words_while_the_window_goes_on(
    qtbot: Any, page: DataPage, desk: Any, text: str, line: int, said: str, is_usable: bool
) -> None:
    dialog = opened(qtbot, page)
    type_all(qtbot, dialog, text)
    assert said in words(dialog.panel)
    assert dialog.editor.wrong_line == line
    assert dialog.use.isEnabled() is is_usable
    assert dialog.go_to.isVisible() is (line > 0)
    if line:
        dialog.editor.clearFocus()
        click(qtbot, dialog.go_to)
        assert dialog.editor.textCursor().blockNumber() + 1 == line
        assert dialog.editor.hasFocus()
    assert not dialog.grab().isNull()
    type_all(qtbot, dialog, TEXT)
    assert dialog.editor.wrong_line == 0
    assert dialog.use.isEnabled()
    dialog.reject()


def test_the_main_thread_goes_on_while_a_slow_template_is_tried(qtbot: Any, page: DataPage) -> None:
    dialog = opened(qtbot, page)
    slow = "{% for a in range(99999) %}{% set x = ('a' * 1000000) | upper %}{% endfor %}{{ messages }}"
    dialog.editor.setPlainText(slow)
    beats: list[int] = []
    from PySide6.QtCore import QTimer

    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(1))
    timer.start(20)
    qtbot.waitUntil(lambda: not dialog.trials.is_busy, timeout=WAIT_MS)
    timer.stop()
    assert len(beats) > 20
    assert "takes too long" in words(dialog.panel)
    dialog.reject()


def test_a_template_is_saved_as_a_file(
    qtbot: Any, page: DataPage, desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = opened(qtbot, page)
    type_all(qtbot, dialog, TEXT)
    said: list[Any] = []
    desk.notified.connect(said.append)
    for target, is_written in ((tmp_path / "mine", True), (tmp_path / "missing" / "x.jinja", False)):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, target=target: (str(target), ""))
        click(qtbot, dialog.save)
        assert target.with_suffix(".jinja").is_file() is is_written
    assert (tmp_path / "mine.jinja").read_text("utf-8") == TEXT
    assert [notice.severity.value for notice in said] == ["info", "error"]
    dialog.reject()


def test_without_a_model_the_text_cannot_be_edited(qtbot: Any, desk: Any, lowrank_home: Path) -> None:
    page = DataPage(desk)
    qtbot.addWidget(page)
    assert not page.template.edit_button.isEnabled()
    assert "base model" in page.template.edit_button.toolTip()
    page.close_page()


def test_the_editor_counts_lines_and_keeps_the_indentation(qtbot: Any) -> None:
    editor, other = CodeEdit(), QLineEdit()
    holder = QWidget()
    holder.setLayout(column(editor, other))
    qtbot.addWidget(holder)
    holder.resize(400, 200)
    holder.show()
    qtbot.waitExposed(holder)
    editor.setPlainText("{# a remark\n over lines #}\n    {{ 'x' }}")
    editor.moveCursor(editor.textCursor().MoveOperation.End)
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.keyClicks(editor, "{% if")
    assert editor.toPlainText().splitlines()[-1] == "    {% if"
    narrow = editor.number_width()
    editor.setPlainText("\n" * 1200)
    assert editor.number_width() > narrow
    editor.mark_line(700)
    assert editor.wrong_line == 700
    editor.go_to(700)
    assert not editor.grab().isNull()
    editor.mark_line(5000)
    assert editor.wrong_line == 0
    qtbot.keyClick(editor, Qt.Key.Key_Tab)
    assert "\t" not in editor.toPlainText(), "Tab leaves the field"
