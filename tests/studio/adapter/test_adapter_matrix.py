"""Painting the matrix with mouse and keyboard, quick sets, ranks; what is painted becomes the spec, and back."""

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton

from core.errors import Severity
from core.plan.matrix import Cell
from studio.pages.adapter.grid import HEADER, MatrixGrid
from tests.core.plan.invented_facts import MODELS, gpt2, spec

LEFT, RIGHT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier
PageOn = Callable[..., Any]


def drag(grid: MatrixGrid, *path: Cell, button: Qt.MouseButton = LEFT) -> None:
    """Presses on the first cell, moves over the others, releases."""
    QTest.mousePress(grid, button, NONE, grid.cell_box(path[0]).center().toPoint())
    for cell in path[1:]:
        at = QPointF(grid.cell_box(cell).center())
        move = QMouseEvent(QEvent.Type.MouseMove, at, grid.mapToGlobal(at), Qt.MouseButton.NoButton, button, NONE)
        QApplication.sendEvent(grid, move)
    QTest.mouseRelease(grid, button, NONE, grid.cell_box(path[-1]).center().toPoint())


def adapter(page: Any) -> Any:
    return page.desk.session.spec.adapter


def modules(page: Any) -> set[str]:
    return {target.module.removeprefix("model.layers.") for target in page.desk.session.plan.targets}


def click(page: Any, name: str) -> None:
    found = page.findChild(QPushButton, name)
    assert found is not None, name
    QTest.mouseClick(found, LEFT)


def test_all_linear_layers_are_on_at_first(page_on: PageOn) -> None:
    page = page_on()
    assert len(page.places.grid.cells) == 42
    assert page.places.sets.value() == "all"
    assert page.places.spans.value() == "all"


def test_a_click_clears_a_cell_and_another_one_sets_it_again(page_on: PageOn) -> None:
    page = page_on()
    grid = page.places.grid
    drag(grid, (0, 2))
    assert "2.self_attn.q_proj" not in modules(page)
    assert len(modules(page)) == 41
    assert page.places.sets.value() == "custom"
    drag(grid, (0, 2))
    assert len(modules(page)) == 42
    assert adapter(page).targets == ("all-linear",)


def test_a_fast_drag_leaves_no_gaps_and_is_one_step_to_undo(page_on: PageOn) -> None:
    page = page_on()
    drag(page.places.grid, (4, 0), (4, 5), (5, 5))
    assert not {name for name in modules(page) if "gate_proj" in name}
    assert len(modules(page)) == 35
    assert page.desk.session.undo()
    assert len(modules(page)) == 42
    assert not page.desk.session.undo()


def test_two_strokes_soon_after_each_other_are_two_steps_to_undo(page_on: PageOn) -> None:
    page = page_on()
    drag(page.places.grid, (0, 0))
    drag(page.places.grid, (0, 1))
    page.desk.session.undo()
    assert len(modules(page)) == 41


def test_the_right_button_only_clears(page_on: PageOn) -> None:
    page = page_on()
    for _ in range(2):
        drag(page.places.grid, (3, 0), (3, 3), button=RIGHT)
        assert len(modules(page)) == 38


def test_a_press_on_a_name_takes_the_row_and_on_a_number_the_layer(page_on: PageOn) -> None:
    page = page_on()
    grid = page.places.grid
    drag(grid, (HEADER, 0), (HEADER, 2))
    assert adapter(page).layers == "last 3"
    drag(grid, (6, HEADER))
    assert len([name for name in modules(page) if "down_proj" in name]) == 6, "what is partly set is set first"
    drag(grid, (6, HEADER))
    assert {name.rpartition(".")[2] for name in modules(page)} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
    }  # fmt: skip


def test_nothing_painted_is_said_to_train_nothing_and_can_be_mended(page_on: PageOn, qtbot: Any) -> None:
    page = page_on()
    click(page, "matrix-clear")
    assert adapter(page).targets == ()
    assert page.places._notes.isVisible()
    drag(page.places.grid, (1, 1))
    assert adapter(page).targets == ("k_proj",)
    assert adapter(page).layers == "1"
    assert not page.places._notes.isVisible()


def test_quick_sets_choose_modules_and_layers_apart(page_on: PageOn) -> None:
    page = page_on()
    click(page, "set-attention")
    assert adapter(page).targets == ("attention",)
    click(page, "span-last")
    assert (adapter(page).targets, adapter(page).layers) == (("attention",), "last 3")
    page.places.count.setValue(2)
    assert adapter(page).layers == "last 2"
    click(page, "span-first")
    assert adapter(page).layers == "first 2"
    click(page, "set-mlp")
    assert (adapter(page).targets, adapter(page).layers) == (("mlp",), "first 2")
    click(page, "set-all")
    click(page, "span-all")
    assert (adapter(page).targets, adapter(page).layers) == (("all-linear",), "all")


def test_the_grid_follows_a_spec_that_was_written_elsewhere(page_on: PageOn) -> None:
    page = page_on()
    session = page.desk.session
    session.set_spec(spec(adapter__targets=("mlp",), adapter__layers="last 2", adapter__rank_pattern={"up_proj": 4}))
    grid = page.places.grid
    assert set(grid.cells) == {(row, layer) for row in (4, 5, 6) for layer in (4, 5)}
    assert grid.cells[5, 4] == 4
    assert page.places.sets.value() == "mlp"
    assert page.places.spans.value() == "last"
    assert page.places.count.value() == 2


