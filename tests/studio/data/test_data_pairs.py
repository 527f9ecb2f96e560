"""Preference pairs on the Data page: both answers in words and as tokens, their columns, and the way there and back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

from core.spec.run_spec import field_at
from studio.forms.editors import ChoiceEditor
from studio.look.theme import apply_look
from studio.pages.data.page import DataPage
from studio.pages.data.token_view import Piece, TokenView, most_shown
from studio.widgets.basics import LinkLabel

WAIT_MS = 30_000
ROW = {"question": "Which way?", "chosen": "Left, I think.", "rejected": "No idea at all."}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [{**ROW, "question": f"Which way, for the {place}th time?"} for place in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def page(qtbot: Any, starter_home: Path, desk: Any, settled: Callable[[], None], pairs: Path) -> Iterator[DataPage]:
    """The page with pairs of which only the chosen answers are trained, and the starter model."""
    desk.session.edit("data.train", (str(pairs),))
    desk.session.edit("data.validation_share", 0.0)
    desk.session.edit("model.base", "starter")
    desk.session.begin()
    made = DataPage(desk)
    made.resize(840, 900)
    qtbot.addWidget(made)
    made.show()
    settled()
    wait_tokens(qtbot, made)
    yield made
    made.close_page()


def wait_tokens(qtbot: Any, page: DataPage) -> None:
    qtbot.waitUntil(lambda: bool(page.rows.sample.tokens.view.pieces), timeout=WAIT_MS)


def learn_both(qtbot: Any, page: DataPage, settled: Callable[[], None]) -> None:
    """Clicks the fix of the note."""
    (link,) = [item for item in page.problems.findChildren(LinkLabel) if item.text() == "Learn from both answers"]
    qtbot.waitUntil(link.isVisible, timeout=WAIT_MS)
    qtbot.mouseClick(link, Qt.MouseButton.LeftButton)
    wait_bubbles(qtbot, page, 3)
    settled()


def wait_bubbles(qtbot: Any, page: DataPage, count: int) -> None:
    qtbot.waitUntil(lambda: len(page.rows.sample.conversation.bubbles) == count, timeout=WAIT_MS)


def texts(widget: QWidget) -> list[str]:
    return [item.text() for item in widget.findChildren(QLabel) if item.text()]


def test_the_note_leads_to_both_answers_and_train_on_leads_back(
    qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    learn_both(qtbot, page, settled)
    assert desk.session.spec.data.train_on == "preferences"
    assert not any("are not used" in problem.message for problem in page.problems.problems)
    assert desk.session.data.train.rows == 6
    choice = next(item for item in page.findChildren(QAbstractButton) if item.text() == "Answers only")
    qtbot.mouseClick(choice, Qt.MouseButton.LeftButton)
    assert desk.session.spec.data.train_on == "completions"
    wait_bubbles(qtbot, page, 2)
    settled()
    qtbot.waitUntil(
        lambda: any("are not used" in problem.message for problem in page.problems.problems), timeout=WAIT_MS
    )


def test_the_prompt_is_shown_once_and_the_answers_are_named(
    qtbot: Any, page: DataPage, settled: Callable[[], None]
) -> None:
    learn_both(qtbot, page, settled)
    asked, chosen, rejected = page.rows.sample.conversation.bubbles
    assert "Which way, for the 0th time?" in texts(asked)
    assert {"Chosen", "trained towards", "Left, I think."} <= {*texts(chosen)}
    assert {"Rejected", "trained away from", "No idea at all."} <= {*texts(rejected)}
    assert chosen.accessibleName() == "Chosen: Left, I think."
    assert rejected.accessibleName() == "Rejected: No idea at all."
    assert not page.rows.sample.grab().isNull()


def test_both_documents_are_shown_as_tokens_with_their_masks(
    qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    alone = page.rows.sample.tokens.view.pieces
    learn_both(qtbot, page, settled)
    view = page.rows.sample.tokens.view
    qtbot.waitUntil(lambda: len(view.pieces) > len(alone), timeout=WAIT_MS)
    assert view.pieces[: len(alone)] == alone
    worse = view.pieces[len(alone) :]
    assert "".join(piece.text for piece in worse if piece.kind == "trained") == "No idea at all.<|im_end|>"
    prompt = "".join(piece.text for piece in alone).partition("Left")[0]
    assert "".join(piece.text for piece in worse).startswith(prompt)
    trained = sum(piece.kind == "trained" for piece in view.pieces)
    assert trained * 6 == desk.session.data.train.supervised_tokens, "what is shown is what is trained"
    lines = page.rows.sample.tokens.count.text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Chosen", "Rejected"]
    desk.session.edit("data.max_length", 24)
    qtbot.waitUntil(lambda: [piece.kind for piece in view.pieces].count("cut") > 0, timeout=WAIT_MS)
    kinds = [piece.kind for piece in view.pieces]
    assert kinds.index("cut") == 24
    assert kinds[len(alone) :].index("cut") == 24, "each is cut by itself"
    assert "This pair is left out" in page.rows.sample.tokens.count.text()


def test_lengths_are_of_single_answers_and_that_is_said(
    qtbot: Any, page: DataPage, settled: Callable[[], None]
) -> None:
    words = page.findChild(QLabel, "lengths-of-pairs")
    assert not words.isVisible()
    learn_both(qtbot, page, settled)
    qtbot.waitUntil(words.isVisible, timeout=WAIT_MS)
    assert page.lengths.histogram.lengths.total_rows == 12
    assert "12 answers" in page.lengths.histogram.accessibleName()


def test_the_template_editor_writes_both_answers(
    qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    from studio.pages.data.template_dialog import TemplateDialog

    learn_both(qtbot, page, settled)
    sample, place = page.rows.current()
    dialog = TemplateDialog(desk, desk.session.model, sample, place, page)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: bool(dialog.panel.view.pieces), timeout=WAIT_MS)
    shown = "".join(piece.text for piece in dialog.panel.view.pieces)
    assert "Left, I think." in shown
    assert "No idea at all." in shown
    dialog.close()


# ------------------------------------------------------------------------------------------------ columns


def part_fields(page: DataPage) -> list[str]:
    return [part for part, field in page.rows.columns.fields.items() if field.isVisible()]


def test_the_fields_are_those_of_pairs_while_preferences_are_learned(
    qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    learn_both(qtbot, page, settled)
    page.rows.choice.begin()
    assert part_fields(page) == ["prompt", "chosen", "rejected", "system", "messages"]
    fields = page.rows.columns
    assert fields.mapping() == {"prompt": "question", "chosen": "chosen", "rejected": "rejected"}
    fields.fields["rejected"].setEditText("")
    assert not fields.take.isEnabled(), "half a pair"
    fields.fields["rejected"].setEditText("chosen")
    assert not fields.take.isEnabled(), "one column cannot be both"
    fields.fields["chosen"].setEditText("rejected")
    assert fields.take.isEnabled()
    qtbot.mouseClick(fields.take, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: page.rows.current()[0] is not None and page.rows.current()[0].messages[-1].content == ROW["rejected"],
        timeout=WAIT_MS,
    )
    assert desk.session.spec.data.mapping == {"prompt": "question", "chosen": "rejected", "rejected": "chosen"}
    settled()


def test_unknown_columns_are_asked_for_as_a_pair(qtbot: Any, desk: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps({"frage": "Wohin?", "gut": "Links.", "schlecht": "Weiss nicht."}) + "\n", "utf-8")
    desk.session.edit("data.train_on", "preferences")
    desk.session.edit("data.train", (str(path),))
    page = DataPage(desk)
    qtbot.addWidget(page)
    page.resize(840, 900)
    page.show()
    fields = page.rows.columns
    qtbot.waitUntil(fields.isVisible, timeout=WAIT_MS)
    assert "Which columns hold the two answers?" in texts(fields)
    assert fields.mapping() == {"prompt": "frage", "chosen": "gut", "rejected": "schlecht"}
    qtbot.mouseClick(fields.take, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.rows.current()[0] is not None, timeout=WAIT_MS)
    sample = page.rows.current()[0]
    assert sample is not None
    assert (sample.messages[-1].content, sample.rejected[-1].content) == ("Links.", "Weiss nicht.")
    page.close_page()


@pytest.mark.parametrize("train_on", ["completions", "last", "all", "preferences"])
def test_a_mapping_of_a_pair_is_shown_whatever_is_learned(qtbot: Any, desk: Any, pairs: Path, train_on: str) -> None:
    desk.session.edit("data.train", (str(pairs),))
    desk.session.edit("data.train_on", train_on)
    mapping = {"prompt": "question", "chosen": "chosen", "rejected": "rejected"}
    desk.session.edit("data.mapping", mapping)
    page = DataPage(desk)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(lambda: page.rows.model.rowCount() == 6, timeout=WAIT_MS)
    page.rows.choice.begin()
    assert page.rows.columns.mapping() == mapping
    assert {"chosen", "rejected"} <= {*part_fields(page)}
    assert {"Chosen answer", "Rejected answer"} <= {action.text() for action in page.rows.choice.menu(1).actions()}
    page.close_page()


# ------------------------------------------------------------------------------------------------ widgets alone


def test_the_keys_walk_from_one_answer_into_the_other_and_say_which_it_is(qtbot: Any) -> None:
    view = TokenView()
    qtbot.addWidget(view)
    view.resize(200, 120)
    view.show()
    qtbot.waitExposed(view)
    view.show_pieces([Piece(" a", 1, "masked"), Piece(" b", 2, "trained")], [Piece(" c", 3, "trained")])
    said: list[str] = []
    view.pointed.connect(said.append)
    view.setFocus()
    for _ in range(3):
        qtbot.keyClick(view, Qt.Key.Key_Right)
    assert [words.partition(":")[0] for words in said] == ["Chosen", "Chosen", "Rejected"]
    assert view.box_of(2).top() > view.box_of(1).bottom() + view.box_of(1).height() / 2, "its heading is between"
    QApplication.processEvents()
    assert not view.grab().isNull()
    view.show_pieces([Piece(" a", 1, "masked")])
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert "Chosen" not in said[-1]


def test_two_huge_answers_are_both_shown_by_their_beginnings(qtbot: Any) -> None:
    view = TokenView()
    qtbot.addWidget(view)
    most = most_shown(is_pair=True)
    view.show_pieces([Piece("x", 1, "trained")] * 3 * most, [Piece("y", 2, "trained")] * 3 * most)
    assert [sum(piece.text == text for piece in view.pieces) for text in "xy"] == [most, most]


def test_what_is_trained_is_chosen_from_a_list_where_a_row_of_buttons_would_be_too_long(qtbot: Any, qapp: Any) -> None:
    info = field_at("data.train_on")
    for scale in (1.0, 1.3):
        apply_look(qapp, "light", scale)
        editor = ChoiceEditor(info)
        qtbot.addWidget(editor)
        assert editor.segments is not None, scale
    apply_look(qapp, "light", 1.5)
    editor = ChoiceEditor(info)
    qtbot.addWidget(editor)
    editor.show_value("preferences")
    assert editor.segments is None
    assert editor.list is not None
    assert editor.list.currentText() == "Preferences"
    with qtbot.waitSignal(editor.edited) as told:
        editor.list.activated.emit(0)
    assert told.args == ["completions"]
