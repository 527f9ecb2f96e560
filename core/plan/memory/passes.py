"""One pass through the model and back, layer by layer: how high memory gets with so many layers recomputed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from core.plan.memory.counted import Moments


@dataclass(frozen=True, slots=True)
class Size:
    """What goes through the model at once.

    Attributes:
        tokens: of all documents.
        kept: positions that carry loss.
        documents: how many there are.
        longest: tokens of the longest.
        pairs: sum of the squares of their lengths, for scores that are written out.
        after, after_pairs: tokens and pairs of the documents after the longest.
        next_before, next_after: tokens of the longest before and after it; as long as they can be where 0.
        first: whether no earlier pass of the step has left gradients.
    """

    tokens: int
    kept: int
    documents: int
    longest: int
    pairs: int
    first: bool = False
    after: int = 0
    after_pairs: int = 0
    next_before: int = 0
    next_after: int = 0

    @property
    def before(self) -> int:
        """Tokens of the documents before the longest."""
        return max(0, self.tokens - self.longest - self.after)


class Ways:
    """A layer in bytes: each way of running it is evaluated when it is asked for."""

    def __init__(self, evaluated: Callable[[str], Moments], *, alive: bool) -> None:
        self._evaluated = evaluated
        self._alive = alive

    @cached_property
    def plain(self) -> Moments:
        """With all that it keeps."""
        return self._evaluated("plain" if self._alive else "dead")

    @cached_property
    def checkpointed(self) -> Moments:
        """Recomputed; the same where no gradient flows through it."""
        return self._evaluated("checkpointed") if self._alive else self.plain


class Run(NamedTuple):
    """Neighbouring layers that are alike, and how many."""

    number: int
    layer: Ways


@dataclass(frozen=True, slots=True)
class Highest:
    """The highest point of a pass beside the static bytes: all of it, and of that what was kept and the gradients.

    Attributes:
        moving: the most bytes at any point but for gradients; what a process keeps of a pass depends on it.
    """

    total: int
    kept: int
    gradients: int
    where: str
    moving: int


@dataclass(frozen=True, slots=True)
class PassMemory:
    """One pass in bytes.

    Attributes:
        runs: the layers from the lowest up.
        head: from the last layer's output to the loss and back.
        first: whether no earlier pass of the step has left gradients.
        gradients: all of them.
        embedded: the output of the embeddings, a variable of the model's forward pass until that returns.
        waiting: the head's gradient of a matrix that is the embeddings' too, which waits for theirs.
        table: gradients of embeddings that learn, in the compute format; `table_sum`: in fp32.
    """

    runs: tuple[Run, ...]
    head: Moments
    first: bool
    gradients: int
    embedded: int
    waiting: int = 0
    table: int = 0
    table_sum: int = 0
    _known: dict[int, Highest] = field(default_factory=dict, compare=False, repr=False)

    def highest(self, checkpointed: int) -> Highest:
        """The highest point with the first ``checkpointed`` layers recomputed; remembered, trials ask again."""
        known = self._known.get(checkpointed)
        if known is None:
            spots = list(self._spots(checkpointed))
            total, kept, gradients, where = max(spots, key=lambda spot: spot[0] + spot[2])
            known = Highest(total + gradients, kept, gradients, where, max(spots)[0])
            self._known[checkpointed] = known
        return known

    def _spots(self, checkpointed: int) -> Iterator[tuple[int, int, int, str]]:
        """Moments that can be the highest: bytes, what is kept, gradients; first and last layer of each run."""
        parts = _split(self.runs, checkpointed)
        # The graph of a pass lives until the next one has its loss, with what attributes of its nodes hold.
        held = sum(moments.held * count for moments, count in parts)
        earlier = 0 if self.first else held
        done = 0 if self.first else self.gradients
        above = sum(moments.gradients * count for moments, count in parts)
        others = self.gradients - above - self.table_sum
        apart = 0 if parts and parts[0][0].keeps_input else self.embedded
        below = 0
        for moments, count in parts:
            above -= moments.gradients * count
            held -= moments.held * count
            for index in (0, count - 1) if count > 1 else (0,):
                base = below + index * moments.kept
                beside = earlier + (apart if base or index else 0)
                yield base + beside + moments.forward, base, done, "forward"
                if moments.backward:
                    left = count - 1 - index
                    grown = done if not self.first else others + above + moments.gradients * left
                    waiting = self.waiting + held + moments.held * left
                    yield base + waiting + moments.backward, base + moments.kept, grown, "backward"
            below += moments.kept * count
        yield below + earlier + self.head.forward, below, done, "head"
        yield below + self.head.backward, below, done, "head"
        if self.table:
            so_far = self.gradients - (self.table_sum if self.first else 0)
            yield self.waiting + self.table + self.embedded, 0, so_far, "embeddings"
            # In fp32 the first pass's gradient becomes the master's own.
            is_own = self.first and self.table == self.table_sum
            yield 0 if is_own else self.table, 0, self.gradients, "embeddings"


def _split(runs: Sequence[Run], checkpointed: int) -> list[tuple[Moments, int]]:
    """The moments of the runs and how many layers have them; the run that is recomputed in part is two."""
    parts: list[tuple[Moments, int]] = []
    left = checkpointed
    for run in runs:
        recomputed = min(left, run.number)
        left -= recomputed
        if recomputed > 0:
            parts.append((run.layer.checkpointed, recomputed))
        if run.number > recomputed:
            parts.append((run.layer.plain, run.number - recomputed))
    return parts
