"""Models of the catalogue that can take a larger one's place: of its family, and of its series where that has some."""

import re

from core.facts.catalogue import entries
from core.facts.types import ModelFacts

_FOLLOWS = re.compile(r"instruct|chat|-it$|distill", re.IGNORECASE)


def smaller_relatives(model: ModelFacts) -> tuple[ModelFacts, ...]:
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