def test_keys_move_set_and_paint(page_on: PageOn, qtbot: Any) -> None:
    page = page_on()
    click(page, "matrix-clear")
    grid = page.places.grid
    grid.setFocus()
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Space):
        QTest.keyClick(grid, key)
    assert set(grid.cells) == {(1, 1)}
    for _ in range(3):
        QTest.keyClick(grid, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(grid, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert set(grid.cells) == {(1, 1), (1, 2), (1, 3), (1, 4), (2, 4)}
    assert "v_proj" in page.places.words.full_text()
    QTest.keyClick(grid, Qt.Key.Key_Delete)
    assert (2, 4) not in grid.cells
    QTest.keyClick(grid, Qt.Key.Key_Home)
    QTest.keyClick(grid, Qt.Key.Key_Left)
    QTest.keyClick(grid, Qt.Key.Key_Space)
    assert {layer for row, layer in grid.cells if row == 2} == set(range(6)), "Space on a row's name takes the row"
    assert "v_proj" in grid.accessibleDescription()


def test_shift_and_arrows_carry_an_empty_cell_on_as_well(page_on: PageOn) -> None:
    page = page_on()
    grid = page.places.grid
    grid.setFocus()
    QTest.keyClick(grid, Qt.Key.Key_Space)
    QTest.keyClick(grid, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier)
    assert not [cell for cell in grid.cells if cell[0] == 0]


def test_a_brush_with_a_rank_paints_ranks(page_on: PageOn) -> None:
    page = page_on()
    page.places.brush.setValue(64)
    drag(page.places.grid, (6, 4), (6, 5))
    assert adapter(page).rank_pattern == {"4-5.down_proj": 64}
    drag(page.places.grid, (6, HEADER))
    assert adapter(page).rank_pattern == {"down_proj": 64}
    page.places.brush.setValue(0)
    drag(page.places.grid, (6, 0), (6, 1))
    assert "0.mlp.down_proj" not in modules(page)
    assert {target.rank for target in page.desk.session.plan.targets if "down_proj" in target.module} == {64}


def test_enter_or_a_press_on_a_rows_rank_opens_a_field_for_it(page_on: PageOn, qtbot: Any) -> None:
    page = page_on()
    grid = page.places.grid
    QTest.mouseClick(grid, LEFT, NONE, grid.frame.rank_box(2, grid.width()).center().toPoint())
    assert grid.field.isVisible()
    QTest.keyClicks(grid.field, "24")
    QTest.keyClick(grid.field, Qt.Key.Key_Return)
    assert not grid.field.isVisible()
    assert adapter(page).rank_pattern == {"v_proj": 24}
    grid.setFocus()
    grid._go((2, 0))
    QTest.keyClick(grid, Qt.Key.Key_Return)
    QTest.keyClicks(grid.field, "99")
    QTest.keyClick(grid.field, Qt.Key.Key_Escape)
    assert not grid.field.isVisible()
    assert adapter(page).rank_pattern == {"v_proj": 24}


def test_ranks_of_modules_that_are_cleared_leave_no_error_behind(page_on: PageOn) -> None:
    page = page_on(asked=spec(adapter__rank_pattern={"up_proj": 4, "2.q_proj": 8}))
    drag(page.places.grid, (5, HEADER))
    assert adapter(page).rank_pattern == {"2.q_proj": 8}
    found = [problem for problem in page.desk.session.problems if problem.path.startswith("adapter.")]
    assert [problem for problem in found if problem.severity is not Severity.INFO] == []


def test_modules_outside_the_layers_are_buttons_of_their_own(page_on: PageOn) -> None:
    page = page_on()
    click(page, "outside-lm_head")
    assert adapter(page).targets == ("all-linear", "lm_head")
    drag(page.places.grid, (HEADER, 0))
    assert adapter(page).targets == ("all-linear", "lm_head")
    click(page, "outside-lm_head")
    assert adapter(page).targets == ("all-linear",)


def test_two_modules_of_one_name_stay_apart(page_on: PageOn) -> None:
    page = page_on(gpt2())
    click(page, "matrix-clear")
    drag(page.places.grid, (3, HEADER))
    assert adapter(page).targets == ("mlp.c_proj",)
    assert {target.module for target in page.desk.session.plan.targets} == {
        "transformer.h.0.mlp.c_proj",
        "transformer.h.1.mlp.c_proj",
    }


def test_the_largest_matrix_fits_the_page_and_its_cells_can_be_hit(page_on: PageOn) -> None:
    page = page_on(MODELS["70b"])
    grid = page.places.grid
    assert grid.width() <= page.width()
    for cell in ((0, 0), (3, 41), (6, 79)):
        assert grid.frame.at(grid.cell_box(cell).center(), grid.width()) == cell
        drag(grid, cell)
        assert cell not in grid.cells


@pytest.mark.parametrize("width", [560, 776, 1200])
def test_boxes_and_places_agree_at_every_width(page_on: PageOn, width: int) -> None:
    grid = page_on(MODELS["135m"]).places.grid
    for row in range(7):
        for layer in range(30):
            box = grid.frame.box((row, layer), width)
            assert grid.frame.at(box.center(), width) == (row, layer)
            assert box.right() <= width - grid.frame.right + 1
