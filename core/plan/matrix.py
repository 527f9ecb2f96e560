"""The linear layers of a model as a matrix of layers and kinds of modules, and the shortest spec of a choice in it.

`Matrix.cells` reads a plan's targets as cells, `Matrix.express` writes cells as the settings that mean exactly them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.errors import Edit
from core.facts.types import LinearFacts, ModelFacts, Role
from core.plan.parameters import ALL_LINEAR, ROLES, matching
from core.plan.shapes import shapes_of
from core.plan.types import Target
from core.spec.layers import layer_spans, layers_text

Cell = tuple[int, int]
"""Number of a kind in `Matrix.kinds`, and number of a layer."""

_ROLE_ORDER: tuple[Role, ...] = ("attention", "mlp", "other", "head")


@dataclass(frozen=True, slots=True)
class ModuleKind:
    """Modules of one name and role, at most one cell in each layer.

    Attributes:
        name: what a spec calls them; empty where only full paths tell them from others.
        title: the last part of their path.
        layers: layer -> its modules of this kind; usually one.
    """

    name: str
    title: str
    role: Role
    layers: Mapping[int, tuple[LinearFacts, ...]]


@dataclass(frozen=True, slots=True)
class Expression:
    """Settings that choose certain cells."""

    targets: tuple[str, ...]
    layers: str
    rank_pattern: Mapping[str, int]

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The changes that take them."""
        return (
            Edit("adapter.targets", self.targets),
            Edit("adapter.layers", self.layers),
            Edit("adapter.rank_pattern", self.rank_pattern),
        )


