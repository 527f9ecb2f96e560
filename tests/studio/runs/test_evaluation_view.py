"""The view of a run's evaluations: what was measured, other runs beside it, and files that cannot be used."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

from core.facts.hardware import read_hardware
from core.runs import chat_cost
from core.runs.evaluations import ChoiceScores, ChoicesFound, Evaluation, HeldOut, RowChange, save_evaluation
from core.runs.layout import RunFolder
from studio.pages.runs.page import RunsPage
from tests.studio.finished_run import finished_run

pytestmark = pytest.mark.torch

GAIN, LOSS = (
    RowChange("/data/rows.jsonl:7", "An answer", 5, 3.0, 1.0),
    RowChange("/data/rows.jsonl:9", "No", 2, 1.0, 2.5),
)
HELD = HeldOut("validation", "same", 40, 900, 3.25, 2.5, 0.05, 38, 2, (GAIN,), (LOSS,), seen=0)
CHOICES = ChoicesFound("/data/q.jsonl", "q", 4, 0.5, ChoiceScores(0.25, 0.5), ChoiceScores(0.75, 1.0), ())


@pytest.fixture
def runs(starter: Path, lowrank_home: Path) -> tuple[RunFolder, RunFolder]:
    """Two finished runs that were evaluated on the same rows."""
    found = finished_run(starter, "first"), finished_run(starter, "second")
    for run, tuned in zip(found, (2.5, 2.25), strict=True):
        held = replace(HELD, tuned=tuned)
        save_evaluation(Evaluation(run.path.name, 1000.0, "cpu", "fp32", "none", 2.0, held, None, CHOICES), run)
    return found


@pytest.fixture
def page(qtbot: Any, desk: Any, runs: tuple[RunFolder, RunFolder]) -> Iterator[RunsPage]:
    made = RunsPage(desk)
    qtbot.addWidget(made)
    made.resize(1240, 800)
    made.show()
    desk.runs.refresh()
    qtbot.waitUntil(lambda: made.model.rowCount() == 2, timeout=60_000)
    yield made
    made.close_page()


def test_numbers_rows_and_other_runs_are_shown(qtbot: Any, page: RunsPage, runs: tuple[RunFolder, RunFolder]) -> None:
    assert not page.buttons["evaluate"].isEnabled()
    page._choose({runs[0].path})
    qtbot.mouseClick(page.buttons["evaluate"], Qt.MouseButton.LeftButton)
    view = page.evaluation
    assert view.isVisible()
    qtbot.waitUntil(lambda: view.known is not None, timeout=60_000)
    shown = [found.accessibleName() or found.text() for found in view.findChildren(QLabel)]
    for expected in (
        "3.2500",
        "2.5000",
        "-0.7500 ± 0.0500",
        "25.0%",
        "+50.0 points",
        "rows.jsonl:7",
        "-2.000",
        "+1.500",
    ):
        assert expected in shown
    assert {"first", "second", "2.2500"} <= set(shown)
    page.desk.runs.refresh()
    assert view.isVisible(), "a newer list leaves it open"
    view.close_view()
    assert page.table.isVisible()


def test_a_file_that_is_not_there_is_named_and_nothing_begins(
    qtbot: Any, page: RunsPage, runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    view = page.evaluation
    view.ask_about(runs[1])
    view.files["choices"].setText(str(tmp_path / "none.jsonl"))
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    assert view.stop.isVisible()
    qtbot.waitUntil(lambda: view.job is None, timeout=60_000)
    qtbot.waitUntil(view._notes.isVisible, timeout=5000)
    assert view._notes._shown[0].message.startswith("There is no such file")
    assert view.go.isVisible()


def test_what_a_copy_takes_is_said_before_and_anew_whenever_the_view_is_shown(
    qtbot: Any, page: RunsPage, runs: tuple[RunFolder, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    page._choose({runs[0].path})
    view = page.evaluation
    qtbot.mouseClick(page.buttons["evaluate"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: view.cost is not None, timeout=60_000)
    assert view.room.isVisible()
    assert view.room.text().startswith("Loads a copy of the model: about ")
    assert view.go.text() == "Evaluate"

    monkeypatch.setattr(
        chat_cost, "read_hardware", lambda folder: replace(read_hardware(folder), ram_free_bytes=1 << 20)
    )
    page.hide()
    page.show()
    qtbot.waitUntil(lambda: view.go.text() == "Evaluate anyway", timeout=60_000)
    assert "1.0 MiB are free. Unload a model on the page “Try”" in view.room.text()
    assert view.go.isEnabled()
