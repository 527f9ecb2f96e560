"""A finished run is trained further: the same past, more steps, and a learning rate that is written down."""

from pathlib import Path

import pytest

from core.cli.main import main
from core.events.tail import EventTail
from core.events.types import Completed, Evaluated, Notice, Started, Step
from core.plan.schedule import learning_rate
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome, read_outcome, write_outcome
from core.runs.store import load_plan, load_spec
from tests.e2e.real_runs import Finished, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def complete(finished: Finished) -> RunFolder:
    """A run whose engine was this process, with the last word that whoever starts engines writes."""
    words = finished.events[-1].body
    assert isinstance(words, Completed)
    folder, steps = finished.folder, load_spec(finished.folder).training.max_steps
    write_outcome(folder, Outcome("completed", words.message, step=words.step, steps=steps, result=words.result))
    return folder


def steps_of(folder: RunFolder) -> list[Step]:
    return [event.body for event in EventTail(folder.events()).read() if isinstance(event.body, Step)]


def test_a_finished_run_is_extended_from_its_last_state(
    short_starter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    folder = complete(run_inside(short_starter, rows, training__max_steps=4, data__validation_share=0.2))
    before = steps_of(folder)
    assert main(["resume", str(folder.path)]) != 0
    assert "lowrank extend" in capsys.readouterr().err
    assert main(["extend", str(folder.path), "--steps", "3"]) == 0
    assert "after step 4 for 3 steps more" in capsys.readouterr().out
    after = steps_of(folder)
    assert after[:4] == before
    assert [step.step for step in after] == [1, 2, 3, 4, 5, 6, 7]
    spec, plan = load_spec(folder), load_plan(folder)
    assert spec.training.max_steps == 7
    assert plan.curve is not None
    assert plan.curve.start == 4
    assert spec.training.extensions == (f"4: {plan.curve.peak!r}",)
    assert [step.learning_rate for step in after] == [learning_rate(plan.curve, step) for step in range(7)]
    assert after[4].learning_rate > after[6].learning_rate > 0
    events = EventTail(folder.events()).read()
    assert [event.body.step for event in events if isinstance(event.body, Started)] == [0, 4]
    assert [event.body.step for event in events if isinstance(event.body, Evaluated)][-1] == 7
    assert sum(isinstance(event.body, Notice) and event.body.code == "accepted_change" for event in events) == 3
    outcome = read_outcome(folder)
    assert outcome is not None
    assert (outcome.kind, outcome.step, outcome.steps) == ("completed", 7, 7)
    assert main(["extend", str(folder.path), "--epochs", "0.5", "--rate", "0.0001", "--schedule", "linear"]) == 0
    assert "from step 7 on rises for 1 steps to 0.0001, then falls to zero along a line" in capsys.readouterr().out
    assert load_spec(folder).training.extensions[1] == "7: 0.0001 linear"
    assert steps_of(folder)[7].learning_rate == pytest.approx(1e-4)


def test_an_extension_of_a_run_that_early_stopping_ended_has_all_of_the_patience(
    short_starter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the evaluations without progress that ended it: it would end before its first step."""
    rows = write_rows(tmp_path / "rows.jsonl", 12)
    settings = {"training__early_stopping": 2, "training__evaluate_every": 1, "training__learning_rate": 1.0}
    first = complete(run_inside(short_starter, rows, training__max_steps=8, data__validation_share=0.3, **settings))
    assert [step.step for step in steps_of(first)] == [1, 2], "the rate is far too high to learn anything"
    assert main(["extend", str(first.path), "--steps", "6", "--rate", "1.0"]) == 0, capsys.readouterr().err
    assert [step.step for step in steps_of(first)] == [1, 2, 3, 4]
    events = EventTail(first.events()).read()
    assert [event.body.step for event in events if isinstance(event.body, Evaluated)] == [0, 1, 2, 3, 4]
    assert sum(isinstance(event.body, Notice) and event.body.code == "early_stop" for event in events) == 2
    outcome = read_outcome(first)
    assert outcome is not None
    assert (outcome.kind, outcome.step) == ("completed", 4)


def test_an_extension_needs_a_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extend", str(tmp_path), "--steps", "3"]) != 0
    assert "is not a run" in capsys.readouterr().err
