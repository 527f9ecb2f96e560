"""Finished runs are trained further, continued on other data, and changed ones resumed with consent, in the window."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt

from core.events.tail import EventTail
from core.events.types import Step
from core.paths import write_atomic
from core.runs.history import RunSummary
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome, read_outcome, write_outcome
from core.runs.store import load_plan, load_spec
from core.spec.codec import to_yaml
from studio.pages.runs.page import RunsPage
from studio.pages.training.outcome_card import OutcomeCard
from tests.e2e.real_runs import run_inside, write_rows
from tests.studio.finished_run import finished_run

pytestmark = [pytest.mark.torch, pytest.mark.slow]

WAIT = 240_000


@pytest.fixture
def trained(short_starter: Path, lowrank_home: Path, tmp_path: Path) -> RunFolder:
    """A run of three steps that is complete, with its saved state."""
    rows = write_rows(tmp_path / "rows.jsonl", 12)
    folder = run_inside(
        short_starter, rows, training__max_steps=3, data__max_length=64, training__effective_batch=4
    ).folder
    write_outcome(
        folder, Outcome("completed", "Trained 3 steps.", step=3, steps=3, result={"path": str(folder.adapter)})
    )
    return folder


@pytest.fixture
def page(qtbot: Any, desk: Any, trained: RunFolder) -> Iterator[RunsPage]:
    made = listed(qtbot, desk, trained)
    yield made
    made.close_page()


def listed(qtbot: Any, desk: Any, folder: RunFolder) -> RunsPage:
    made = RunsPage(desk)
    qtbot.addWidget(made)
    made.resize(1240, 800)
    made.show()
    desk.runs.refresh()
    qtbot.waitUntil(lambda: made.model.rowCount() > 0, timeout=WAIT)
    made._choose({folder.path})
    return made


def steps_of(folder: RunFolder) -> list[int]:
    return [event.body.step for event in EventTail(folder.events()).read() if isinstance(event.body, Step)]


def press(qtbot: Any, made: Any) -> None:
    assert made.isEnabled(), made.toolTip()
    qtbot.mouseClick(made, Qt.MouseButton.LeftButton)


def change(folder: RunFolder, path: str, value: object) -> None:
    write_atomic(folder.spec, to_yaml(load_spec(folder).replace(path, value), full=True))


def test_a_finished_run_is_trained_further_as_it_was_shown(
    qtbot: Any, page: RunsPage, desk: Any, trained: RunFolder
) -> None:
    form = page.form
    assert not form.isVisible()
    press(qtbot, page.buttons["further"])
    assert form.isVisible()
    assert not form.go.isEnabled(), "nothing is planned yet"
    qtbot.waitUntil(lambda: form.extension is not None, timeout=WAIT)
    form.steps.setValue(2)
    assert not form.go.isEnabled(), "the plan is of other steps"
    qtbot.waitUntil(lambda: form.extension is not None, timeout=WAIT)
    assert form._words.text().startswith("From step 3 on, 2 steps more, 5 in all.")
    suggested = form.rate.value()
    assert suggested == pytest.approx(form.extension.seen.prepared.plan.curve.peak)
    form.rate.setValue(suggested / 2)
    form.schedule.setCurrentIndex(form.schedule.findData("constant"))
    form.schedule.activated.emit(form.schedule.currentIndex())
    qtbot.waitUntil(lambda: form.extension is not None, timeout=WAIT)
    assert form.rate.value() == suggested / 2, "a rate that was typed stays"
    assert "From step 3 on the learning rate is" in form._curve.accessibleName()
    press(qtbot, form.go)
    assert not form.isVisible()
    run = desk.runs.current
    qtbot.waitUntil(lambda: run.outcome is not None, timeout=WAIT)
    assert run.outcome.kind == "completed", run.outcome
    assert steps_of(trained) == [1, 2, 3, 4, 5]
    curve = load_plan(trained).curve
    assert (curve.start, curve.steps, curve.kind, curve.peak) == (3, 5, "constant", suggested / 2)


def test_a_change_since_the_end_is_shown_and_wants_consent(qtbot: Any, page: RunsPage, trained: RunFolder) -> None:
    change(trained, "training.max_grad_norm", 0.5)
    page.form.ask_about(trained)
    form = page.form
    qtbot.waitUntil(lambda: form.extension is not None, timeout=WAIT)
    assert "max_grad_norm" in form.extension.unmeant[0]
    assert not form.go.isEnabled()
    form.consent.click()
    assert form.go.isEnabled()
    change(trained, "adapter.rank", 5)
    form.ask_about(trained)
    qtbot.waitUntil(lambda: form.extension is not None or bool(form._notes._shown), timeout=WAIT)
    qtbot.waitUntil(lambda: bool(form._notes._shown), timeout=WAIT)
    assert not form.go.isEnabled()
    assert form.consent.isHidden(), "no consent makes a saved adapter another rank"
    form.close_card()
    assert not form.isVisible()


def test_a_changed_run_is_resumed_with_consent_after_all_changes_were_shown(
    qtbot: Any, desk: Any, trained: RunFolder
) -> None:
    change(trained, "training.max_steps", 4)
    change(trained, "training.learning_rate", 5e-4)
    trained.outcome.unlink()
    card = OutcomeCard(desk)
    qtbot.addWidget(card)
    card.resize(700, 500)
    run = desk.runs.resume(trained)
    qtbot.waitUntil(lambda: run.outcome is not None, timeout=WAIT)
    assert run.outcome.kind == "failed"
    card.refresh(run)
    card.show()
    assert card.consent.isVisible()
    assert card.hint.isHidden(), "it tells what to type"
    press(qtbot, card.consent.look)
    qtbot.waitUntil(card.consent.go.isVisible, timeout=WAIT)
    said = " ".join(problem.message for problem in card.consent.notes._shown)
    assert "learning_rate" in said
    press(qtbot, card.consent.go)
    again = desk.runs.current
    assert again is not run
    qtbot.waitUntil(lambda: again.outcome is not None, timeout=WAIT)
    assert again.outcome.kind == "completed", again.outcome
    assert steps_of(trained) == [1, 2, 3, 4]
    card.refresh(again)
    assert card.consent.isHidden()
    assert card.further.isVisible()


def test_a_finished_adapter_is_continued_with_data_that_is_still_to_be_named(
    qtbot: Any, desk: Any, starter: Path, starter_home: Path
) -> None:
    folder = finished_run(starter, "words")
    page = listed(qtbot, desk, folder)
    wanted: list[str] = []
    desk.went.connect(wanted.append)
    assert not page.buttons["further"].isEnabled(), "it has no saved state"
    assert page.buttons["further"].toolTip() == "Nothing was saved to go on from."
    press(qtbot, page.buttons["continue"])
    spec = desk.session.spec
    assert spec.adapter.start_from == str(folder.adapter)
    assert (spec.adapter.rank, spec.data.train, spec.output.name) == (2, (), "")
    assert wanted == ["data"]
    full = RunSummary("whole", folder.path, 0.0, "completed", method="full")
    assert "base model" in page._obstacle_of("continue", full)
    assert "resume" in page._obstacle_of("continue", RunSummary("half", folder.path, 0.0, "stopped"))
    assert read_outcome(folder) is not None
    page.close_page()
