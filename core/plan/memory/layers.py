"""What is trained, layer by layer, as far as memory is concerned; the same for every device and precision."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal, NamedTuple

from core.facts.types import LinearFacts, ModelFacts
from core.plan.memory.kinds import Kind, Layers, adapter_widths, layers_of
from core.plan.parameters import embedding_name, head_of
from core.plan.targets import Places, Shape, Targets
from core.spec.sections import AdapterSpec

Head = Literal["plain", "trained", "wrapped"]
_KEPT_LAYOUTS = 64


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring layers with the same matrices and the same adapters.

    Attributes:
        kind: the matrices of one of them.
        count: how many layers.
        alive: whether gradients flow through them; layers below everything that learns keep nothing.
        ranks: label of a matrix -> rank of its adapter.
        learned: labels of matrices trained in full.
    """

    kind: Kind
    count: int
    alive: bool
    ranks: tuple[tuple[str, int], ...] = ()
    learned: frozenset[str] = frozenset()

    @property
    def adapters(self) -> Mapping[str, int]:
        """The numbers of one layer's adapters."""
        return _adapters(self.kind, self.ranks)


@lru_cache(maxsize=256)
def _adapters(kind: Kind, ranks: tuple[tuple[str, int], ...]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for label, rank in ranks:
        found |= adapter_widths(label, kind.linears[label], rank)
    return found


class Matrix(NamedTuple):
    """Trained matrices of one shape.

    Attributes:
        hidden: whether it belongs to a hidden layer, and is no embedding, head or stack of experts.
        stacked: matrices in one tensor.
    """

    rows: int
    columns: int
    number: int
    hidden: bool = True
    stacked: int = 1

    @property
    def elements(self) -> int:
        """Of one tensor."""
        return self.stacked * self.rows * self.columns


@dataclass(frozen=True, slots=True)
class Trained:
    """What is trained.

    Attributes:
        parameters: trained ones.
        groups: the layers from the lowest up.
        head: "plain" for a frozen projection, "trained" for full fine-tuning, "wrapped" when it has an adapter or a
            trained copy, which makes the engine use the model's own head on all supervised positions at once.
        head_rank: rank of the head's adapter; 0 for none.
        embeddings: elements of input embeddings that learn.
        tensors: (elements, how many tensors of that size) of all that learn.
        matrices: those of them that are no vectors, by shape.
        first: first layer through which gradients flow.
    """

    parameters: int
    groups: tuple[Group, ...]
    head: Head = "plain"
    head_rank: int = 0
    embeddings: int = 0
    tensors: tuple[tuple[int, int], ...] = ()
    first: int = 0
    dropout: bool = False
    dora: bool = False
    matrices: tuple[Matrix, ...] = ()

    @property
    def full(self) -> bool:
        """Whether every weight is trained."""
        return self.head == "trained"

    @property
    def vectors(self) -> tuple[tuple[int, int], ...]:
        """(elements, how many) of what learns and is no matrix."""
        left = Counter(dict(self.tensors))
        for matrix in self.matrices:
            left[matrix.elements] -= matrix.number
        return tuple((elements, count) for elements, count in left.items() if count > 0)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is trained of a model whatever the ranks, and so remembered; a rank of 0 stands for the one of the spec.

    Attributes:
        outside: adapters outside the layers, such as the head's.
        sizes: elements of each module trained in full, and whether it belongs to the hidden layers.
    """

    groups: tuple[Group, ...]
    outside: tuple[Shape, ...]
    first: int
    head: Head = "plain"
    head_rank: int | None = None
    embeddings: int = 0
    sizes: tuple[tuple[int, bool], ...] = ()


def trained_of(adapter: AdapterSpec, targets: Targets, model: ModelFacts, trainable: int) -> Trained:
    """What ``targets`` and the modules trained in full come to."""
    if adapter.method == "full":
        groups = _grouped(layers_of(model), {}, {}, first=0)
        tensors, matrices = _all_tensors(model, trainable)
        return Trained(trainable, groups, "trained", 0, model.embedding_parameters, tensors, matrices=matrices)
    layout, usual, dora = _layout_of(targets.places), targets.rank, targets.dora
    groups = tuple(_ranked(group, usual) for group in layout.groups)
    shapes = _adapter_shapes(groups, [shape._replace(rank=shape.rank or usual) for shape in layout.outside])
    sizes: Counter[int] = Counter()
    for rank, width, height, count in shapes:
        sizes[rank * width] += count
        sizes[rank * height] += count
        if dora:
            sizes[height] += count
    sizes.update(elements for elements, _ in layout.sizes)
    learned = [Matrix(rank, width, count) for rank, width, _, count in shapes]
    learned += [Matrix(height, rank, count) for rank, _, height, count in shapes]
    learned += [_saved_matrix(elements, model, hidden=hidden) for elements, hidden in layout.sizes]
    return Trained(
        trainable,
        groups,
        layout.head,
        0 if layout.head_rank is None else layout.head_rank or usual,
        layout.embeddings,
        tuple(sizes.items()),
        layout.first,
        adapter.dropout > 0,
        dora,
        tuple(learned),
    )


def _saved_matrix(elements: int, model: ModelFacts, *, hidden: bool) -> Matrix:
    """A module trained in full as a matrix; those of embeddings and heads have the hidden width, and so have most."""
    width = max(1, model.hidden_size)
    return (
        Matrix(max(1, elements // width), width, 1, hidden) if elements % width == 0 else Matrix(elements, 1, 1, hidden)
    )


def _ranked(group: Group, usual: int) -> Group:
    if not group.ranks:
        return group
    ranks = tuple((label, rank or usual) for label, rank in group.ranks)
    return Group(group.kind, group.count, group.alive, ranks, group.learned)


@lru_cache(maxsize=_KEPT_LAYOUTS)
def _layout_of(places: Places) -> _Layout:
    model, own = places.model, places.own
    layers, head = layers_of(model), head_of(model)
    ranks: dict[int, list[tuple[str, int]]] = {}
    outside: list[Shape] = []
    head_rank = None
    for linear in places.linears:
        rank, place = own.get(linear.name, 0), layers.where.get(linear.name)
        if place is not None:
            ranks.setdefault(place[0], []).append((place[1], rank))
            continue
        outside.append(Shape(rank, linear.in_features, linear.out_features, 1))
        if head is not None and linear.name == head.name:
            head_rank = rank
    saved = tuple(name for name, elements in places.saved.items() if elements)
    learned = _learned(saved, layers)
    embeddings = sum(places.saved[name] for name in saved if name.rpartition(".")[2] in _inputs(model))
    first = 0 if embeddings else min([*ranks, *learned], default=model.num_layers)
    wrapped = head_rank is not None or (head is not None and any(_means(name, head.name) for name in saved))
    return _Layout(
        groups=_grouped(layers, ranks, learned, first=first),
        outside=tuple(outside),
        first=first,
        head="wrapped" if wrapped else "plain",
        head_rank=head_rank,
        embeddings=embeddings,
        sizes=tuple((places.saved[name], not _is_apart(name, model, head)) for name in saved),
    )


def _inputs(model: ModelFacts) -> frozenset[str]:
    return frozenset((embedding_name(model), "wpe", "embed_positions"))


def _is_apart(name: str, model: ModelFacts, head: LinearFacts | None) -> bool:
    """Whether a name means embeddings or the head."""
    return name.rpartition(".")[2] in _inputs(model) or (head is not None and _means(name, head.name))


def _means(name: str, full: str) -> bool:
    return full == name or full.endswith("." + name)


def _learned(saved: tuple[str, ...], layers: Layers) -> dict[int, frozenset[str]]:
    """Layer -> labels of its matrices that are trained in full."""
    found: dict[int, frozenset[str]] = {}
    for full, (layer, label) in layers.where.items() if saved else ():
        if any(full.endswith(name) for name in saved):  # as PEFT takes modules, with or without a dot before the name
            found[layer] = found.get(layer, frozenset()) | {label}
    return found


def _grouped(
    layers: Layers, ranks: Mapping[int, list[tuple[str, int]]], learned: Mapping[int, frozenset[str]], *, first: int
) -> tuple[Group, ...]:
    """Neighbours that are alike; the first layer through which gradients flow stands alone, its input needs none."""
    none: list[tuple[str, int]] = []
    keys = [
        (kind, layer >= first, layer == first, ranks.get(layer, none), learned.get(layer, frozenset()))
        for layer, kind in enumerate(layers.kinds)
    ]
    return tuple(
        Group(kind, len(list(alike)), alive, tuple(own), whole) for (kind, alive, _, own, whole), alike in groupby(keys)
    )


def _adapter_shapes(groups: tuple[Group, ...], outside: list[Shape]) -> list[Shape]:
    """The adapters by size, inside and outside of the layers."""
    shapes = list(outside)
    for group in groups:
        linears = group.kind.linears
        shapes += [
            Shape(rank, linears[label].in_features, linears[label].out_features, group.count)
            for label, rank in group.ranks
        ]
    return shapes


def _all_tensors(model: ModelFacts, trainable: int) -> tuple[tuple[tuple[int, int], ...], tuple[Matrix, ...]]:
    """All weights: matrices and embeddings by size, and what is left in norms of one hidden width."""
    sizes: Counter[int] = Counter()
    shapes: Counter[tuple[int, int, bool]] = Counter()
    for linear in model.linears:
        if linear.role == "head" and model.tied_embeddings:
            continue
        shapes[linear.out_features, linear.in_features, linear.role != "head"] += 1
        if linear.bias:
            sizes[linear.out_features] += 1
    width = max(1, model.hidden_size)
    matrices = [Matrix(height, across, count, hidden) for (height, across, hidden), count in shapes.items()]
    matrices.append(Matrix(model.embedding_parameters // width, width, 1, hidden=False))
    for stacked in (2, 1) if model.experts else ():  # gate and up in one, and down
        size = stacked * model.expert_size
        matrices.append(Matrix(size, width, model.num_layers, hidden=False, stacked=model.experts))
    for matrix in matrices:
        sizes[matrix.elements] += matrix.number
    rest = trainable - sum(size * count for size, count in sizes.items())
    if rest > 0:
        sizes[width] += rest // width
        sizes[rest % width] += 1 if rest % width else 0
    return tuple(sizes.items()), tuple(matrices)
