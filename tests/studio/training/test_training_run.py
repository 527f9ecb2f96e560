"""A run as the page shows it: every way in which one can go and end, with the fake engine."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from core.events.run_state import fold
from core.events.types import Evaluated, Event, Sampled, Step
from core.events.writer import EventWriter
from core.runs.layout import RunFolder
from studio.pages.training.curves import Curves
from studio.pages.training.memory import memory_of
from studio.pages.training.page import TrainingPage

WAIT = 30_000
Begin = Callable[..., Any]


def find(page: TrainingPage, name: str) -> Any:
    found = page.findChild(QWidget, name)
    assert found is not None, name
    return found


def ended(page: TrainingPage, qtbot: Any, run: Any) -> None:
    qtbot.waitUntil(lambda: run.outcome is not None and not run.is_live, timeout=WAIT)
    qtbot.waitUntil(page.run.outcome.isVisible, timeout=WAIT)


def click(qtbot: Any, widget: Any) -> None:
    assert widget.isVisible(), widget.objectName()
    assert widget.isEnabled(), widget.objectName()
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def test_before_any_run_the_page_says_where_one_would_be(page: TrainingPage, qtbot: Any) -> None:
    assert page.setup.isVisible()
    click(qtbot, find(page, "training-side-run"))
    assert page.nothing.isVisible()
    click(qtbot, find(page, "to-setup"))
    assert page.setup.isVisible()


def test_a_run_that_does_all_it_was_asked(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("ok")
    assert page.run.isVisible(), "a run that begins comes to the front"
    ended(page, qtbot, run)
    assert find(page, "run-status").text() == "Completed"
    assert find(page, "outcome-title").text() == "Completed"
    assert find(page, "metric-step").text() == "5 of 5"
    assert find(page, "metric-loss").text() == "0.6000"
    plots = page.run.curves.plots
    qtbot.waitUntil(lambda: not page.run.curves.feed.is_behind, timeout=WAIT)
    assert [plots.loss.count(key) for key in ("raw", "smooth")] == [5, 5]
    assert all(plot.count("value") == 5 for plot in plots.small)
    assert "Step 5" in plots.loss.accessibleName()
    assert not find(page, "run-pause").isVisible()
    assert not find(page, "resume").isVisible(), "a completed run has nothing to go on with"
    went: list[str] = []
    page.desk.went.connect(went.append)
    click(qtbot, find(page, "outcome-export"))
    click(qtbot, find(page, "outcome-try"))
    assert went == ["export", "try"]
    click(qtbot, find(page, "new-run"))
    assert page.setup.isVisible()
    click(qtbot, find(page, "training-side-run"))
    assert page.run.isVisible()


@pytest.mark.parametrize(
    ("mode", "title", "words"),
    [
        ("oom", "Out of memory", "memory ran out"),
        ("segfault", "The engine crashed", "SIGSEGV"),
        ("crash_midway", "The engine crashed", "3"),
        ("sigkill_self", "The engine crashed", "SIGKILL"),
        ("silent_exit", "The engine crashed", ""),
        ("torn_line", "The engine crashed", ""),
        ("bad_protocol", "The plan no longer holds", ""),
        ("other_rank_fails", "Out of memory", "GPU 1"),
        ("flood", "Completed", "5 steps"),
    ],
)
def test_every_bad_end_is_told_with_what_to_do(
    page: TrainingPage, begin: Begin, qtbot: Any, mode: str, title: str, words: str
) -> None:
    run = begin(mode)
    ended(page, qtbot, run)
    assert find(page, "outcome-title").text() == title
    assert find(page, "run-status").text() == title
    assert words in f"{run.outcome.text} {run.outcome.detail} {run.outcome.signal}"
    assert find(page, "outcome-message").text() == run.outcome.message
    assert page.run.outcome.hint.isVisible() == bool(page.run.outcome.hint.text())
    assert not find(page, "run-stop").isVisible()
    if run.outcome.detail:
        assert not find(page, "outcome-detail").isVisible()
        click(qtbot, find(page, "outcome-more"))
        assert find(page, "outcome-detail").toPlainText() == run.outcome.detail
        assert find(page, "outcome-detail").isVisible()
        click(qtbot, find(page, "outcome-copy"))
        assert QApplication.clipboard().text() == run.outcome.detail
    if mode == "crash_midway":
        assert "the fake engine fell over" in run.outcome.detail


def test_stop_asks_first_and_then_insists(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("ignore_stop")
    qtbot.waitUntil(lambda: run.state.step == 1, timeout=WAIT)
    stop = find(page, "run-stop")
    run.thread_of_run.supervisor._limits = _quick()
    click(qtbot, stop)
    assert stop.text() == "Stop now"
    assert find(page, "run-status").text() == "Stopping"
    assert not find(page, "run-pause").isEnabled()
    assert not find(page, "run-save").isEnabled()
    run.stop(0.0)
    ended(page, qtbot, run)
    assert run.outcome.kind == "stopped"


def _quick() -> Any:
    from core.runs.supervisor import Limits

    return Limits(terminate=0.2, kill=5.0, linger=0.2)


def test_requests_are_pending_until_they_are_answered(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("steady")
    qtbot.waitUntil(lambda: run.state.step > 2, timeout=WAIT)
    waiting = find(page, "run-waiting")
    qtbot.waitUntil(lambda: find(page, "run-save").isEnabled(), timeout=WAIT)
    click(qtbot, find(page, "run-save"))
    assert waiting.text() == "The state is saved after this step."
    assert not find(page, "run-save").isEnabled()
    qtbot.waitUntil(lambda: waiting.text().startswith("Saved after step "), timeout=WAIT)
    qtbot.waitUntil(lambda: find(page, "run-save").isEnabled(), timeout=WAIT)
    click(qtbot, find(page, "run-sample"))
    assert waiting.text() == "The prompts are answered after this step."
    click(qtbot, find(page, "run-pause"))
    assert find(page, "run-status").text() == "Pausing"
    ended(page, qtbot, run)
    assert find(page, "run-status").text() == "Paused"
    assert "resume" in run.outcome.hint.lower()


def test_a_resumed_run_keeps_its_curve_and_forgets_what_never_happened(
    page: TrainingPage, begin: Begin, qtbot: Any
) -> None:
    run = begin("torn_line")
    ended(page, qtbot, run)
    plots = page.run.curves.plots
    qtbot.waitUntil(lambda: plots.loss.count("raw") == 3, timeout=WAIT)
    assert find(page, "resume").isVisible()
    page.desk.runs._command = _resuming(page.desk.runs._command)
    click(qtbot, find(page, "resume"))
    again = page.desk.runs.current
    assert again is not run
    assert plots.loss.count("raw") == 3, "the curve stays while the engine starts"
    ended(page, qtbot, again)
    qtbot.waitUntil(lambda: plots.loss.count("smooth") == 5, timeout=WAIT)
    assert plots.loss.scene.series["raw"].points.xs.tolist() == [1, 2, 3, 4, 5]
    assert again.state.attempt == 2


def test_a_run_with_pairs_shows_how_many_it_prefers_and_another_does_not(
    page: TrainingPage, begin: Begin, qtbot: Any
) -> None:
    run = begin("pairs")
    ended(page, qtbot, run)
    plots = page.run.curves.plots
    qtbot.waitUntil(lambda: not page.run.curves.feed.is_behind, timeout=WAIT)
    assert all(plot.isVisible() for plot in plots.pairs)
    preferred, margin = (plot.scene.series for plot in plots.pairs)
    assert preferred["raw"].points.ys.tolist() == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert margin["raw"].points.ys.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert [len(shown["smooth"].points) for shown in (preferred, margin)] == [5, 5]
    assert 0.6 < preferred["smooth"].points.ys[-1] < 1.0, "what came before counts"
    assert (preferred["validation"].points.xs.tolist(), preferred["validation"].points.ys.tolist()) == (
        [0.0, 5.0],
        [0.5, 0.75],
    )
    assert "100 %" in plots.preferred.accessibleName()
    assert find(page, "metric-preferred").text() == "100 % (validation 75 %)"
    assert find(page, "metric-margin").text() == "0.50 (validation 0.25)"
    page.run.curves.slider.setValue(0)
    assert preferred["smooth"].points.ys.tolist() == preferred["raw"].points.ys.tolist()
    other = begin("ok")
    ended(page, qtbot, other)
    assert not any(plot.isVisible() for plot in plots.pairs)
    assert plots.preferred.count("raw") == 0
    assert not find(page, "metric-preferred").isVisible()


def test_a_long_run_with_pairs_is_smoothed_in_the_background(desk: Any, qtbot: Any) -> None:
    count, late = 60_000, 12_000

    def step(number: int) -> Step:
        preferred = 0.75 if number > late else None  # as if an older version had begun the run
        return Step(number, 0.0, 1.0, 1e-5, 0.5, 100, 40, 0.01, 1, preferred=preferred, margin=preferred)

    state = fold(Event(number, 1.0 + number, 0, step(number)) for number in range(1, count + 1))
    card = Curves(desk)
    qtbot.addWidget(card)
    card.resize(800, 700)
    card.show()
    card.begin("long")
    with qtbot.waitSignal(card.feed.caught_up, timeout=WAIT):
        card.take(state)
    shown = card.plots.preferred.scene.series
    assert [len(shown[key].points) for key in ("raw", "smooth")] == [count, count]
    assert shown["raw"].points.xs.tolist() == list(range(1, count + 1))
    assert math.isnan(shown["raw"].points.ys[late - 1])
    assert shown["smooth"].points.ys[late] == pytest.approx(0.75), "what is not known has no weight"
    assert not card.grab().isNull()


def _resuming(command: Callable[[RunFolder], Any]) -> Callable[[RunFolder], Any]:
    from dataclasses import replace

    def made(folder: RunFolder) -> Any:
        before = command(folder)
        return replace(before, argv=(*before.argv[:4], "resume"))

    return made


def test_a_folder_that_cannot_be_run_is_a_problem_in_words(page: TrainingPage, qtbot: Any, tmp_path: Path) -> None:
    page.desk.runs.watch(RunFolder(tmp_path / "nothing"), attach=True)
    run = page.desk.runs.current
    qtbot.waitUntil(lambda: bool(run.problems), timeout=WAIT)
    qtbot.waitUntil(lambda: find(page, "outcome-title").isVisible(), timeout=WAIT)
    assert find(page, "outcome-title").text() == "The run could not be started"
    assert find(page, "run-status").text() == "Not started"
    assert not find(page, "resume").isVisible()


def test_samples_stand_beside_their_prompts(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("ok")
    ended(page, qtbot, run)
    with EventWriter(run.folder.events()) as writer:
        for step, text in ((0, "base words"), (2, "early words"), (5, "late words")):
            writer.emit(Sampled(step, 0, "Who are you?", text, 2, 0.1, "base" if step == 0 else "tuned"))
        writer.emit(Evaluated(5, 1.25, 10, 0.1, best=True))
    again = page.desk.runs.watch(run.folder)
    ended(page, qtbot, again)
    assert find(page, "sample").accessibleName() == "Who are you?"
    assert find(page, "answer-base").text() == "base words"
    assert find(page, "answer-tuned").text() == "late words"
    steps = find(page, "sample-step")
    assert [steps.itemText(n) for n in range(steps.count())] == ["newest", "after step 5", "after step 2"]
    steps.setCurrentIndex(2)
    steps.activated.emit(2)
    qtbot.waitUntil(lambda: _texts(page, "answer-tuned") == ["early words"], timeout=WAIT)
    assert page.run.curves.plots.loss.count("validation") == 1
    assert find(page, "metric-validation").text() == "1.250"


def _texts(page: TrainingPage, name: str) -> list[str]:
    return [item.text() for item in page.findChildren(QWidget, name) if item.isVisible()]


def test_the_log_grows_and_keeps_to_its_end(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("steady")
    run.folder.log.write_text("first line\n", "utf-8")
    click(qtbot, find(page, "run-tab-log"))
    log = find(page, "engine-log")
    qtbot.waitUntil(lambda: "first line" in log.toPlainText(), timeout=WAIT)
    with run.folder.log.open("a") as file:
        file.write("loading\rloading 99 %\n\x1b[31mred\x1b[0m\n" + "line\n" * 3000)
    qtbot.waitUntil(lambda: log.toPlainText().count("line") > 3000, timeout=WAIT)
    assert "loading 99 %\nred\n" in log.toPlainText()
    assert "\x1b" not in log.toPlainText()
    assert log.verticalScrollBar().value() == log.verticalScrollBar().maximum()
    click(qtbot, find(page, "log-copy"))
    assert "first line" in QApplication.clipboard().text()
    run.stop()
    ended(page, qtbot, run)
    assert memory_of(page.desk).tab == "log"


def test_what_is_really_in_use_and_health_are_told(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("steady")
    qtbot.waitUntil(lambda: run.state.step > 3, timeout=WAIT)
    click(qtbot, find(page, "run-tab-used"))
    used = dict(page.run.used._shown)
    assert used["Computes in"] == "float32"
    assert used["Attention kernel"] == "PyTorch SDPA"
    assert used["Trainable parameters"] == "1.0 k of 100 k (1.00 %)"
    qtbot.waitUntil(lambda: bool(page.run.health.notes), timeout=WAIT)
    assert page.run.health.isVisible()
    run.stop()
    ended(page, qtbot, run)


def test_the_computer_is_looked_at_again_when_a_run_ends(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    session = page.desk.session
    session._read_for["hardware"] = "the disk of before"
    asked: list[bool] = []
    session._read_stale = lambda: asked.append("hardware" in session._read_for)
    run = begin("ok")
    assert False not in asked
    ended(page, qtbot, run)
    assert asked[-1:] == [False]


def test_a_page_that_is_behind_draws_nothing_and_catches_up(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    page.hide()
    page.hidden()
    run = begin("ok")
    qtbot.waitUntil(lambda: run.outcome is not None, timeout=WAIT)
    assert page.run.curves.plots.loss.count("raw") == 0
    page.show()
    page.shown()
    qtbot.waitUntil(lambda: page.run.curves.plots.loss.count("raw") == 5, timeout=WAIT)
    assert page.run.outcome.isVisible()


def test_the_window_made_anew_shows_the_same_side(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("ok")
    ended(page, qtbot, run)
    page.run.curves.slider.setValue(50)
    page.show_side("setup")
    again = TrainingPage(page.desk)
    qtbot.addWidget(again)
    again.show()
    assert again.setup.isVisible()
    assert again.run.curves.feed._smoother_weight == 0.5
    again.close_page()


def test_settings_of_a_run_can_be_taken_again(page: TrainingPage, begin: Begin, qtbot: Any) -> None:
    run = begin("ok")
    ended(page, qtbot, run)
    session = page.desk.session
    session.edit("adapter.rank", 99)
    notices: list[Any] = []
    page.desk.notified.connect(notices.append)
    click(qtbot, find(page, "outcome-again"))
    assert session.spec.adapter.rank == 16
    assert session.spec.output.name == ""
    assert page.setup.isVisible()
    notices[-1].actions[0].perform()
    assert session.spec.adapter.rank == 99
