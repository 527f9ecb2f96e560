"""The plot under mouse and keys, and what it leaves in files."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np  # noqa: TID253 (a test of what computes with it)
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog

from studio.look.theme import apply_look, colors
from studio.widgets.plots.curve_card import CurveCard
from studio.widgets.plots.curve_plot import CurvePlot
from studio.widgets.plots.ready import is_ready

POINTS = 400


@pytest.fixture
def plot(qtbot: Any) -> CurvePlot:
    made = CurvePlot("Loss", empty="Nothing yet.")
    qtbot.addWidget(made)
    made.set_series("raw", "Training", 0, "faint")
    made.set_series("smooth", "Smoothed", 0, "strong")
    made.set_series("validation", "Validation", 1, "marked")
    made.resize(700, 320)
    made.show()
    qtbot.waitExposed(made)
    return made


def fill(plot: CurvePlot, count: int = POINTS) -> None:
    steps = np.arange(1.0, count + 1.0)
    loss = 4.0 / np.sqrt(steps) + 0.3 * np.sin(steps)
    plot.set_data("raw", steps, loss)
    plot.set_data("smooth", steps, loss)
    plot.set_data("validation", steps[::100], loss[::100] + 0.5)


def shown(plot: CurvePlot) -> QImage:
    return plot.grab().toImage()


def key(qtbot: Any, plot: CurvePlot, which: Qt.Key, held: Any = Qt.KeyboardModifier.NoModifier) -> None:
    qtbot.keyClick(plot, which, held)
    plot.repaint()


def test_an_empty_plot_says_so_and_a_full_one_its_newest_values(plot: CurvePlot) -> None:
    assert plot.accessibleName() == "Loss: Nothing yet."
    blank = shown(plot)
    fill(plot)
    assert shown(plot) != blank
    name = plot.accessibleName()
    assert name.startswith("Loss: Step 400: Training ")
    assert "Validation" in name


def test_appending_goes_on_where_the_curve_ends(plot: CurvePlot) -> None:
    fill(plot)
    plot.append("raw", [401.0], [9.0])
    assert plot.count("raw") == 401
    assert plot.scene.view.window() == (1.0, 401.0)
    plot.append("raw", [301.0], [1.0], keep=300)
    assert plot.count("raw") == 301
    with pytest.raises(ValueError, match="rise"):
        plot.append("raw", [5.0], [1.0])
    plot.clear()
    assert plot.count("raw") == plot.count("smooth") == 0


def test_keys_pan_zoom_and_show_everything(plot: CurvePlot, qtbot: Any) -> None:
    fill(plot)
    plot.setFocus()
    went: list[object] = []
    plot.view_changed.connect(went.append)
    key(qtbot, plot, Qt.Key.Key_Plus)
    key(qtbot, plot, Qt.Key.Key_Plus)
    left, right = plot.scene.view.window()
    assert right - left == pytest.approx(399 * 0.64)
    key(qtbot, plot, Qt.Key.Key_Left)
    assert plot.scene.view.window()[0] < left
    key(qtbot, plot, Qt.Key.Key_Right)
    assert plot.scene.view.window()[0] == pytest.approx(left)
    key(qtbot, plot, Qt.Key.Key_Up)
    assert plot.scene.view.y is not None
    key(qtbot, plot, Qt.Key.Key_End)
    assert plot.scene.view.window()[1] == 400.0
    assert plot.scene.view.follows
    key(qtbot, plot, Qt.Key.Key_Minus)
    key(qtbot, plot, Qt.Key.Key_Home)
    assert plot.scene.view.x is None
    assert plot.scene.view.y is None
    assert len(went) == 7
    before = plot.frame
    key(qtbot, plot, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
    assert before is not None
    assert plot.frame is not None
    assert plot.frame.y[1] - plot.frame.y[0] < before.y[1] - before.y[0]


def test_the_log_scale_turns_with_a_key_and_survives_what_it_cannot_show(plot: CurvePlot, qtbot: Any) -> None:
    plot.set_data("raw", [1, 2, 3, 4, 5], [10.0, 0.0, -1.0, math.nan, 0.1])
    turned: list[bool] = []
    plot.log_changed.connect(turned.append)
    key(qtbot, plot, Qt.Key.Key_L)
    assert turned == [True]
    assert plot.frame is not None
    assert plot.frame.y[0] < -1.0 < 1.0 < plot.frame.y[1], "decades"
    plot.set_data("raw", [1, 2], [-1.0, -2.0])
    shown(plot)
    plot.set_data("raw", np.arange(20_000.0), np.tile([-1.0, 5.0], 10_000))
    shown(plot)
    key(qtbot, plot, Qt.Key.Key_L)
    assert turned == [True, False]


def test_the_mouse_pans_zooms_and_hides(plot: CurvePlot, qtbot: Any) -> None:
    fill(plot)
    plot.repaint()
    wheel = QWheelEvent(
        QPointF(350, 160), QPointF(350, 160), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    plot.clearFocus()
    QApplication.sendEvent(plot, wheel)
    assert plot.scene.view.x is None, "without the focus the page scrolls"
    plot.setFocus()
    QApplication.sendEvent(plot, wheel)
    left, right = plot.scene.view.window()
    assert right - left == pytest.approx(399 * 0.8)
    plot.repaint()
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=QPoint(300, 160))
    qtbot.mouseMove(plot, QPoint(340, 160))
    _drag(plot, QPoint(380, 160))
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=QPoint(380, 160))
    assert plot.scene.view.window()[0] < left, "what is drawn moves with the hand"
    assert not plot.scene.view.follows
    qtbot.mouseDClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(300, 160))
    assert plot.scene.view.x is None
    plot.repaint()
    assert plot.frame is not None
    place, hidden = plot.frame.legend[0]
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=place.center().toPoint())
    assert plot.scene.series[hidden].hidden
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=place.center().toPoint())
    assert not plot.scene.series[hidden].hidden


def _drag(plot: CurvePlot, to: QPoint) -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    at = QPointF(to)
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(plot, QMouseEvent(QEvent.Type.MouseMove, at, at, Qt.MouseButton.NoButton, left, none))


def test_the_crosshair_reads_every_curve(plot: CurvePlot, qtbot: Any) -> None:
    fill(plot)
    plot.repaint()
    plot.setFocus()
    pointed: list[object] = []
    plot.cursor_changed.connect(pointed.append)
    for _ in range(2):
        key(qtbot, plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert pointed == [1.0, 2.0]
    words = plot.accessibleDescription()
    assert words.startswith("Step 2: Training ")
    assert "Smoothed" in words
    assert "Validation" in words, "the nearest point of a sparse curve counts"
    key(qtbot, plot, Qt.Key.Key_Escape)
    assert plot.cursor_x is None
    qtbot.mouseMove(plot, QPoint(200, 150))
    _hover(plot, QPoint(350, 150))
    assert plot.cursor_x is not None
    assert plot.cursor_x == round(plot.cursor_x), "it stands on a step"
    shown(plot)


def _hover(plot: CurvePlot, at: QPoint) -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    none, place = Qt.MouseButton.NoButton, QPointF(at)
    move = QMouseEvent(QEvent.Type.MouseMove, place, place, none, none, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(plot, move)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 2, 90, 5000, 100_000])
def test_it_draws_any_number_of_points_in_the_colours_of_the_look(
    plot: CurvePlot, qapp: Any, scheme: Any, count: int
) -> None:
    apply_look(qapp, scheme, 1.0)
    steps = np.arange(1.0, count + 1.0)
    plot.set_data("smooth", steps, np.full(count, 2.0))
    plot.set_series("other", "another run", 3, "dashed")
    plot.set_data("other", steps, np.full(count, 3.0))
    image = shown(plot)
    assert image.pixelColor(12, 310).name().upper() == colors().panel.upper()
    seen = {image.pixelColor(x, y).name() for x in range(40, 699, 3) for y in range(30, 300)}
    assert close(colors().series[0], seen), "the curve"
    assert close(colors().series[3], seen), "the dashes"


def close(wanted: str, seen: set[str]) -> bool:
    """Whether a colour is there, perhaps a little paler where a thin line lies between two rows of pixels."""
    goal = QColor(wanted)
    found = (QColor(name) for name in seen)
    return any(
        abs(c.red() - goal.red()) + abs(c.green() - goal.green()) + abs(c.blue() - goal.blue()) < 90 for c in found
    )


def test_files_hold_every_point_and_a_picture(plot: CurvePlot, tmp_path: Path) -> None:
    fill(plot, 30_000)
    plot.set_data("validation", [0, 15_000], [9.0, math.nan])
    plot.export_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Step", "Training", "Smoothed", "Validation"]
    assert len(rows) == 30_002
    assert rows[1] == ["0", "", "", "9.0"]
    assert rows[15_001] == ["15000", rows[15_001][1], rows[15_001][2], "nan"]
    raw = plot.scene.series["raw"].points
    assert [float(row[1]) for row in rows[2:]] == raw.ys.tolist()
    plot.export_png(tmp_path / "a.png")
    picture = QImage(str(tmp_path / "a.png"))
    assert (picture.width(), picture.height()) == (1400, 720)
    plot.export_svg(tmp_path / "a.svg")
    assert "<title>Loss</title>" in (tmp_path / "a.svg").read_text("utf-8")
    with pytest.raises(OSError, match="missing"):
        plot.export_csv(tmp_path / "missing" / "a.csv")


def test_the_card_saves_by_menu_and_says_how_it_went(
    plot: CurvePlot, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(plot)
    card = CurveCard(plot, "run-loss")
    qtbot.addWidget(card)
    card.show()
    texts = [action.text() for action in card.menu().actions()]
    assert texts[-3:] == ["Save as PNG…", "Save as SVG…", "Save all points as CSV…"]
    asked: list[str] = []

    def answer(_parent: object, _title: str, start: str, _filters: str) -> tuple[str, str]:
        asked.append(Path(start).name)
        return str(tmp_path / "chosen"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    for kind in ("png", "svg", "csv"):
        with qtbot.waitSignal(card.saved, timeout=10_000) as told:
            card.ask_and_save(kind)
        assert told.args == [tmp_path / f"chosen.{kind}"]
        assert (tmp_path / f"chosen.{kind}").stat().st_size > 0
    assert asked[0] == "run-loss.png"
    with qtbot.waitSignal(card.failed, timeout=10_000) as refused:
        card.save(tmp_path / "nowhere" / "a.csv")
    assert "could not be saved" in refused.args[0]
    turn = next(action for action in card.menu().actions() if action.text() == "Validation")
    turn.trigger()
    assert plot.scene.series["validation"].hidden
    qtbot.mouseClick(card.log, Qt.MouseButton.LeftButton)
    assert plot.scene.view.log


def test_numpy_is_loaded_apart_from_the_main_thread() -> None:
    """A fresh program: the empty plot is painted without numpy, and data that comes early is there a moment later."""
    import subprocess
    import sys

    program = """
import sys
from PySide6.QtWidgets import QApplication
from studio.look.theme import apply_look
from studio.widgets.plots.curve_plot import CurvePlot
from studio.workers.task import end_tasks
app = QApplication([])
apply_look(app, "light", 1.0)
plot = CurvePlot("Loss", empty="Nothing yet.")
plot.set_series("raw", "Training", 0)
plot.grab()
assert "numpy" not in sys.modules
plot.set_data("raw", [1, 2], [3.0, 4.0])
plot.append("raw", [3], [5.0])
assert plot.count("raw") == 0
for _ in range(2000):
    app.processEvents()
    if plot.count("raw"):
        break
    app.thread().msleep(5)
assert plot.count("raw") == 3
assert end_tasks() == 0
"""
    assert is_ready()
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
