"""Layers that are alike: the matrices of one of them, and what the blocks call them. Made once for each model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.facts.types import LinearFacts, ModelFacts, Role
from core.plan.once import once_for_each
from core.plan.shapes import OUTPUT_NAMES

NF4_BLOCK = 64
_KEPT = 8


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of layer.

    Attributes:
        linears: label of a matrix -> the matrix, as one layer of the kind has it.
        labels: all of them, in the model's order.
        biased: labels of those with a bias.
        widths: the numbers of the matrices, without adapters.
    """

    linears: Mapping[str, LinearFacts]
    labels: tuple[str, ...]
    biased: frozenset[str]
    widths: Mapping[str, int]

    def in_role(self, role: Role) -> tuple[str, ...]:
        """Labels of the matrices in attention or in the MLP, the one that leads out of it last."""
        found = [label for label, linear in self.linears.items() if linear.role == role]
        return tuple(sorted(found, key=lambda label: _leads_out(self.linears[label])))


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """The layers of a model.

    Attributes:
        kinds: of each layer.
        where: full name of a matrix -> its layer and its label.
    """

    kinds: tuple[Kind, ...]
    where: Mapping[str, tuple[int, str]]


def _leads_out(linear: LinearFacts) -> bool:
    if linear.role == "attention":
        return linear.short_name in OUTPUT_NAMES
    return linear.out_features < linear.in_features


@once_for_each(_KEPT)
def layers_of(model: ModelFacts) -> Layers:
    """The layers of a model; remembered for the models seen last."""
    matrices: list[list[LinearFacts]] = [[] for _ in range(max(0, model.num_layers))]
    for linear in model.linears:
        if linear.layer is not None and 0 <= linear.layer < len(matrices):
            matrices[linear.layer].append(linear)
    seen: dict[object, Kind] = {}
    kinds: list[Kind] = []
    where: dict[str, tuple[int, str]] = {}
    for layer, linears in enumerate(matrices):
        labels = _labels(linears)
        where |= {linear.name: (layer, label) for linear, label in zip(linears, labels, strict=True)}
        key = tuple(
            (label, one.in_features, one.out_features, one.role, one.bias)
            for label, one in zip(labels, linears, strict=True)
        )
        if key not in seen:
            seen[key] = _kind(labels, linears)
        kinds.append(seen[key])
    return Layers(tuple(kinds), where)


def _kind(labels: Sequence[str], linears: Sequence[LinearFacts]) -> Kind:
    widths: dict[str, int] = {}
    for label, linear in zip(labels, linears, strict=True):
        widths |= matrix_widths(label, linear)
    biased = frozenset(label for label, linear in zip(labels, linears, strict=True) if linear.bias)
    return Kind(dict(zip(labels, linears, strict=True)), tuple(labels), biased, widths)


def _labels(linears: Sequence[LinearFacts]) -> list[str]:
    """What the blocks call the matrices: the last part of the name, or two where a layer has two of that name."""
    counts = Counter(linear.short_name for linear in linears)
    return [
        linear.short_name if counts[linear.short_name] == 1 else ".".join(linear.name.split(".")[-2:])
        for linear in linears
    ]


def matrix_widths(label: str, linear: LinearFacts) -> dict[str, int]:
    """The numbers of one matrix: what goes in and out, its elements, their scales in 4 bits, and a square of inputs."""
    elements = linear.in_features * linear.out_features
    return {
        f"i:{label}": linear.in_features,
        f"o:{label}": linear.out_features,
        f"w:{label}": elements,
        f"e:{label}": linear.in_features**2,
        f"s:{label}": -(-elements // NF4_BLOCK),
    }


def adapter_widths(label: str, linear: LinearFacts, rank: int) -> dict[str, int]:
    """The numbers of one matrix's adapter."""
    return {f"r:{label}": rank, f"A:{label}": rank * linear.in_features, f"B:{label}": rank * linear.out_features}
