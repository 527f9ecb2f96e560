"""The queue and sweeps as people use them in the window."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QLabel

from core.runs.launch import LaunchCommand
from core.runs.queue import change_queue, read_queue
from core.runs.sweep_groups import list_groups
from core.spec.demo import demo_spec
from studio.pages.queue.page import QueuePage
from studio.pages.queue.results import SORT_ROLE
from studio.state.queue_entry import add_to_queue, queue_blocker
from tests.studio.audit.told_runs import queue_told_runs, told_runs

WAIT = 20_000


@pytest.fixture
def page(qtbot: Any, desk: Any, settled: Any, starter_home: Path) -> Iterator[QueuePage]:
    """The page with a spec that could be trained."""
    desk.session.set_spec(demo_spec("starter"))
    settled()
    made = QueuePage(desk)
    qtbot.addWidget(made)
    made.resize(1080, 700)
    made.show()
    desk.queue.refresh()
    qtbot.waitUntil(lambda: desk.queue.known, timeout=WAIT)
    yield made
    made.close_page()
    desk.queue.close()
    qtbot.waitUntil(lambda: not desk.queue.is_busy, timeout=WAIT)


def waiting() -> list[str]:
    return [entry.name for entry in read_queue().waiting]


def add(qtbot: Any, desk: Any, name: str) -> None:
    desk.session.edit("output.name", name)
    qtbot.waitUntil(lambda: not queue_blocker(desk), timeout=WAIT)
    add_to_queue(desk)
    qtbot.waitUntil(lambda: name in [entry.name for entry in desk.queue.now.queue.entries], timeout=WAIT)


def press(qtbot: Any, page: QueuePage, name: str) -> None:
    made = page.waiting.buttons[name]
    assert made.isEnabled(), made.toolTip()
    qtbot.mouseClick(made, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not page.desk.queue.is_busy, timeout=WAIT)


def test_an_empty_queue_says_what_belongs_there_and_takes_the_settings(qtbot: Any, page: QueuePage) -> None:
    assert page.waiting._stack.currentIndex() == 1
    first = page.waiting._add_first
    assert first.isEnabled()
    qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.waiting.model.rowCount() == 1, timeout=WAIT)
    assert page.waiting._stack.currentIndex() == 0
    assert "One run waits" in page.findChild(QLabel, "queue-state").text()
    assert page.waiting.model.index(0, 1).data() == "waits"
    assert page.waiting.model.index(0, 5).data().startswith("about ")


def test_what_cannot_be_trained_cannot_wait(qtbot: Any, page: QueuePage, desk: Any) -> None:
    desk.session.edit("data.train", ())
    assert queue_blocker(desk) == "Choose training files first."
    assert not page.waiting._add_first.isEnabled()
    told = []
    desk.notified.connect(told.append)
    add_to_queue(desk)
    assert told[0].advice == "Choose training files first."
    assert waiting() == []


def test_the_order_changes_by_buttons_keys_and_dragging(qtbot: Any, page: QueuePage, desk: Any) -> None:
    for name in ("one", "two", "three"):
        add(qtbot, desk, name)
    page.waiting.table.selectRow(2)
    press(qtbot, page, "first")
    assert waiting() == ["three", "one", "two"]
    assert page.waiting.selected().name == "three", "what is selected stays selected"
    page.waiting.table.setFocus()
    qtbot.keyClick(page.waiting.table, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: waiting() == ["one", "three", "two"], timeout=WAIT)
    model = page.waiting.model
    qtbot.waitUntil(lambda: [entry.name for entry in model.entries] == ["one", "three", "two"], timeout=WAIT)
    dragged = model.mimeData([model.index(2, 0)])
    model.dropMimeData(dragged, Qt.DropAction.MoveAction, 0, 0, QModelIndex())
    qtbot.waitUntil(lambda: waiting() == ["two", "one", "three"], timeout=WAIT)
    qtbot.waitUntil(lambda: model.entries[0].name == "two", timeout=WAIT)
    page.waiting.table.selectRow(0)
    press(qtbot, page, "remove")
    assert waiting() == ["one", "three"]


def test_starting_and_holding_goes_through_the_queues_own_process(
    qtbot: Any, page: QueuePage, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.runs import queueing
    from core.runs.process_tree import kill, wait_gone

    command = LaunchCommand((sys.executable, "-c", "import time; time.sleep(60)"), {}, Path.cwd())
    monkeypatch.setattr(queueing, "runner_command", lambda: command)
    add(qtbot, desk, "one")
    assert not page.waiting.buttons["pause"].isEnabled()
    press(qtbot, page, "start")
    assert desk.queue.now.state == "going"
    assert not page.waiting.buttons["start"].isEnabled()
    press(qtbot, page, "stop")
    assert desk.queue.now.state == "stopping"
    press(qtbot, page, "pause")
    assert desk.queue.now.state == "pausing"
    assert page.waiting.buttons["start"].text() == "Go on"
    press(qtbot, page, "start")
    runner = read_queue().runner
    assert runner is not None
    kill([runner])
    assert wait_gone([runner], 10) == ()  # the window looks once, and a signal takes its time
    offered = []
    desk.queue.broken_off.connect(lambda: offered.append(True))
    desk.queue.known = False  # as at the next start of the window
    desk.queue.refresh()
    qtbot.waitUntil(lambda: desk.queue.now.state == "interrupted", timeout=WAIT)
    assert offered == [True]


def test_a_sweep_says_how_many_runs_it_makes_and_how_long_they_take(qtbot: Any, page: QueuePage, desk: Any) -> None:
    page.show_view("sweep")
    form = page.form
    qtbot.waitUntil(lambda: form.grid is not None, timeout=WAIT)
    assert form._words.text().startswith("6 runs, about ")
    assert {point.spec.adapter.alpha for point in form.grid.points} == {16.0, 32.0, 64.0}
    form.follows.click()
    qtbot.waitUntil(lambda: form.grid is not None, timeout=WAIT)
    assert {point.spec.adapter.alpha for point in form.grid.points} == {32.0}
    form.rows[0].values.setText("8, x")
    qtbot.waitUntil(form._notes.isVisible, timeout=WAIT)
    assert not form.go.isEnabled()
    form.rows[0].values.setText(", ".join(str(rank) for rank in range(1, 14)))
    qtbot.waitUntil(lambda: form.grid is not None, timeout=WAIT)
    assert (len(form.grid.points), form.go.isEnabled()) == (26, False), "so many want to be confirmed"
    form.sure.click()
    assert form.go.isEnabled()
    form.rows[0].values.setText("4, 8")
    form.rows[1].removed.emit()
    qtbot.waitUntil(lambda: form.grid is not None and len(form.grid.points) == 2, timeout=WAIT)
    qtbot.mouseClick(form.go, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(waiting()) == 2, timeout=WAIT)
    (group,) = list_groups()
    assert [member.values for member in group.members] == [{"adapter.rank": 4}, {"adapter.rank": 8}]
    qtbot.waitUntil(lambda: page.views.value() == "waiting", timeout=WAIT)


def test_what_a_sweep_found_can_be_sorted_and_names_the_best(
    qtbot: Any, page: QueuePage, desk: Any, starter: Path
) -> None:
    page.show_view("results")
    qtbot.waitUntil(lambda: page.results.is_settled, timeout=WAIT)
    assert page.results.empty.isVisible()
    queue_told_runs(told_runs(starter))
    page.show_view("results")
    qtbot.waitUntil(lambda: page.results.model.rowCount() == 3, timeout=WAIT)
    results = page.results
    best = results.model.best
    assert best is not None
    assert best.run.name in results._best.text()
    for column, name in enumerate(results.model.columns):
        results.table.sortByColumn(column, Qt.SortOrder.AscendingOrder)
        values = [results._sorted.index(number, column).data(SORT_ROLE) for number in range(3)]
        assert values == sorted(values), name
    for number in range(3):
        assert results.plot.count(f"{number}-smooth") > 1


def test_a_queue_that_cannot_be_read_is_told_once(qtbot: Any, desk: Any, page: QueuePage) -> None:
    from core.runs.queue import queue_file

    change_queue(lambda queue: queue)
    queue_file().parent.mkdir(parents=True, exist_ok=True)
    queue_file().write_text("[]", "utf-8")
    told = []
    desk.notified.connect(told.append)
    desk.queue.refresh()
    qtbot.waitUntil(lambda: len(told) == 1, timeout=WAIT)
    assert "damaged" in told[0].text
