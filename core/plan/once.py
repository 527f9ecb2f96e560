"""What is made of a model's facts once, and remembered for the models seen last."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from core.facts.types import ModelFacts

T = TypeVar("T")


def once_for_each(most: int) -> Callable[[Callable[[ModelFacts], T]], Callable[[ModelFacts], T]]:
    """Remembers what a function makes of a model, for ``most`` models.

    Facts never change, and a plan is made with every click on the same ones. They are told apart by identity, because
    comparing the modules of a large model takes longer than all the rest of a plan.
    """

    def decorate(make: Callable[[ModelFacts], T]) -> Callable[[ModelFacts], T]:
        known: dict[int, tuple[ModelFacts, T]] = {}

        @wraps(make)
        def remembered(model: ModelFacts) -> T:
            found = known.get(id(model))
            if found is not None and found[0] is model:
                return found[1]
            made = make(model)
            if len(known) >= most:
                known.clear()
            known[id(model)] = (model, made)  # which keeps the facts alive, and so their id their own
            return made

        return remembered

    return decorate
