"""The base model that a spec names: read from its files where they are, known from the catalogue where they are not."""

from core.errors import UserError
from core.facts.catalogue import find_entry
from core.facts.locate import find_model
from core.facts.model_files import read_model
from core.facts.types import ModelFacts


def read_base_model(base: str, revision: str = "") -> ModelFacts:
    """The facts of what ``model.base`` means.

    A model of the catalogue that is not on this computer, or not all of it, gives facts for planning: `ModelFacts.here`
    is false then, and a plan with them says that the run cannot start yet.

    Raises:
        UserError: it is not there and not in the catalogue, or it is there and cannot be used.
    """
    try:
        path = find_model(base, revision)
    except UserError:
        entry = find_entry(base)
        # The letters' case must be right, or the model would not be found once it is there either; the shapes of
        # another revision are not the catalogue's to tell.
        if entry is None or entry.name != base.strip() or revision.strip() not in ("", "main"):
            raise
        return entry.facts
    return read_model(path)