class Matrix:
    """A model's modules that can get adapters, in rows of layers and columns of kinds.

    Attributes:
        kinds: attention first, then MLP, then what is neither; each group in the order of the forward pass.
        num_layers: how many layers there are.
        outside: linear layers outside the blocks by full path, such as the head.
    """

    def __init__(self, model: ModelFacts) -> None:
        self.num_layers = model.num_layers
        self.outside = tuple(linear for linear in model.linears if linear.layer is None)
        self.kinds = _kinds(model)
        self._places = {
            linear.name: (number, layer)
            for number, kind in enumerate(self.kinds)
            for layer, linears in kind.layers.items()
            for linear in linears
        }

    def cells(self, targets: Iterable[Target]) -> dict[Cell, int]:
        """The cells that the targets of a plan lie in, with their ranks."""
        places = self._places
        return {places[target.module]: target.rank for target in targets if target.module in places}

    def chosen_outside(self, targets: Iterable[Target]) -> tuple[str, ...]:
        """Full paths of the targets outside the blocks."""
        names = {linear.name for linear in self.outside}
        return tuple(target.module for target in targets if target.module in names)

    def every(self, *roles: Role) -> list[Cell]:
        """All cells of some roles, or of all."""
        return [
            (number, layer)
            for number, kind in enumerate(self.kinds)
            if not roles or kind.role in roles
            for layer in kind.layers
        ]

    def express(self, cells: Mapping[Cell, int], rank: int, outside: Iterable[str] = ()) -> Expression:
        """The shortest settings that mean these cells with these ranks, where ``rank`` is everyone's.

        ``outside`` are full paths of modules outside the blocks that are chosen as well.
        """
        chosen = self._by_kind(cells)
        extra = tuple(outside)
        layers = self._common_layers(chosen)
        if layers is not None:
            text = layers_text(layers, self.num_layers) or "all"
            targets = self._named(chosen, extra, whole=text == "all")
        else:
            text = "all"
            targets = self._named_by_layers(chosen, extra)
        return Expression(tuple(dict.fromkeys(targets)), text, self._pattern(chosen, cells, rank))

    def _by_kind(self, cells: Iterable[Cell]) -> dict[int, frozenset[int]]:
        found: dict[int, set[int]] = {}
        for kind, layer in cells:
            found.setdefault(kind, set()).add(layer)
        return {kind: frozenset(found[kind]) for kind in sorted(found)}

    def _common_layers(self, chosen: Mapping[int, frozenset[int]]) -> frozenset[int] | None:
        """The layers that all chosen kinds are chosen in, as far as they have them; None where they differ."""
        if all(layers == self.kinds[kind].layers.keys() for kind, layers in chosen.items()):
            return frozenset(range(self.num_layers))
        union = frozenset().union(*chosen.values())
        same = all(layers == union & self.kinds[kind].layers.keys() for kind, layers in chosen.items())
        return union if same and all(self.kinds[kind].name for kind in chosen) else None

    def _named_by_layers(self, chosen: Mapping[int, frozenset[int]], extra: tuple[str, ...]) -> list[str]:
        groups: dict[frozenset[int], dict[int, frozenset[int]]] = {}
        for kind, layers in chosen.items():
            whole = layers == self.kinds[kind].layers.keys()
            groups.setdefault(frozenset() if whole else layers, {})[kind] = layers
        found = []
        for layers, kinds in groups.items():
            named = self._named(kinds, (), whole=not layers)
            spans = [str(low) if low == high else f"{low}-{high}" for low, high in layer_spans(layers)]
            paths = self._places.keys()
            for name in named:
                found += [f"{span}.{name}" for span in spans] if spans and name not in paths else [name]
        return [*found, *extra]

    def _named(self, chosen: Mapping[int, frozenset[int]], extra: tuple[str, ...], *, whole: bool) -> list[str]:
        """Names of whole kinds, by group where all of a group are chosen; ``whole`` if no layers narrow them."""
        free = {linear.name for linear in self.outside if linear.role != "head"} if whole else set()
        if chosen.keys() == set(range(len(self.kinds))) and chosen and free <= set(extra):
            return [ALL_LINEAR, *(name for name in extra if name not in free)]
        left = dict(chosen)
        names = []
        for role in ROLES:
            members = {number for number, kind in enumerate(self.kinds) if kind.role == role}
            if len(members) > 1 and members <= left.keys() and not any(item.role == role for item in self.outside):
                names.append(role)
                left = {number: layers for number, layers in left.items() if number not in members}
        for number, layers in left.items():
            kind = self.kinds[number]
            names += [kind.name] if kind.name else _paths(kind, sorted(layers))
        return [*names, *extra]

    def _pattern(self, chosen: Mapping[int, frozenset[int]], cells: Mapping[Cell, int], rank: int) -> dict[str, int]:
        pattern: dict[str, int] = {}
        for number, layers in chosen.items():
            kind = self.kinds[number]
            ranks = Counter(cells[number, layer] for layer in layers)
            usual = max(ranks, key=lambda value: (ranks[value], value == rank)) if kind.name else rank
            if usual != rank:
                pattern[kind.name] = usual
            for value in sorted(ranks.keys() - {usual}):
                own = [layer for layer in sorted(layers) if cells[number, layer] == value]
                if not kind.name:
                    pattern.update(dict.fromkeys(_paths(kind, own), value))
                    continue
                for low, high in layer_spans(own):
                    pattern[f"{low}.{kind.name}" if low == high else f"{low}-{high}.{kind.name}"] = value
        return pattern


def _paths(kind: ModuleKind, layers: Iterable[int]) -> list[str]:
    return [linear.name for layer in layers for linear in kind.layers[layer]]


def _kinds(model: ModelFacts) -> tuple[ModuleKind, ...]:
    found: dict[tuple[Role, str], dict[int, list[LinearFacts]]] = {}
    for linear in model.linears:
        if linear.layer is not None and linear.adaptable:
            found.setdefault((linear.role, linear.short_name), {}).setdefault(linear.layer, []).append(linear)
    ordered = sorted(found.items(), key=lambda item: _ROLE_ORDER.index(item[0][0]))  # stable: the model's own order
    return tuple(
        ModuleKind(
            _name_of([linear for linears in layers.values() for linear in linears], model),
            short,
            role,
            {layer: tuple(layers[layer]) for layer in sorted(layers)},
        )
        for (role, short), layers in ordered
    )


def _name_of(linears: list[LinearFacts], model: ModelFacts) -> str:
    """The shortest name that means exactly these modules; empty where there is none."""
    wanted = {linear.name for linear in linears}
    for parts in (1, 2):
        endings = {".".join(linear.name.split(".")[-parts:]) for linear in linears}
        if len(endings) == 1:
            ending = endings.pop()
            if {linear.name for linear in matching(ending, shapes_of(model))} == wanted:
                return ending
    return ""
