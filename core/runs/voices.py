"""Who speaks for a loaded base model: the model itself, or an adapter on it."""

from dataclasses import dataclass

BASE = "base"
TUNED = "tuned"
"""What the target's own adapter, or a model that somebody trained, is called."""
MOST_VOICES = 3
"""How many can answer side by side."""


@dataclass(frozen=True, slots=True)
class Voice:
    """An adapter that answers on a base model which is loaded already.

    Attributes:
        name: what questions call it; letters, digits and “-”.
        title: what people call it.
        adapter: an adapter's folder in PEFT's format, or a saved state of a run (``<run>/checkpoints/step-…``).
        template: the chat template of its training: a choice or a path.
    """

    name: str
    title: str
    adapter: str
    template: str = "auto"
