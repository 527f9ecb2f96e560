"""Tokens, counts and lengths on the Data page, with the real starter model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from studio.pages.data.files_card import use_sample_set
from studio.pages.data.page import DataPage
from studio.pages.data.token_view import MOST_SHOWN, Piece, TokenView

WAIT_MS = 30_000


@pytest.fixture
def page(qtbot: Any, starter_home: Path, desk: Any, settled: Callable[[], None]) -> Iterator[DataPage]:
    """The page with the sample set and the starter model, everything counted."""
    use_sample_set(desk)
    desk.session.edit("model.base", "starter")
    desk.session.begin()
    made = DataPage(desk)
    made.resize(840, 900)
    qtbot.addWidget(made)
    made.show()
    settled()
    assert desk.session.data is not None
    yield made
    made.close_page()


def words(page: QWidget, name: str) -> str:
    found = page.findChild(QLabel, name)
    assert found is not None
    return found.text()


def pieces_of(qtbot: Any, page: DataPage) -> tuple[Piece, ...]:
    view = page.rows.sample.tokens.view
    qtbot.waitUntil(lambda: bool(view.pieces), timeout=WAIT_MS)
    return view.pieces


def test_the_counts_are_those_of_the_engine(page: DataPage, desk: Any) -> None:
    train = desk.session.data.train
    assert words(page, "count-rows") == "846"
    assert words(page, "count-tokens") == f"{train.tokens:,}"
    assert words(page, "count-supervised") == f"{train.supervised_tokens:,}"
    assert words(page, "count-longest") == f"{train.longest:,}"
    assert words(page, "count-p95") == f"{train.p95:,}"
    assert words(page, "count-cut") == "0"
    assert words(page, "count-rows-validation") == "80"


def test_every_token_is_shown_with_its_mark(qtbot: Any, page: DataPage) -> None:
    pieces = pieces_of(qtbot, page)
    raw = json.loads(page.rows.sample.raw.toPlainText())
    answer = raw["messages"][1]["content"]
    trained = "".join(piece.text for piece in pieces if piece.kind == "trained")
    assert trained == answer + "<|im_end|>"
    special = [piece for piece in pieces if piece.special]
    assert {piece.text for piece in special} == {"<|im_start|>", "<|im_end|>"}
    assert special[-1].kind == "trained", "the end of the turn is learned"
    assert "".join(piece.text for piece in pieces).startswith("<|im_start|>system")


def test_a_lower_limit_strikes_tokens_out(qtbot: Any, page: DataPage, desk: Any) -> None:
    before = pieces_of(qtbot, page)
    desk.session.edit("data.max_length", 64)
    view = page.rows.sample.tokens.view
    qtbot.waitUntil(lambda: any(piece.kind == "cut" for piece in view.pieces), timeout=WAIT_MS)
    assert [piece.kind for piece in view.pieces].index("cut") == 64
    assert [piece.id for piece in view.pieces] == [piece.id for piece in before]


def test_training_everything_marks_everything_but_the_first(qtbot: Any, page: DataPage, desk: Any) -> None:
    pieces_of(qtbot, page)
    desk.session.edit("data.train_on", "all")
    view = page.rows.sample.tokens.view
    qtbot.waitUntil(lambda: all(piece.kind == "trained" for piece in view.pieces[1:]), timeout=WAIT_MS)
    assert view.pieces[0].kind == "masked"


def test_counting_can_be_cancelled_and_taken_up_again(
    qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    desk.session.refresh("data")
    cancel = page.findChild(QWidget, "cancel-counting")
    assert cancel.isVisible()
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert desk.session.data is None
    assert not desk.session.is_reading
    again = page.findChild(QWidget, "count-action")
    qtbot.waitUntil(again.isVisible, timeout=WAIT_MS)
    qtbot.mouseClick(again, Qt.MouseButton.LeftButton)
    settled()
    assert desk.session.data is not None
    assert words(page, "count-rows") == "846"


def test_numbers_of_other_rows_do_not_stay(qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]) -> None:
    tokens = page.findChild(QLabel, "count-tokens")
    before = tokens.text()
    desk.session.edit("data.max_length", 1024)
    qtbot.waitUntil(lambda: "data" in desk.session.busy, timeout=WAIT_MS)
    assert tokens.isVisible(), "another limit: the same rows"
    settled()
    desk.session.edit("data.train", (desk.session.spec.data.validation[0],))
    assert not tokens.isVisible()
    settled()
    qtbot.waitUntil(tokens.isVisible, timeout=WAIT_MS)
    assert tokens.text() != before


def test_a_template_that_refuses_the_row_says_so(qtbot: Any, page: DataPage, desk: Any, tmp_path: Path) -> None:
    pieces_of(qtbot, page)
    page.rows.sample.modes.button("tokens").click()
    path = tmp_path / "mean.jinja"
    path.write_text("{{ raise_exception('no such luck') }}", "utf-8")
    desk.session.edit("data.template", str(path))
    tokens = page.rows.sample.tokens
    qtbot.waitUntil(
        lambda: any("no such luck" in label.text() for label in tokens.findChildren(QLabel) if label.isVisible()),
        timeout=WAIT_MS,
    )


# ------------------------------------------------------------------------------------------------ widgets alone


def test_the_token_view_walks_by_keys_and_names_tokens(qtbot: Any) -> None:
    view = TokenView()
    qtbot.addWidget(view)
    view.resize(200, 120)
    view.show()
    kinds = ("masked", "trained", "cut")
    qtbot.waitExposed(view)
    view.show_pieces([Piece(f"tok{i}\n" if i % 7 == 0 else f" tok{i}", i, kinds[i % 3], i == 1) for i in range(300)])
    said: list[str] = []
    view.pointed.connect(said.append)
    view.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_End):
        qtbot.keyClick(view, key)
    assert [sentence.split("·")[1].strip() for sentence in said] == ["id 0", "id 1", "id 2", "id 1", "id 299"]
    assert "special · trained" in said[1]
    assert "tok0↵" in said[0]
    assert view.box_of(299).bottom() <= view.viewport().height() + 1, "the marked token is in sight"
    QApplication.processEvents()  # the scroll bar comes, the lines break anew, and the mark stays in sight
    assert 0 <= view.box_of(299).top() < view.viewport().height()
    qtbot.mouseMove(view.viewport(), view.box_of(298).center().toPoint())
    assert "id 298" in said[-1]
    assert not view.grab().isNull()


def test_a_huge_row_is_shown_by_its_beginning(qtbot: Any) -> None:
    view = TokenView()
    qtbot.addWidget(view)
    view.show_pieces([Piece("x", i, "trained") for i in range(3 * MOST_SHOWN)])
    assert len(view.pieces) == MOST_SHOWN
