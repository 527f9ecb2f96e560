"""What is trained, layer by layer, as far as memory is concerned; the same for every device and precision."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.facts.types import LinearFacts, ModelFacts
from core.plan.memory.widths import layer_widths
from core.plan.parameters import embedding_name, head_of, matching, saved_elements
from core.plan.shapes import shapes_of
from core.plan.types import Target
from core.spec.sections import AdapterSpec

Head = Literal["plain", "trained", "wrapped"]


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring layers with the same matrices and the same adapters.

    Attributes:
        count: how many layers.
        alive: whether gradients flow through them; layers below everything that learns keep nothing.
        linears: the matrices of one of them.
        ranks: name of a matrix -> rank of its adapter.
        learned: names of matrices trained in full.
    """

    count: int
    alive: bool
    linears: tuple[LinearFacts, ...]
    ranks: tuple[tuple[str, int], ...] = ()
    learned: frozenset[str] = frozenset()

    def widths(self) -> dict[str, int]:
        """The numbers of one layer's matrices and adapters."""
        return layer_widths(self.linears, dict(self.ranks))


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

    @property
    def full(self) -> bool:
        """Whether every weight is trained."""
        return self.head == "trained"


def trained_of(adapter: AdapterSpec, targets: tuple[Target, ...], model: ModelFacts, trainable: int) -> Trained:
    """What ``targets`` and the modules trained in full come to."""
    layers = _matrices(model)
    if adapter.method == "full":
        groups = _grouped(layers, {}, {}, first=0)
        return Trained(trainable, groups, "trained", 0, model.embedding_parameters, _all_tensors(model, trainable))
    by_name = shapes_of(model).by_name
    ranks: dict[int, list[tuple[str, int]]] = {}
    head_rank = 0
    for target in targets:
        linear = by_name[target.module]
        if linear.layer is None:
            head_rank = target.rank
        else:
            ranks.setdefault(linear.layer, []).append((linear.name, target.rank))
    saved = _saved(adapter, model)
    embeddings = sum(saved_elements(name, model) or 0 for name in saved if name.rpartition(".")[2] in _inputs(model))
    first = 0 if embeddings else min([*ranks, *_learned(saved, model)], default=model.num_layers)
    groups = _grouped(layers, ranks, _learned(saved, model), first=min(max(first, 0), len(layers)))
    head = head_of(model)
    wrapped = head_rank > 0 or (head is not None and any(_means(name, head.name) for name in saved))
    return Trained(
        trainable,
        groups,
        "wrapped" if wrapped else "plain",
        head_rank,
        embeddings,
        _adapter_tensors(adapter, targets, saved, model),
        min(first, model.num_layers),
        adapter.dropout > 0,
        adapter.method == "dora",
    )


def _saved(adapter: AdapterSpec, model: ModelFacts) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(adapter.modules_to_save) if saved_elements(name, model))


def _inputs(model: ModelFacts) -> frozenset[str]:
    return frozenset((embedding_name(model), "wpe", "embed_positions"))


def _means(name: str, full: str) -> bool:
    return full == name or full.endswith("." + name)


def _learned(saved: tuple[str, ...], model: ModelFacts) -> dict[int, frozenset[str]]:
    """Layer -> names of its matrices that are trained in full."""
    found: dict[int, frozenset[str]] = {}
    shapes = shapes_of(model)
    for name in saved:
        for linear in matching(name, shapes):
            if linear.layer is not None:
                found[linear.layer] = found.get(linear.layer, frozenset()) | {linear.name}
    return found


def _grouped(
    layers: tuple[tuple[LinearFacts, ...], ...],
    ranks: Mapping[int, list[tuple[str, int]]],
    learned: Mapping[int, frozenset[str]],
    *,
    first: int,
) -> tuple[Group, ...]:
    groups: list[Group] = []
    before: object = None
    start = 0
    for layer, linears in enumerate(layers):
        own, whole = ranks.get(layer, []), learned.get(layer, frozenset())
        key = (
            layer >= first,
            layer == first,
            [(one.short_name, one.in_features, one.out_features) for one in linears],
            [(name.rpartition(f".{layer}.")[2], rank) for name, rank in own],
            {name.rpartition(f".{layer}.")[2] for name in whole},
        )
        if key != before:
            if layer:
                groups.append(_group(layers, ranks, learned, start, layer, first))
            start, before = layer, key
    if layers:
        groups.append(_group(layers, ranks, learned, start, len(layers), first))
    return tuple(groups)


def _group(
    layers: tuple[tuple[LinearFacts, ...], ...],
    ranks: Mapping[int, list[tuple[str, int]]],
    learned: Mapping[int, frozenset[str]],
    start: int,
    end: int,
    first: int,
) -> Group:
    return Group(
        end - start, start >= first, layers[start], tuple(ranks.get(start, ())), learned.get(start, frozenset())
    )


_layers: dict[int, tuple[ModelFacts, tuple[tuple[LinearFacts, ...], ...]]] = {}


def _matrices(model: ModelFacts) -> tuple[tuple[LinearFacts, ...], ...]:
    """The matrices of each layer; remembered for the models seen last, as `shapes_of` does."""
    known = _layers.get(id(model))
    if known is not None and known[0] is model:
        return known[1]
    sorted_in: list[list[LinearFacts]] = [[] for _ in range(max(0, model.num_layers))]
    for linear in model.linears:
        if linear.layer is not None and 0 <= linear.layer < len(sorted_in):
            sorted_in[linear.layer].append(linear)
    made = tuple(tuple(linears) for linears in sorted_in)
    if len(_layers) >= 8:
        _layers.clear()
    _layers[id(model)] = (model, made)
    return made


def _adapter_tensors(
    adapter: AdapterSpec, targets: tuple[Target, ...], saved: tuple[str, ...], model: ModelFacts
) -> tuple[tuple[int, int], ...]:
    shapes = Counter((target.rank, target.in_features, target.out_features) for target in targets)
    sizes: Counter[int] = Counter()
    for (rank, width, height), count in shapes.items():
        sizes[rank * width] += count
        sizes[rank * height] += count
        if adapter.method == "dora":
            sizes[height] += count
    for name in saved:
        sizes[saved_elements(name, model) or 0] += 1
    return tuple(sizes.items())


def _all_tensors(model: ModelFacts, trainable: int) -> tuple[tuple[int, int], ...]:
    """All weights: matrices and embeddings by size, and what is left in norms of one hidden width."""
    sizes: Counter[int] = Counter()
    for linear in model.linears:
        if linear.role == "head" and model.tied_embeddings:
            continue
        sizes[linear.in_features * linear.out_features] += 1
        if linear.bias:
            sizes[linear.out_features] += 1
    sizes[model.embedding_parameters] += 1
    for matrices in (2, 1) if model.experts else ():  # stacked: gate and up in one, and down
        sizes[matrices * model.experts * model.expert_size * model.hidden_size] += model.num_layers
    rest = trainable - sum(size * count for size, count in sizes.items())
    width = max(1, model.hidden_size)
    if rest > 0:
        sizes[width] += rest // width
        sizes[rest % width] += 1 if rest % width else 0
    return tuple(sizes.items())
