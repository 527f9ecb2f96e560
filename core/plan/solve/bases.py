"""Smaller base models that could be tuned instead, the nearest relatives first."""

import dataclasses
from collections.abc import Iterator, Sequence

from core.errors import Edit
from core.facts.types import ModelFacts
from core.plan.solve.changes import OTHER, Change, Option
from core.plan.solve.sets import Taken, cheapest
from core.plan.solve.trials import Trial, Trials, edited
from core.units import format_count

MOST_BASES = 3
# A second model of nearly the same size as one that is offered already is no other choice.
SAME_SIZE = 0.95


def smaller_bases(trials: Trials, bases: Sequence[ModelFacts]) -> Iterator[Taken]:
    """Smaller models that fit as they are: the nearest relatives, the largest first, each of another size."""
    sizes: list[int] = []
    for model in _ordered(trials.first, bases):
        if any(min(model.parameters, size) > SAME_SIZE * max(model.parameters, size) for size in sizes):
            continue
        taken = _on_base(trials, model)
        if taken is not None and taken.trial.fits:
            yield taken
            sizes.append(model.parameters)
        if len(sizes) == MOST_BASES:
            return


def with_smaller_base(trials: Trials, bases: Sequence[ModelFacts]) -> Taken | None:
    """A smaller model and whatever else is needed: the first with which that works."""
    for model in _ordered(trials.first, bases):
        taken = _on_base(trials, model)
        more = cheapest(trials, taken.trial) if taken is not None else None
        if taken is not None and more is not None:
            return Taken((*taken.steps, *more.steps), more.trial)
    return None


def _ordered(first: Trial, bases: Sequence[ModelFacts]) -> list[ModelFacts]:
    """Relatives have the same architecture and vocabulary; among models of one size the most alike name comes first."""
    now, free = first.model, first.ground.free_bytes
    name = name_of(now)

    def key(model: ModelFacts) -> tuple[bool, bool, int, int]:
        alike = _shared(name, name_of(model)) + _shared(name[::-1], name_of(model)[::-1])
        return model.family != now.family, model.vocab_size != now.vocab_size, -model.parameters, -alike

    # Half a byte for each weight is the least there is.
    smaller = (model for model in bases if model.parameters < now.parameters and model.parameters // 2 <= free)
    return sorted(filter(_can_be_tuned, smaller), key=key)


def _shared(one: str, other: str) -> int:
    """How many letters two names begin with alike."""
    return next(
        (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )


def _can_be_tuned(model: ModelFacts) -> bool:
    return not (model.prequantized or model.remote_code or model.path.casefold().endswith(".gguf"))


def name_of(model: ModelFacts) -> str:
    """What people call a model: the last part of its path or of its name on a hub."""
    return model.path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _on_base(trials: Trials, model: ModelFacts) -> Taken | None:
    first = trials.first
    name, count = name_of(model), format_count(model.parameters)
    edits = [Edit("model.base", model.path)]
    if 0 < model.context_length < first.spec.data.max_length:
        edits.append(Edit("data.max_length", model.context_length))
    reason = f"It has {count} parameters instead of {format_count(first.model.parameters)}: faster, and it knows less."
    if not model.here:
        reason = f"{reason} It has to be downloaded first."
    title = f"Tune {name} instead, with {count} parameters"
    change = Change("base", title, f"{name} as base", tuple(edits), OTHER, "a smaller model", reason)
    trial = trials.take(edited(first.spec, edits), dataclasses.replace(first.facts, model=model))
    option = Option("base", (0,), lambda _value: change)
    return Taken(((option, change),), trial) if trial is not None else None
