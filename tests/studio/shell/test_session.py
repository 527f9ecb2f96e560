"""The one flow: edits make specs, facts come from the background, the plan follows both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Edit, Severity
from core.spec.demo import demo_spec
from core.spec.run_spec import RunSpec


def rows(path: Path, count: int = 30) -> Path:
    lines = (
        json.dumps({"prompt": f"Question {n}?", "completion": f"Answer {n} and some words."}) for n in range(count)
    )
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_an_edit_replans_at_once(desk: Any, settled: Callable[[], None], starter_home: Path) -> None:
    desk.session.edit("model.base", "starter")
    settled()
    plan = desk.session.plan
    desk.session.edit("adapter.rank", 32)
    assert desk.session.plan is not plan
    assert desk.session.plan.parameters.trainable == 2 * plan.parameters.trainable


def test_facts_arrive_in_order_and_make_the_run_startable(
    desk: Any, settled: Callable[[], None], starter_home: Path, tmp_path: Path
) -> None:
    desk.session.apply((Edit("model.base", "starter"), Edit("data.train", (str(rows(tmp_path / "rows.jsonl")),))))
    settled()
    assert desk.session.model is not None
    assert desk.session.model.parameters == 134_515_008
    assert desk.session.data.train.rows + desk.session.data.validation.rows == 30
    prepared = desk.session.prepared()
    assert prepared is not None
    assert prepared.plan.can_start
    assert prepared.plan.template


def test_what_a_run_is_made_from_equals_what_the_command_line_prepares(
    desk: Any, settled: Callable[[], None], starter_home: Path
) -> None:
    from core.runs.prepare import prepare

    spec = demo_spec("starter")
    desk.session.set_spec(spec)
    settled()
    ours, theirs = desk.session.prepared(), prepare(spec)
    assert ours.spec == theirs.spec
    assert ours.facts.data == theirs.facts.data
    assert ours.facts.model == theirs.facts.model
    assert ours.plan.template == theirs.plan.template
    assert ours.plan.parameters == theirs.plan.parameters


def test_an_edit_that_concerns_no_file_reads_none(
    desk: Any, settled: Callable[[], None], starter_home: Path, tmp_path: Path
) -> None:
    desk.session.apply((Edit("model.base", "starter"), Edit("data.train", (str(rows(tmp_path / "rows.jsonl")),))))
    settled()
    data = desk.session.data
    desk.session.edit("training.learning_rate", 1e-4)
    settled()
    assert desk.session.data is data


def test_a_missing_model_and_a_missing_file_are_problems_with_advice(
    desk: Any, settled: Callable[[], None], starter_home: Path, tmp_path: Path
) -> None:
    desk.session.edit("model.base", str(tmp_path / "nowhere"))
    settled()
    [problem] = desk.session.model_problems
    assert "nowhere" in problem.message
    assert problem.advice
    assert desk.session.prepared() is None
    desk.session.apply((Edit("model.base", "starter"), Edit("data.train", (str(tmp_path / "none.jsonl"),))))
    settled()
    assert desk.session.model is not None
    assert any(item.severity is Severity.ERROR for item in desk.session.data_problems)


def test_the_newest_choice_wins_however_long_the_older_ones_take(
    desk: Any, settled: Callable[[], None], starter_home: Path, tmp_path: Path
) -> None:
    settled()
    for name in ("one", "two", "three"):
        desk.session.edit("model.base", str(tmp_path / name))
    desk.session.edit("model.base", "starter")
    settled()
    assert desk.session.model.family == "llama"
    assert desk.session.model_problems == ()


def test_undo_and_redo_go_through_changes_one_setting_at_a_time(desk: Any) -> None:
    session = desk.session
    for rank in (17, 18, 19):
        session.edit("adapter.rank", rank)  # one drag of a slider
    session.edit("training.epochs", 3.0)
    assert session.undo()
    assert (session.spec.adapter.rank, session.spec.training.epochs) == (19, RunSpec().training.epochs)
    assert session.undo()
    assert session.spec == RunSpec()
    assert not session.undo()
    assert session.redo()
    assert session.redo()
    assert not session.redo()
    assert (session.spec.adapter.rank, session.spec.training.epochs) == (19, 3.0)


def test_the_draft_survives_and_a_broken_one_is_kept(desk: Any, lowrank_home: Path) -> None:
    from studio.state.drafts import Draft, draft_path, read_draft

    draft = Draft(desk.session)
    desk.session.edit("adapter.rank", 24)
    draft.save()
    spec, problems = read_draft()
    assert (spec.adapter.rank, problems) == (24, ())
    draft_path().write_text("adapter: {rank: many}\nnonsense: [", "utf-8")
    spec, problems = read_draft()
    assert spec == RunSpec()
    assert problems
    assert draft_path().with_suffix(".broken.yaml").read_text("utf-8").startswith("adapter")


def test_a_draft_that_cannot_be_written_is_told(desk: Any, lowrank_home: Path, qtbot: Any) -> None:
    from studio.state.drafts import Draft

    lowrank_home.parent.mkdir(exist_ok=True)
    lowrank_home.write_text("a file where the folder should be", "utf-8")
    draft = Draft(desk.session)
    desk.session.edit("adapter.rank", 24)
    with qtbot.waitSignal(draft.unsaved) as told:
        draft.save()
    assert "draft" in str(told.args[0][0]) or "folder" in str(told.args[0][0])


def test_preferences_survive_and_a_damaged_file_means_the_defaults(lowrank_home: Path) -> None:
    from studio.state.preferences import Choices, Preferences

    first = Preferences()
    first.set("theme", "dark")
    first.remember("recent", "/a.yaml")
    first.remember("recent", "/b.yaml")
    first.remember("recent", "/a.yaml")
    again = Preferences()
    assert (again.now.theme, again.now.recent) == ("dark", ("/a.yaml", "/b.yaml"))
    first.path.write_text("{", "utf-8")
    broken = Preferences()
    assert broken.now == Choices()
    assert str(first.path) in broken.problem


@pytest.mark.parametrize("where", ["result", "failure", "progress"])
def test_a_cancelled_task_delivers_nothing(qtbot: Any, where: str) -> None:
    import threading

    from studio.workers.task import Report, end_tasks, start_task

    go = threading.Event()
    told: list[object] = []

    def work(report: Report) -> str:
        assert go.wait(10)
        if where == "progress":
            report("late")
        if where == "failure":
            raise ValueError("late")
        return "late"

    task = start_task(work, on_done=told.append, on_failed=told.append, on_progress=told.append)
    task.cancel()
    go.set()
    assert task.wait(10_000)
    qtbot.wait(50)
    assert told == []
    assert end_tasks() == 0


def test_a_task_calls_back_on_the_thread_that_asked(qtbot: Any) -> None:
    import threading

    from studio.workers.task import start_task

    here = threading.get_ident()
    seen: list[tuple[str, int]] = []

    def work(report: Any) -> int:
        report("half")
        return threading.get_ident()

    start_task(
        work,
        on_done=lambda there: seen.append(("done", threading.get_ident() if there != here else 0)),
        on_failed=lambda failure: seen.append((str(failure), 0)),
        on_progress=lambda progress: seen.append((str(progress[0]), threading.get_ident())),
    )
    qtbot.waitUntil(lambda: len(seen) == 2)
    assert seen == [("half", here), ("done", here)]


def test_start_stays_ready_right_after_an_edit_that_needs_no_reading(
    desk: Any, settled: Callable[[], None], starter_home: Path
) -> None:
    desk.session.set_spec(demo_spec("starter"))
    settled()
    desk.session.edit("training.max_steps", 7)
    assert desk.session.prepared() is not None, "a click a moment after a number was typed must count"
    desk.session.edit("data.max_length", 600)
    assert desk.session.prepared() is None
    settled()
    assert desk.session.prepared() is not None
