"""How fast this attempt goes and how large its passes are, for the records that the next plan rests on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.engine.passes import Pass

WARM_UP_STEPS = 2
"""Steps that are not counted: they make what later ones find ready."""


@dataclass(slots=True)
class Pace:
    """The steps of this attempt after the first ones; `largest_pass` is in tokens and counts the first ones too."""

    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    largest_pass: int = 0

    def add(self, seconds: float, tokens: int) -> None:
        """Counts one step."""
        self.steps += 1
        if self.steps > WARM_UP_STEPS:
            self.seconds += seconds
            self.tokens += tokens

    def watch(self, passes: Iterable[Pass]) -> Iterator[Pass]:
        """The same passes, with a note of the largest."""
        for one in passes:
            self.largest_pass = max(self.largest_pass, one.num_tokens)
            yield one

    @property
    def token_seconds(self) -> float:
        """Seconds a token; 0 while only the first steps were taken."""
        return self.seconds / self.tokens if self.tokens else 0.0
