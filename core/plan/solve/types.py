"""What the solver answers: single changes with what they cost, and the cheapest set of them that fits."""

from dataclasses import dataclass

from core.errors import Edit


@dataclass(frozen=True, slots=True)
class Offer:
    """One click that lowers the peak, planned again.

    Attributes:
        title: what the button says, such as “Load the weights in 4 bits”; `noun` the same within a list.
        edits: the changes to the spec.
        peak_bytes: the peak of the changed run, as `core.plan.planner.plan` will say.
        fits: whether it stays within what is free, with the usual reserve.
        slower: the run's expected time over that of the unchanged run; below 1 it is faster.
        quality: what it costs in quality, in a word or two; “nothing” where it costs none.
        reason: one or two sentences on what it does and costs.
        kind: a stable name, such as "quantization", "rows" or "set" for several at once.
        loss: how much quality it may cost: 0 nothing, 1 hardly any, 2 some, 3 much, 6 another model; of a set the sum.
    """

    title: str
    edits: tuple[Edit, ...]
    peak_bytes: int
    fits: bool
    slower: float
    quality: str
    reason: str = ""
    kind: str = ""
    loss: int = 0
    noun: str = ""


@dataclass(frozen=True, slots=True)
class Solution:
    """How a run can be made to fit.

    Attributes:
        fits: whether it does already, unchanged; then nothing is offered.
        offers: single changes, those that fit first, the cheapest first; then those that at least help.
        best: the cheapest change or set of changes that fits: “Make it fit”; None when there is none.
        sentence: what `best` does, or what it would take when nothing helps.
        needed_bytes: free memory that the smallest run on this model would need; 0 where that is of no interest.
    """

    fits: bool
    offers: tuple[Offer, ...]
    best: Offer | None
    sentence: str = ""
    needed_bytes: int = 0
