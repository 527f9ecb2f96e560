"""The length histogram: its bars, its limit in the hand of mouse and keys, and what that limit costs while it moves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QLabel, QWidget

from core.data.report.types import Cut, Lengths
from studio.look.theme import look
from studio.pages.data.bars import axis_of, bars_of
from studio.pages.data.files_card import use_sample_set
from studio.pages.data.histogram import LengthHistogram, cut_words, enough_for, nice_limit
from studio.pages.data.page import DataPage

WAIT_MS = 30_000
SOME = Lengths((50, 100, 200, 300), (10, 40, 30, 20))


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
    yield made
    made.close_page()


@pytest.fixture
def histogram(qtbot: Any) -> LengthHistogram:
    made = LengthHistogram()
    qtbot.addWidget(made)
    made.resize(400, 200)
    made.show()
    qtbot.waitExposed(made)
    made.show_lengths(SOME, 240)
    return made


def number(page: QWidget, name: str) -> int:
    found = page.findChild(QLabel, name)
    assert found is not None
    return int(found.text().replace(",", ""))


def knob(histogram: LengthHistogram) -> QPoint:
    return histogram.limit_place().toPoint() + QPoint(0, 20)


def at(histogram: LengthHistogram, length: float) -> QPoint:
    return histogram.place_of(length).toPoint()


# ----------------------------------------------------------------------------------------------------- on the page


def test_while_the_limit_is_dragged_its_cost_is_shown_and_the_spec_waits(
    qtbot: Any, page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    histogram = page.lengths.histogram
    exact = desk.session.lengths[0]
    before = desk.session.spec.data.max_length
    qtbot.mousePress(histogram, Qt.MouseButton.LeftButton, pos=knob(histogram))
    seen = []
    for length in (400, 200, 128):
        qtbot.mouseMove(histogram, at(histogram, length))
        cut = exact.cut(histogram.limit)
        assert abs(histogram.limit - length) <= 16
        assert (number(page, "count-cut"), number(page, "count-lost")) == (cut.rows, cut.tokens)
        assert f"{cut.rows:,} rows cut, {cut.tokens:,} tokens lost" in histogram.accessibleDescription()
        assert desk.session.spec.data.max_length == before, "nothing is read anew while the line is in the hand"
        seen.append(cut.rows)
    assert 0 < seen[0] < seen[1] < seen[2]
    qtbot.mouseRelease(histogram, Qt.MouseButton.LeftButton, pos=at(histogram, 128))
    assert desk.session.spec.data.max_length == histogram.limit < before
    settled()
    facts = desk.session.data.train
    assert facts.truncated_rows == number(page, "count-cut") == seen[2], "what was shown is what the engine counts"
    assert facts.lost_tokens == number(page, "count-lost")
    assert histogram.lengths == exact, "the bars are those of the uncut rows, so that the limit can be dragged back"
    assert desk.session.undo()
    assert histogram.limit == before
    assert (number(page, "count-cut"), number(page, "count-lost")) == (0, 0)


def test_escape_puts_the_limit_back(qtbot: Any, page: DataPage, desk: Any) -> None:
    histogram = page.lengths.histogram
    before = desk.session.spec.data.max_length
    histogram.setFocus()
    qtbot.mousePress(histogram, Qt.MouseButton.LeftButton, pos=knob(histogram))
    qtbot.mouseMove(histogram, at(histogram, 100))
    assert number(page, "count-cut") > 0
    qtbot.keyClick(histogram, Qt.Key.Key_Escape)
    assert number(page, "count-cut") == 0
    qtbot.mouseRelease(histogram, Qt.MouseButton.LeftButton, pos=at(histogram, 100))
    assert desk.session.spec.data.max_length == before == histogram.limit
    assert not desk.session.can_undo or not desk.session.is_reading


def test_a_limit_set_elsewhere_moves_the_line_and_its_numbers(page: DataPage, desk: Any) -> None:
    desk.session.edit("data.max_length", 96)
    assert page.lengths.histogram.limit == 96
    cut = desk.session.lengths[0].cut(96) if desk.session.data is not None else page.lengths.histogram.cut
    assert number(page, "count-cut") == cut.rows > 0


def test_rows_that_a_low_limit_leaves_out_stay_in_the_picture(
    page: DataPage, desk: Any, settled: Callable[[], None]
) -> None:
    rows = desk.session.lengths[0].total_rows
    desk.session.edit("data.max_length", 24)  # answers begin behind it
    settled()
    assert desk.session.data is None or desk.session.data.train.rows < rows
    assert page.lengths.histogram.lengths.total_rows == rows


# ------------------------------------------------------------------------------------------------------- by itself


def test_keys_move_the_limit_and_set_it_when_they_are_let_go(qtbot: Any, histogram: LengthHistogram) -> None:
    moving: list[int] = []
    moved: list[int] = []
    histogram.limit_moving.connect(moving.append)
    histogram.limit_moved.connect(moved.append)
    histogram.setFocus()
    qtbot.keyPress(histogram, Qt.Key.Key_Left)
    assert (moving, moved) == ([232], []), "a key that is held moves it on and on"
    qtbot.keyRelease(histogram, Qt.Key.Key_Left)
    assert moved == [232]
    for key in (Qt.Key.Key_Right, Qt.Key.Key_PageDown, Qt.Key.Key_End, Qt.Key.Key_Up):
        qtbot.keyClick(histogram, key)
    assert moved == [232, 240, 160, 304, 320]
    assert "320 tokens" in histogram.accessibleName()
    assert "nothing is cut" in histogram.accessibleDescription()
    qtbot.keyPress(histogram, Qt.Key.Key_PageDown)
    qtbot.keyClick(histogram, Qt.Key.Key_Escape)
    assert histogram.limit == 320
    qtbot.keyRelease(histogram, Qt.Key.Key_PageDown)
    assert len(moved) == 5


def test_a_click_brings_the_line_to_the_mouse_and_the_right_button_does_not(
    qtbot: Any, histogram: LengthHistogram
) -> None:
    moved: list[int] = []
    histogram.limit_moved.connect(moved.append)
    qtbot.mouseClick(histogram, Qt.MouseButton.RightButton, pos=at(histogram, 100))
    assert moved == []
    qtbot.mouseClick(histogram, Qt.MouseButton.LeftButton, pos=at(histogram, 100))
    assert len(moved) == 1
    assert abs(moved[0] - 100) <= 4
    qtbot.mouseClick(histogram, Qt.MouseButton.LeftButton, pos=knob(histogram))
    assert len(moved) == 1, "taken and let go in the same place"


def test_bars_behind_the_limit_have_another_colour(histogram: LengthHistogram) -> None:
    image: QImage = histogram.grab().toImage()
    bottom = round(histogram._painting().plot.bottom()) - 2

    def color(length: float) -> QColor:
        return image.pixelColor(at(histogram, length).x(), bottom)

    assert color(95) == QColor(look().colors.series[0])
    assert color(290) == QColor(look().colors.warn)
    assert color(150) == QColor(look().colors.panel) or color(150) != color(95), "no row is about that long"


def test_a_limit_far_beyond_the_rows_stands_at_the_edge(histogram: LengthHistogram) -> None:
    histogram.show_lengths(SOME, 100_000)
    assert histogram.limit_place().x() == histogram._painting().plot.right()
    histogram.show_lengths(SOME, 8)
    assert histogram.limit_place().x() == histogram._painting().plot.left()
    assert histogram.cut == Cut(100, 16_500 - 800)
    assert not histogram.grab().isNull()


def test_nothing_to_show_takes_no_limit(qtbot: Any) -> None:
    empty = LengthHistogram()
    qtbot.addWidget(empty)
    empty.show()
    qtbot.mouseClick(empty, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))
    qtbot.keyClick(empty, Qt.Key.Key_Right)
    assert empty.limit == 0
    assert not empty.grab().isNull()


def test_bars_hold_every_row_whatever_the_lengths() -> None:
    for lengths in (SOME, Lengths((1,), (3,)), Lengths((64, 65, 4096, 1_000_000), (1, 2, 3, 4))):
        bars = bars_of(lengths)
        assert sum(bar.rows for bar in bars) == lengths.total_rows
        for length in lengths.tokens:
            assert any(bar.low < length <= bar.high or length == 1 for bar in bars)
        axis = axis_of(bars, 512)
        assert axis.share(bars[0].low) >= 0
        assert axis.share(bars[-1].high) <= 1
    assert bars_of(Lengths()) == ()
    assert axis_of(bars_of(Lengths((64, 4096), (1, 1))), 512).ticks(20) == (64, 128, 256, 512, 1024, 2048, 4096)
    assert axis_of(bars_of(Lengths((64, 4096), (1, 1))), 512).ticks(4) == (64, 256, 1024, 4096)


def test_limits_are_numbers_that_people_write() -> None:
    assert [nice_limit(value) for value in (0, 61, 300, 1030, 5000)] == [8, 64, 304, 1024, 4992]
    assert [enough_for(longest) for longest in (1, 64, 65, 571, 5000)] == [8, 64, 72, 576, 5120]
    assert cut_words(Cut(0, 0)) == "nothing is cut"
    assert cut_words(Cut(1, 1)) == "one row cut, one token lost"
    assert cut_words(Cut(1200, 34_000)) == "1,200 rows cut, 34,000 tokens lost"
