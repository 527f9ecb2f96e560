"""The modules that get adapters: where they are, found once, and with the rank that one spec gives them.

A large model has hundreds of them and a slider asks for another rank with every step, so nothing is made for each one
until somebody looks at it; sums come from the few shapes that there are.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, overload

from core.facts.types import LinearFacts, ModelFacts
from core.plan.types import Target


class Shape(NamedTuple):
    """Adapters of one size.

    Attributes:
        rank: 0 in `Places`, where it is the one that the spec gives to all.
        number: how many there are.
    """

    rank: int
    in_features: int
    out_features: int
    number: int


@dataclass(frozen=True, eq=False)
class Places:
    """Where adapters go in a model, whatever the rank that they share.

    Attributes:
        linears: the modules in model order.
        saved: name -> elements of the modules that are trained in full.
        own: full name -> rank of those modules that have one of their own, in model order.
    """

    model: ModelFacts
    linears: tuple[LinearFacts, ...] = ()
    saved: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The modules by size, and by rank where it is their own."""
        own = self.own
        sizes = Counter(
            (own.get(linear.name, 0) if own else 0, linear.in_features, linear.out_features) for linear in self.linears
        )
        return tuple(Shape(*size, count) for size, count in sizes.items())

    @cached_property
    def first(self) -> int:
        """The lowest layer that has an adapter; one beyond the last when none has."""
        layers = (linear.layer for linear in self.linears if linear.layer is not None)
        return min(layers, default=self.model.num_layers)


class Targets(Sequence[Target]):
    """The modules that get adapters, in model order, each with its rank; equal to the tuple of them.

    Attributes:
        places: where they are.
        rank: of all that have none of their own.
        dora: whether each has magnitudes as well.
        shapes: the adapters by size.
    """

    __slots__ = ("_made", "dora", "places", "rank", "shapes")

    def __init__(self, places: Places, rank: int = 1, *, dora: bool = False) -> None:
        self.places = places
        self.rank = rank
        self.dora = dora
        self.shapes = tuple(shape if shape.rank else Shape(rank, *shape[1:]) for shape in places.shapes)
        self._made: tuple[Target, ...] | None = None

    @property
    def parameters(self) -> int:
        """What all of them have together."""
        return sum(
            shape.number * _parameters(shape.rank, shape.in_features, shape.out_features, dora=self.dora)
            for shape in self.shapes
        )

    def __len__(self) -> int:
        return len(self.places.linears)

    def __iter__(self) -> Iterator[Target]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Target: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Target, ...]: ...

    def __getitem__(self, index: int | slice) -> Target | tuple[Target, ...]:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Targets) and (self.rank, self.dora) == (other.rank, other.dora):
            one, two = self.places, other.places
            return one is two or (one.linears == two.linears and one.own == two.own)
        return self._all() == (other._all() if isinstance(other, Targets) else other)

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> tuple[Target, ...]:
        if self._made is None:
            own, usual, dora = self.places.own, self.rank, self.dora
            made = []
            for linear in self.places.linears:
                rank, width, height = own.get(linear.name, usual), linear.in_features, linear.out_features
                made.append(Target(linear.name, rank, width, height, _parameters(rank, width, height, dora=dora)))
            self._made = tuple(made)
        return self._made


def _parameters(rank: int, width: int, height: int, *, dora: bool) -> int:
    """Those of one adapter; DoRA adds one magnitude for each output feature.

    PEFT transposes Conv1D first, so it is the same there.
    """
    return rank * (width + height) + (height if dora else 0)
