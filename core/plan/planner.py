"""`plan(spec, facts)`: what will happen, from what is asked and what is true. Pure, and fast enough for every click."""

import dataclasses
from collections.abc import Iterable

from core.errors import Problem, Severity
from core.facts.types import Facts
from core.plan.batch import batch_of
from core.plan.choices import decide
from core.plan.disk import disk_of
from core.plan.kernels import kernel_problems, kernels_of
from core.plan.memory import basis_of
from core.plan.problems import Case, early_problems, late_problems
from core.plan.schedule import curve_of
from core.plan.solve import memory_problems, paging_problems
from core.plan.time import duration_of
from core.plan.typed import typed
from core.plan.types import Plan
from core.spec.rules import check
from core.spec.run_spec import RunSpec


def plan(spec: RunSpec, facts: Facts) -> Plan:
    """The plan of a run, and every problem that can be seen before it starts.

    Never raises: what cannot be planned is None and a problem says why; a value of a wrong type counts as its default.
    The problems of the spec by itself (`core.spec.rules.check`) come first. The template is left for whoever has
    read the data.
    """
    broken = check(spec)
    spec = typed(spec, broken)
    decision = decide(spec, facts)
    model, data, training = facts.model, facts.data, decision.training
    batch = disk = duration = None
    if data is not None:
        choices = decision.choices
        batch = batch_of(spec.training, data.train, choices.micro_batch_tokens.value, packing=choices.packing.value)
    if model is not None and training is not None:
        free = facts.hardware.disk_free_bytes
        disk = disk_of(spec, model, training.targets, training.trained, decision.choices.optimizer.value, free, data)
        if batch is not None:
            duration = duration_of(spec, facts, decision, batch)
    curve = curve_of(spec.training, batch.steps) if batch else None
    case = Case(spec, facts, decision, batch, curve, disk, duration)
    kernels = kernels_of(spec, decision.choices, duration)
    return Plan(
        choices=dataclasses.replace(decision.choices, kernels=kernels),
        parameters=training.parameters if training else None,
        targets=training.targets if training else (),
        batch=batch,
        curve=curve,
        memory=decision.memory,
        disk=disk,
        duration=duration,
        problems=_merged(broken, _found(case)),
        notes={"memory": basis_of(model)},
    )


def _found(case: Case) -> Iterable[Problem]:
    yield from early_problems(case)
    yield from case.decision.problems
    yield from kernel_problems(case.spec, case.decision.choices)
    yield from memory_problems(case.decision)
    yield from paging_problems(case.facts, case.decision)
    yield from late_problems(case)


def _merged(broken: tuple[Problem, ...], found: Iterable[Problem]) -> tuple[Problem, ...]:
    """The spec's own problems first; where they already refuse a setting, nothing more is said about it."""
    refused = {problem.path for problem in broken if problem.severity is Severity.ERROR}
    return (*broken, *(problem for problem in found if problem.path not in refused))
