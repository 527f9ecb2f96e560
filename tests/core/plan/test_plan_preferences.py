"""What the planner knows of runs that learn from pairs of answers."""

import dataclasses

import pytest

from core.errors import Severity
from core.facts.types import Facts
from core.plan.planner import plan
from core.plan.search import longest_row, row_limit
from core.plan.suggest import suggest
from core.plan.types import Plan
from core.spec.run_spec import RunSpec
from tests.core.plan.invented_facts import MACHINES, MODELS, data, spec

FACTS = Facts(MACHINES["rtx4090"], MODELS["1b"], data())


def preferring(**more: object) -> RunSpec:
    """A run with settings of its own, two underscores for the dot."""
    made = spec().replace("data.train_on", "preferences").replace("training.learning_rate", 1e-5)
    for path, value in more.items():
        made = made.replace(path.replace("__", "."), value)
    return made


def rate_problems(found: Plan) -> list[str]:
    return [problem.message for problem in found.problems if problem.path == "training.learning_rate"]


def test_a_pair_may_be_twice_as_long_as_a_document() -> None:
    wanted = preferring(data__max_length=512)
    assert row_limit(wanted) == 1024
    assert row_limit(wanted.replace("data.train_on", "completions")) == 512
    rows = dataclasses.replace(data(), train=dataclasses.replace(data().train, longest=900))
    assert longest_row(wanted, Facts(MACHINES["rtx4090"], MODELS["1b"], rows)) == 900
    assert longest_row(wanted, Facts(MACHINES["rtx4090"], MODELS["1b"], None)) == 1024


@pytest.mark.parametrize(("kind", "usual"), [("dpo", 1e-5), ("orpo", 5e-5)])
def test_preferences_want_smaller_steps(kind: str, usual: float) -> None:
    wanted = preferring(training__preference_loss=kind)
    assert rate_problems(plan(wanted.replace("training.learning_rate", usual), FACTS)) == []
    assert rate_problems(plan(wanted.replace("training.learning_rate", 5 * usual), FACTS)) == []
    (said,) = rate_problems(plan(wanted.replace("training.learning_rate", 6 * usual), FACTS))
    assert "unusually high for adapters with preference pairs" in said
    problem = next(one for one in plan(wanted.replace("training.learning_rate", 1e-3), FACTS).problems
                   if one.path == "training.learning_rate")  # fmt: skip
    assert problem.fixes[0].edits[0].value == pytest.approx(usual)
    suggested = {one.path: one.value for one in suggest(wanted, FACTS)}
    assert suggested["training.learning_rate"] == pytest.approx(usual)


def test_a_model_whose_state_leaks_cannot_keep_two_answers_apart() -> None:
    leaky = dataclasses.replace(MODELS["1b"], state_leaks=True)
    facts = Facts(MACHINES["rtx4090"], leaky, data())
    (problem,) = [one for one in plan(preferring(), facts).errors if one.path == "data.train_on"]
    assert problem.severity is Severity.ERROR
    mended = preferring()
    for edit in problem.fixes[0].edits:
        mended = mended.replace(edit.path, edit.value)
    assert not [one for one in plan(mended, facts).errors if one.path == "data.train_on"]


def test_the_look_before_the_training_takes_time_and_room() -> None:
    found, orpo = plan(preferring(), FACTS), plan(preferring(training__preference_loss="orpo"), FACTS)
    assert found.duration is not None
    assert orpo.duration is not None
    assert found.disk is not None
    assert orpo.disk is not None
    parts = found.duration.parts
    assert 0 < parts["reference"] < parts["steps"]
    assert sum(parts.values()) == pytest.approx(found.duration.seconds)
    assert "reference" not in orpo.duration.parts
    rows = data().train.rows + data().validation.rows
    assert found.disk.run_bytes - orpo.disk.run_bytes == 16 * rows
    one = plan(preferring(training__max_steps=1), FACTS)
    assert one.duration is not None
    assert one.duration.parts["reference"] < parts["reference"]
