"""What the planner answers about a spec beyond its plan; takes a moment, so it is asked in the background."""

import re
from dataclasses import dataclass

from core.facts.catalogue import entries
from core.facts.types import Facts, ModelFacts
from core.plan.cards import Card
from core.plan.solve import Solution, largest, solve
from core.plan.solve.largest import PATHS, What
from core.plan.what_if import CardPlan, compare, smallest_card
from core.spec.run_spec import RunSpec
from studio.workers.task import Report

_FOLLOWS = re.compile(r"instruct|chat|-it$|distill", re.IGNORECASE)
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


def smaller_bases(model: ModelFacts) -> tuple[ModelFacts, ...]:
    """Smaller models of the catalogue, largest first, one of each size: of the same series where it has smaller ones.

    An instruct model is replaced by instruct models, a bare one by bare ones, as far as there are any.
    """
    smaller = [entry for entry in entries() if entry.family == model.family]
    smaller = [entry for entry in smaller if entry.facts.parameters < model.parameters]
    series = _series(model.path)
    related = [entry for entry in smaller if _series(entry.name) == series] or smaller
    sizes: dict[int, ModelFacts] = {}
    for entry in sorted(related, key=lambda entry: _follows(entry.name) != _follows(model.path)):
        sizes.setdefault(entry.facts.parameters, entry.facts)
    return tuple(sizes[size] for size in sorted(sizes, reverse=True))


def _follows(name: str) -> bool:
    """Whether a model was made to follow instructions; the name says it, for base models may have templates too."""
    return bool(_FOLLOWS.search(name))


def _series(name: str) -> str:
    """What models of one series share: the beginning of the name, such as “llama” or “qwen2.5”."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].partition("-")[0].casefold()


def answer(spec: RunSpec, facts: Facts, cards: tuple[Card, ...], report: Report) -> Answers:
    """Asks the solver, the limits and the cards, one after the other."""
    assert facts.model is not None, "the page asks nothing before there is a model"
    solution = solve(spec, facts, smaller_bases(facts.model))
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
