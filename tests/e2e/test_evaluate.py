"""An evaluation of a real run: the numbers of its own validation, a table, and a stop that leaves nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.cli.main import main
from core.engine.context import JobContext
from core.errors import ExitCode
from core.events.tail import EventTail
from core.events.types import Evaluated, Stopped
from core.facts.hardware import read_hardware
from core.runs import chat_cost
from core.runs.evaluations import list_evaluations
from core.runs.layout import RunFolder
from tests.e2e.real_runs import run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture
def trained(short_starter: Path, lowrank_home: Path, tmp_path: Path) -> RunFolder:
    rows = write_rows(tmp_path / "rows.jsonl", 20)
    return run_inside(
        short_starter,
        rows,
        training__max_steps=2,
        data__max_length=64,
        data__validation_share=0.2,
        training__effective_batch=4,
        training__learning_rate=2e-3,
    ).folder


def test_base_and_tuned_have_the_losses_of_the_trainings_own_validation(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = tmp_path / "choices.jsonl"
    choices.write_text(
        '{"question": "Two plus two?", "choices": ["four", "seventeen potatoes"], "answer": 0}\n{"question": "q"}\n'
    )
    answers = write_rows(tmp_path / "answers.jsonl", 2)
    told = [event.body.loss for event in EventTail(trained.events()).read() if isinstance(event.body, Evaluated)]

    assert main(["evaluate", str(trained.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    held = found["held_out"]
    assert held["base"] == pytest.approx(told[0], abs=1e-3)
    assert held["tuned"] == pytest.approx(told[-1], abs=1e-3)
    assert held["tuned"] < held["base"]
    assert held["rows"] == held["better"] + held["worse"]

    more = ["--answers", str(answers), "--choices", str(choices), "--tokens", "4"]
    assert main(["evaluate", str(trained.path), *more]) == 0
    printed = capsys.readouterr().out
    assert "Choices right" in printed
    assert f"{choices}:2" in printed.replace("\n", "")
    newest, first = list_evaluations(trained)[0]
    assert first.held_out is not None
    assert newest.answers is not None
    assert newest.choices is not None
    assert (newest.held_out, newest.answers.prompts, newest.choices.questions, newest.choices.skipped) == (
        None,
        2,
        1,
        1,
    )

    job = RunFolder(tmp_path / "job")
    job.control.mkdir(parents=True)
    job.request("stop").touch()
    from core.engine.evaluate_job import evaluate

    context = JobContext(job)
    evaluate(context, {"run": str(trained.path)})
    context.close()
    assert isinstance(EventTail(job.events()).read()[-1].body, Stopped)
    assert len(list_evaluations(trained)[0]) == 2


def test_a_copy_that_does_not_fit_is_refused_before_it_is_loaded(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        chat_cost, "read_hardware", lambda folder: replace(read_hardware(folder), ram_free_bytes=1 << 20)
    )
    assert main(["evaluate", str(trained.path)]) == ExitCode.DOES_NOT_FIT
    assert "only 1.0 MiB are free" in " ".join(capsys.readouterr().err.split())
    assert not list_evaluations(trained)[0]
    assert main(["evaluate", str(trained.path), "--anyway"]) == 0
    assert "Loads a copy of the model: about" in capsys.readouterr().out
    assert len(list_evaluations(trained)[0]) == 1
