"""What the command line says of pairs of answers while they are learned from."""

from dataclasses import replace
from typing import Any

import pytest

from core.cli.console import Console
from core.cli.plan_report import print_plan, print_short_plan
from core.cli.progress import progress_line
from core.cli.run_report import print_losses
from core.events.run_state import fold
from core.events.types import Evaluated, Event, Hello, PhaseStarted, Started, Step
from core.plan.planner import plan
from tests.core.plan.invented_facts import facts, spec

HELLO = Hello(1, "1", "train", 1, "3.11")
STARTED = Started(0, 9, 8, 0, 10, 100, "none", "fp32", "flash", "chunked", 0, 512)


def line(*bodies: Any) -> str:
    return progress_line(fold(Event(number, float(number), 0, body) for number, body in enumerate(bodies)))


def step(**more: float) -> Step:
    return Step(1, 0.1, 0.6, 1e-5, 1.0, 100, 50, 1.0, 1000, **more)  # type: ignore[arg-type]


def test_preferred_and_margin_are_told_where_there_are_any() -> None:
    assert "preferred 75%  margin 0.30" in line(HELLO, STARTED, step(preferred=0.75, margin=0.3))
    assert "preferred" not in line(HELLO, STARTED, step())


def test_the_phase_has_a_word() -> None:
    assert "Looking" in line(HELLO, PhaseStarted("reference", "Looking at both answers"))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_finished_run_tells_both_first_to_last(capsys: pytest.CaptureFixture[str]) -> None:
    measured = Evaluated(2, 0.5, 90, 1.0, preferred=0.625, margin=0.25)
    last = replace(step(preferred=1.0, margin=1.5), step=2)
    told = [HELLO, STARTED, step(preferred=0.5, margin=0.0), last, measured]
    print_losses(Console(), fold(Event(number, float(number), 0, body) for number, body in enumerate(told)))
    words = said(capsys)
    assert "Preferred 50% → 100% of a step's pairs, 62% of the validation pairs" in words
    assert "Margin 0.000 → 1.500, 0.250 for the validation pairs" in words
    print_losses(Console(), fold(Event(number, float(number), 0, body) for number, body in enumerate((HELLO, step()))))
    assert "Preferred" not in said(capsys)


def test_a_plan_says_how_pairs_are_learned_from(capsys: pytest.CaptureFixture[str]) -> None:
    wanted, known = spec().replace("data.train_on", "preferences"), facts()
    for report in (print_plan, print_short_plan):
        report(Console(), wanted, known, plan(wanted, known))
        words = said(capsys)
        assert "pairs of answers to learn from" in words
        assert "Prefers the chosen answers to the rejected ones: DPO, beta 0.1" in words
        assert "beside it" not in words
        weighed = wanted.replace("training.chosen_weight", 0.2)
        report(Console(), weighed, known, plan(weighed, known))
        assert "DPO, beta 0.1, the chosen answers' own loss counts 0.2 beside it" in said(capsys)
        orpo = wanted.replace("training.preference_loss", "orpo")
        report(Console(), orpo, known, plan(orpo, known))
        assert "Learns the chosen answers and prefers them to the rejected ones: ORPO, beta 0.1" in said(capsys)
        report(Console(), spec(), known, plan(spec(), known))
        assert "the rejected ones" not in said(capsys)
