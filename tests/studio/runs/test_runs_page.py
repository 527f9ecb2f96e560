"""The list of runs as people use it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt

from core.events.run_state import RunState
from core.events.types import Evaluated
from core.runs.layout import TRASH
from core.spec.run_spec import RunSpec
from studio.pages.runs.comparison import differing, numbers_of
from studio.pages.runs.page import RunsPage
from studio.pages.runs.stories import Story
from studio.pages.runs.table import COLUMNS, RUN_ROLE
from tests.studio.audit.told_runs import told_runs
from tests.studio.finished_run import finished_run

WAIT = 20_000


@pytest.fixture
def folders(starter_home: Path, starter: Path) -> dict[str, Any]:
    return dict(told_runs(starter))


@pytest.fixture
def page(qtbot: Any, desk: Any, folders: dict[str, Any]) -> Iterator[RunsPage]:
    made = RunsPage(desk)
    qtbot.addWidget(made)
    made.resize(1240, 700)
    made.show()
    desk.runs.refresh()
    qtbot.waitUntil(lambda: made.model.rowCount() == 3 and len(made.model.sparks) == 3, timeout=WAIT)
    yield made
    made.close_page()


def choose(page: RunsPage, *folders: Any) -> None:
    page.table.clearSelection()
    page._choose({folder.path for folder in folders})


def named(page: RunsPage) -> list[str]:
    return [page._sorted.index(row, 0).data() for row in range(page._sorted.rowCount())]


def test_every_run_is_listed_with_what_became_of_it(page: RunsPage, folders: dict[str, Any]) -> None:
    seen = {}
    for row in range(page._sorted.rowCount()):
        cells = {name: page._sorted.index(row, column).data() for column, name in enumerate(COLUMNS)}
        seen[cells["name"]] = (cells["status"], cells["steps"])
    assert seen[folders["completed"].path.name] == ("completed", "45 / 45")
    assert seen[folders["stopped"].path.name][0] == "stopped"
    assert seen[folders["failed"].path.name][0] == "failed"
    assert all(len(spark.losses) > 1 for spark in page.model.sparks.values())


def test_the_filter_and_the_headings_find_a_run(qtbot: Any, page: RunsPage, folders: dict[str, Any]) -> None:
    qtbot.keyClicks(page.filter, "STOPPED")
    assert named(page) == [folders["stopped"].path.name]
    page.filter.clear()
    page.table.sortByColumn(COLUMNS.index("steps"), Qt.SortOrder.AscendingOrder)
    assert [page._sorted.index(row, 0).data(RUN_ROLE).step for row in range(3)] == [3, 20, 45]


def test_deeds_that_do_not_apply_say_why(page: RunsPage, folders: dict[str, Any]) -> None:
    page.table.clearSelection()
    assert {name for name, made in page.buttons.items() if made.isEnabled()} == set()
    assert all(made.toolTip() for made in page.buttons.values())
    choose(page, folders["completed"])
    assert not page.buttons["resume"].isEnabled()
    assert page.buttons["open"].isEnabled()
    choose(page, folders["stopped"])
    assert not page.buttons["resume"].isEnabled(), "it has no saved state"
    (folders["stopped"].checkpoints / "step-00000020").mkdir(parents=True)
    page._selection_changed()
    assert page.buttons["resume"].isEnabled()
    assert not page.buttons["compare"].isEnabled()
    choose(page, folders["stopped"], folders["failed"])
    assert page.buttons["compare"].isEnabled()
    assert not page.buttons["open"].isEnabled()


def test_a_failed_run_says_what_ended_it(page: RunsPage, folders: dict[str, Any]) -> None:
    choose(page, folders["failed"])
    assert folders["failed"].path.name in page._note.text()
    choose(page, folders["completed"])
    assert page._note.text() == ""


def test_a_newer_list_keeps_the_selection(
    qtbot: Any, desk: Any, page: RunsPage, folders: dict[str, Any], starter: Path
) -> None:
    choose(page, folders["stopped"])
    finished_run(starter, "another")
    desk.runs.refresh()
    qtbot.waitUntil(lambda: page.model.rowCount() == 4, timeout=WAIT)
    assert [run.path for run in page.selected()] == [folders["stopped"].path]


def test_enter_opens_a_run_on_the_training_page(qtbot: Any, desk: Any, page: RunsPage, folders: dict[str, Any]) -> None:
    choose(page, folders["completed"])
    page.table.setFocus()
    with qtbot.waitSignal(desk.went) as went:
        page.buttons["open"].click()
    assert went.args == ["training"]
    run = desk.runs.current
    assert run.folder.path == folders["completed"].path
    qtbot.waitUntil(lambda: run.outcome is not None and run.state.step == 45, timeout=WAIT)


def test_a_runs_settings_become_a_new_spec_that_can_be_taken_back(
    desk: Any, page: RunsPage, folders: dict[str, Any]
) -> None:
    before = desk.session.spec
    notices: list[Any] = []
    desk.notified.connect(notices.append)
    choose(page, folders["completed"])
    page.buttons["duplicate"].click()
    assert desk.session.spec.adapter.rank == 2
    assert desk.session.spec.output.name == "", "the name is taken"
    notices[-1].actions[0].perform()
    assert desk.session.spec == before


def test_delete_moves_to_the_trash_and_undo_brings_back(
    qtbot: Any, desk: Any, page: RunsPage, folders: dict[str, Any]
) -> None:
    notices: list[Any] = []
    desk.notified.connect(notices.append)
    gone = folders["failed"].path
    choose(page, folders["failed"])
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: page.model.rowCount() == 2, timeout=WAIT)
    assert not gone.exists()
    assert (gone.parent / TRASH / gone.name).is_dir()
    notices[-1].actions[0].perform()
    qtbot.waitUntil(lambda: page.model.rowCount() == 3, timeout=WAIT)
    assert (gone / "spec.yaml").is_file()


def test_a_run_whose_place_is_taken_again_stays_in_the_trash(
    qtbot: Any, desk: Any, page: RunsPage, folders: dict[str, Any]
) -> None:
    notices: list[Any] = []
    desk.notified.connect(notices.append)
    gone = folders["failed"].path
    choose(page, folders["failed"])
    page.buttons["delete"].click()
    undo = notices[-1].actions[0]
    gone.mkdir()
    undo.perform()
    assert "brought back" in notices[-1].text
    assert (gone.parent / TRASH / gone.name / "spec.yaml").is_file()


def test_two_runs_side_by_side(qtbot: Any, desk: Any, page: RunsPage, folders: dict[str, Any], starter: Path) -> None:
    other = finished_run(starter, "other-rank", adapter__rank=8, training__learning_rate=3e-4)
    desk.runs.refresh()
    qtbot.waitUntil(lambda: page.model.rowCount() == 4, timeout=WAIT)
    choose(page, folders["completed"], other)
    page.buttons["compare"].click()
    qtbot.waitUntil(lambda: page.comparison is not None, timeout=WAIT)
    comparison = page.comparison
    assert comparison is not None
    assert set(comparison.differences["Rank"]) == {"2", "8"}
    assert "Run name" not in comparison.differences
    assert page.back.isVisible()
    qtbot.waitUntil(lambda: any(comparison.plot.count(key) == 45 for key in comparison.plot.scene.series), timeout=WAIT)
    page.back.click()
    assert page.comparison is None
    assert page.table.isVisible()


def test_what_pairs_come_to_is_compared_where_a_run_learns_from_them() -> None:
    state = RunState()
    pairs = replace(state, evaluations=state.evaluations.append(Evaluated(5, 0.5, 10, 0.1, preferred=0.75, margin=0.5)))
    rows = replace(state, evaluations=state.evaluations.append(Evaluated(5, 2.5, 10, 0.1)))
    stories = tuple(Story(name, RunSpec(), told) for name, told in (("a", pairs), ("b", rows), ("c", state)))
    shown = numbers_of(stories)
    assert shown["Preferred in validation"] == ("75 %", "–", "–")
    assert shown["Margin in validation"] == ("0.50", "–", "–")
    assert "Preferred in validation" not in numbers_of(stories[1:])


def test_the_same_settings_differ_in_nothing(starter_home: Path, starter: Path) -> None:
    from studio.pages.runs.stories import read_stories
    from studio.workers.task import Report, Task

    folders = (finished_run(starter, "one"), finished_run(starter, "two"))
    stories, problems = read_stories(folders, Report(Task(lambda _report: None)))
    assert problems == ()
    assert differing(stories) == {}


def test_a_damaged_run_is_listed_with_its_problem(
    qtbot: Any, desk: Any, page: RunsPage, folders: dict[str, Any]
) -> None:
    folders["stopped"].spec.write_text("{", "utf-8")
    desk.runs.refresh()
    qtbot.waitUntil(lambda: any(run.status == "damaged" for run in page.model.runs), timeout=WAIT)
    choose(page, folders["stopped"])
    assert page._note.text()
    assert not page.buttons["duplicate"].isEnabled()
    assert page.buttons["delete"].isEnabled()


def test_an_empty_list_says_what_belongs_there(qtbot: Any, desk: Any) -> None:
    page = RunsPage(desk)
    qtbot.addWidget(page)
    assert page._stack.currentIndex() == 1


def test_less_important_columns_go_where_space_is_short(qtbot: Any, page: RunsPage) -> None:
    page.resize(1240, 600)
    assert not any(page.table.isColumnHidden(column) for column in range(len(COLUMNS)))
    page.resize(820, 500)
    qtbot.waitUntil(lambda: page.table.isColumnHidden(COLUMNS.index("date")))
    assert not page.table.isColumnHidden(COLUMNS.index("status"))
    assert not page.table.horizontalScrollBar().isVisible()
