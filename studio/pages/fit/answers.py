"""What the planner answers about a spec beyond its plan; takes a moment, so it is asked in the background."""

from dataclasses import dataclass

from core.facts.relatives import smaller_relatives
from core.facts.types import Facts
from core.plan.cards import Card
from core.plan.solve import Solution, largest, solve
from core.plan.solve.largest import PATHS, What
from core.plan.what_if import CardPlan, compare, smallest_card
from core.spec.run_spec import RunSpec
from studio.workers.task import Report

LIMITED: tuple[What, ...] = ("max_length", "rank", "micro_batch_tokens")
"""The settings whose largest value that fits is asked for."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest value of a setting that fits; None when not even the smallest does."""

    path: str
    now: int
    largest: int | None


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything the page shows of one spec."""

    spec: RunSpec
    solution: Solution
    limits: tuple[Limit, ...]
    smallest: Card | None
    cards: tuple[CardPlan, ...]


def answer(spec: RunSpec, facts: Facts, cards: tuple[Card, ...], report: Report) -> Answers:
    """Asks the solver, the limits and the cards, one after the other."""
    assert facts.model is not None, "the page asks nothing before there is a model"
    solution = solve(spec, facts, smaller_relatives(facts.model))
    report.check()
    limits = []
    for what in LIMITED:
        if not (what == "rank" and spec.adapter.method == "full"):
            limits.append(Limit(PATHS[what], _now(spec, PATHS[what]), largest(spec, facts, what)))
        report.check()
    smallest = smallest_card(spec, facts)
    report.check()
    return Answers(spec, solution, tuple(limits), smallest, compare(spec, facts, cards))


def _now(spec: RunSpec, path: str) -> int:
    value = spec.get(path)
    assert isinstance(value, int), path
    return value
