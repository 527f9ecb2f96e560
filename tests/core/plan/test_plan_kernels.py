"""In which form layers are planned to compute: what is asked for, what is left to the run, and what cannot be had."""

import pytest

from core.plan.planner import plan
from tests.core.plan.invented_facts import facts, spec


def kernels_of(machine: str = "rtx4090", model: str = "8b", **settings: object):
    return plan(spec(**settings), facts(machine, model)).choices.kernels


def test_a_long_run_on_a_gpu_tries_faster_layers_and_says_why() -> None:
    chosen = kernels_of(training__epochs=50.0)
    assert (chosen.value, chosen.by_user) == ("measured", False)
    assert "tries faster layers first" in chosen.reason


@pytest.mark.parametrize(
    ("machine", "settings", "reason"),
    [
        ("cpu24", {}, "On a processor"),
        ("rtx4090", {"training__max_steps": 1}, "cost more than it saves"),
        ("rtx4090", {"hardware__deterministic": True}, "repeat itself"),
        ("rtx4090", {"hardware__device": "cpu"}, "On a processor"),
    ],
)
def test_where_a_trial_does_not_pay_layers_stay_plain(machine: str, settings: dict, reason: str) -> None:
    chosen = kernels_of(machine, "1b", **settings)
    assert chosen.value == "plain"
    assert reason in chosen.reason


def test_what_is_asked_for_is_taken() -> None:
    for name in ("plain", "compiled", "liger"):
        chosen = kernels_of(hardware__kernels=name, training__max_steps=1, hardware__deterministic=True)
        assert (chosen.value, chosen.by_user) == (name, True)
    assert kernels_of("cpu24", "135m", hardware__kernels="compiled").value == "compiled"


def test_what_cannot_be_had_is_named_and_mended() -> None:
    asked = spec(hardware__kernels="liger", hardware__device="cpu")
    made = plan(asked, facts("rtx4090", "135m"))
    (problem,) = [problem for problem in made.problems if problem.path == "hardware.kernels"]
    assert "Liger's kernels run on a GPU only" in problem.message
    assert made.choices.kernels.value == "plain"
    for edit in problem.fixes[0].edits:
        asked = asked.replace(edit.path, edit.value)
    mended = plan(asked, facts("rtx4090", "135m"))
    assert not [problem for problem in mended.problems if problem.path == "hardware.kernels"]


def test_plans_count_plain_layers_whatever_is_asked_for() -> None:
    """Nobody knows what another form takes before it was tried; the plan must not depend on it."""
    plain, compiled = (plan(spec(hardware__kernels=name), facts("rtx4090", "8b")) for name in ("plain", "compiled"))
    assert plain.memory == compiled.memory
    assert plain.duration == compiled.duration
