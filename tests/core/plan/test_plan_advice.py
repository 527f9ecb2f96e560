"""Fixes for want of memory: planned again, each one does what its button says."""

import dataclasses

import pytest

from core.errors import Problem, Severity
from core.facts.types import Facts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec
from core.units import GIB, format_bytes
from tests.core.plan.invented_facts import MACHINES, MODELS, data, facts, gpu, lengths, machine, spec

ASKED: tuple[dict[str, object], ...] = (
    {},
    {"model__quantization": "none"},
    {"model__quantization": "int8"},
    {"adapter__method": "full"},
    {"adapter__method": "full", "training__optimizer": "adamw"},
    {"model__quantization": "none", "hardware__activation_checkpointing": "off", "training__micro_batch_tokens": 16384},
    {"model__compute_dtype": "fp32", "hardware__attention": "eager"},
    {"adapter__modules_to_save": ("embed_tokens", "lm_head")},
    {"training__micro_batch_tokens": 32768, "training__effective_batch": 128},
)


def memory_problem(asked: RunSpec, known: Facts) -> Problem | None:
    words = ("are missing", "for want of memory")
    found = [p for p in plan(asked, known).problems if any(word in p.message for word in words)]
    assert len(found) <= 1
    return found[0] if found else None


def test_asked_settings_meet_want_of_memory_often_enough() -> None:
    met = [
        bool(memory_problem(spec(**asked), facts(machine_name, model_name)))
        for asked in ASKED
        for machine_name in MACHINES
        for model_name in MODELS
    ]
    assert 0.2 < sum(met) / len(met) < 0.8


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("machine_name", MACHINES)
def test_every_fix_does_what_it_says(asked: dict[str, object], machine_name: str) -> None:
    for model_name in MODELS:
        known = facts(machine_name, model_name)
        before = plan(spec(**asked), known)
        problem = memory_problem(spec(**asked), known)
        assert before.memory is not None
        assert bool(problem) == (before.memory.verdict != "fits")
        for fix in problem.fixes if problem else ():
            changed = spec(**asked)
            for edit in fix.edits:
                changed = changed.replace(edit.path, edit.value)
            after = plan(changed, known)
            assert after.memory is not None
            assert after.memory.peak_bytes < before.memory.peak_bytes, fix
            assert format_bytes(after.memory.peak_bytes) in fix.title
            assert ("fits" in fix.title) == (after.memory.verdict == "fits")
            if "fits" in fix.title:
                assert memory_problem(changed, known) is None
            new_errors = {p.path for p in after.problems if p.severity is Severity.ERROR} - {
                p.path for p in before.problems if p.severity is Severity.ERROR
            }
            assert not new_errors, fix


def test_what_fits_is_offered_first() -> None:
    problem = memory_problem(spec(model__quantization="none"), facts("rtx3060", "8b"))
    assert problem is not None
    assert problem.severity is Severity.ERROR
    assert "about 5." in problem.message
    assert problem.fixes[0].edits[0].value == "nf4"
    assert problem.fixes[0].title.startswith("Load the weights in 4 bits: fits with about")


def test_changes_that_only_help_together_are_offered_together() -> None:
    small = machine(gpu("Small", (8, 6), 3.0, 0.2), ram_gib=8, free_gib=1)
    asked = spec(
        model__quantization="none",
        hardware__activation_checkpointing="off",
        training__micro_batch_tokens=8192,
        training__effective_batch=64,
    )
    problem = memory_problem(asked, Facts(small, MODELS["1b"], data(lengths(longest=400, mean=200))))
    assert problem is not None
    together = [fix for fix in problem.fixes if fix.title.startswith("All of these together")]
    assert len(together) == 1
    assert len(together[0].edits) == 3


def test_no_hope_is_said() -> None:
    tiny = machine(gpu("Tiny", (8, 6), 1.0, 0.1), ram_gib=4, free_gib=1)
    problem = memory_problem(spec(), Facts(tiny, MODELS["70b"], data(lengths(mean=40, longest=90))))
    assert problem is not None
    assert problem.fixes == ()
    assert "smaller base model" in problem.advice


def test_tight_is_a_warning() -> None:
    known = facts("rtx4090", "1b")
    peak = plan(spec(training__micro_batch_tokens=2048, hardware__activation_checkpointing="off"), known).memory
    assert peak is not None
    card = dataclasses.replace(known.hardware.gpus[0], free_bytes=round(peak.peak_bytes / 0.95))
    tight = dataclasses.replace(known, hardware=dataclasses.replace(known.hardware, gpus=(card,)))
    asked = spec(
        training__micro_batch_tokens=2048, hardware__activation_checkpointing="off", model__quantization="none"
    )
    problem = memory_problem(asked, tight)
    assert problem is not None
    assert problem.severity is Severity.WARNING
    assert plan(asked, tight).can_start


def test_paged_states_need_ram() -> None:
    known = facts("rtx4090", "1b")
    starved = dataclasses.replace(known, hardware=dataclasses.replace(known.hardware, ram_free_bytes=GIB))
    asked = spec(adapter__method="full", training__optimizer="paged_adamw_8bit", training__learning_rate=2e-5)
    assert not plan(asked, known).problems
    (problem,) = plan(asked, starved).problems
    assert problem.path == "training.optimizer"
    assert "RAM" in problem.message
