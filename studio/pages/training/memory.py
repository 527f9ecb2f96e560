"""What the page keeps while the window is rebuilt."""

from dataclasses import dataclass, field
from typing import Literal

from studio.state.desk import Desk

View = Literal["setup", "run"]
Tab = Literal["samples", "log", "notices", "used"]


@dataclass
class TrainingMemory:
    """Which side of the page is shown, and how the curves are looked at.

    Attributes:
        smoothing: weight of the past in the smoothed curve.
        hidden: keys of hidden curves.
    """

    view: View = "setup"
    tab: Tab = "samples"
    smoothing: float = 0.8
    log: bool = False
    hidden: set[str] = field(default_factory=set)


def memory_of(desk: Desk) -> TrainingMemory:
    """The page's memory on a desk."""
    kept = desk.memory.setdefault("training", TrainingMemory())
    assert isinstance(kept, TrainingMemory)
    return kept
