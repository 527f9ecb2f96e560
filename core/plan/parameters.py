"""Which modules get adapters, and how many parameters that trains: exact, from the shapes of the base model."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from core.errors import Problem, UserError, error, warning
from core.facts.types import LinearFacts, ModelFacts
from core.plan.shapes import Shapes, shapes_of
from core.plan.targets import Places, Targets
from core.plan.types import Parameters
from core.spec.layers import layered_name, parse_layers
from core.spec.sections import AdapterSpec

ALL_LINEAR = "all-linear"
ROLES = ("attention", "mlp")

# Another rank alone leaves the modules as they are, and looking them up takes longer than anything else of a plan.
# What cannot be had is remembered as well: its problems name what was probably meant, which takes longer still.
_places: dict[tuple[object, ...], tuple[ModelFacts, Places | tuple[Problem, ...]]] = {}
_KEPT_PLACES = 64


def resolve_targets(adapter: AdapterSpec, model: ModelFacts) -> Targets:
    """The modules that get adapters, in model order, each with its own rank; none for full fine-tuning.

    Raises:
        UserError: a name, layer or rank pattern does not fit this model; every such problem at once.
    """
    pattern = tuple(adapter.rank_pattern.items())
    full = adapter.method == "full"
    key = (full, adapter.targets, adapter.layers, adapter.modules_to_save, pattern, id(model))
    known = _places.get(key)
    if known is None or known[0] is not model:
        if len(_places) >= _KEPT_PLACES:
            del _places[next(iter(_places))]
        found = Places(model) if full else _find(adapter, model)
        known = _places[key] = (model, found)  # which keeps the model alive, and so its id its own
    if not isinstance(known[1], Places):
        raise UserError(*known[1])
    return Targets(known[1], max(1, adapter.rank), dora=adapter.method == "dora")


def _find(adapter: AdapterSpec, model: ModelFacts) -> Places | tuple[Problem, ...]:
    """The modules that get adapters, or what is wrong with their names."""
    shapes = shapes_of(model)
    problems: list[Problem] = []
    layers = _layers(adapter, model, problems)
    chosen = _chosen(adapter, model, shapes, layers, problems)
    ranks = _ranks(adapter, model, shapes, chosen, problems)
    problems.extend(_conflicts(adapter, chosen))
    saved = {name: saved_elements(name, model) for name in adapter.modules_to_save}
    problems.extend(_unknown_saved(name, model, shapes) for name, elements in saved.items() if elements is None)
    if problems:
        return tuple(problems)
    own = {linear.name: ranks[linear.name] for linear in chosen if linear.name in ranks} if ranks else {}
    return Places(model, chosen, {name: elements or 0 for name, elements in saved.items()}, own)


def count_parameters(adapter: AdapterSpec, targets: Targets, model: ModelFacts) -> Parameters:
    """Trained, frozen and all parameters, exactly; a module trained in full is a copy beside the frozen original."""
    if adapter.method == "full":
        return Parameters(model.parameters, 0, model.parameters)
    added = targets.parameters + sum(targets.places.saved.values())
    return Parameters(added, model.parameters, model.parameters + added)


def saved_elements(name: str, model: ModelFacts) -> int | None:
    """Parameters, bias included, of every module that ``name`` means; None when the model has no such module."""
    shapes = shapes_of(model)
    if matching(name, shapes):
        # PEFT takes every module whose path ends with the name, with or without a dot before it.
        linears = [linear for linear in model.linears if linear.name.endswith(name)]
        return sum(
            linear.in_features * linear.out_features + (linear.out_features if linear.bias else 0) for linear in linears
        )
    matrix = embedding_elements(model)
    short = name.rpartition(".")[2]
    if short == embedding_name(model):
        return matrix
    learned = model.positions.rpartition(".")[2]
    return model.embedding_parameters - matrix if learned and short == learned else None


def embedding_name(model: ModelFacts) -> str:
    """The last part of the path of the input embeddings."""
    return model.embedding.rpartition(".")[2]


def embedding_elements(model: ModelFacts) -> int:
    """Elements of the matrix of token embeddings; the tied head shows its true number of rows."""
    head = head_of(model)
    if model.tied_embeddings and head is not None:
        return head.in_features * head.out_features
    return model.vocab_size * model.hidden_size


def head_of(model: ModelFacts) -> LinearFacts | None:
    """The output projection, where it is listed."""
    return next((linear for linear in reversed(model.linears) if linear.role == "head"), None)


def target_warnings(adapter: AdapterSpec, targets: Targets, model: ModelFacts) -> tuple[Problem, ...]:
    """What is allowed but deserves a word: changing a matrix that embeddings and head share."""
    if adapter.method == "full":
        return ()
    found = []
    touched = sorted(_tied_names(adapter, targets, model)) if touches_tie(adapter, targets, model) else []
    if touched:
        named = " and ".join(f"“{name}”" for name in touched)
        found.append(
            warning(
                "adapter.modules_to_save",
                f"This model uses one matrix as input embeddings and as output head; training {named} separates the "
                f"two, and a merged model grows by up to {embedding_elements(model):,} parameters.",
                "Leave embeddings and head out unless new tokens must be learned; if they must, name both.",
            )
        )
    return tuple(found)


def matching(name: str, shapes: Shapes) -> tuple[LinearFacts, ...]:
    """The linear layers that a name means: a full module path, its last part, or any ending after a dot."""
    if name in shapes.by_short:
        return shapes.by_short[name]
    if name in shapes.by_name:
        return (shapes.by_name[name],)
    ending = "." + name
    return tuple(linear for full, linear in shapes.by_name.items() if full.endswith(ending))


def touches_tie(adapter: AdapterSpec, targets: Targets, model: ModelFacts) -> bool:
    """Whether the adapter changes the matrix that embeddings and head share, which a merge then makes two."""
    return model.tied_embeddings and bool(_tied_names(adapter, targets, model))


def _tied_names(adapter: AdapterSpec, targets: Targets, model: ModelFacts) -> set[str]:
    head = head_of(model)
    names = {embedding_name(model), head.short_name if head else "lm_head"}
    touched = {name for name in adapter.modules_to_save if name.rpartition(".")[2] in names}
    # The head is the last of a model's linear layers, and embeddings are none.
    return touched | ({linear.short_name for linear in targets.places.linears[-1:]} & names)


def _layers(adapter: AdapterSpec, model: ModelFacts, problems: list[Problem]) -> frozenset[int] | None:
    """The allowed blocks; None for all of them."""
    if adapter.layers.strip().lower() in ("", "all"):
        return None
    try:
        return frozenset(parse_layers(adapter.layers, model.num_layers))
    except ValueError as mistake:
        problems.append(
            error(
                "adapter.layers",
                f"{str(mistake)[:1].upper()}{str(mistake)[1:]}.",
                f"Write “all”, “last 8”, “first 4” or numbers from 0 to {model.num_layers - 1} such as “0-11, 20”.",
            )
        )
        return None


def _chosen(
    adapter: AdapterSpec,
    model: ModelFacts,
    shapes: Shapes,
    layers: frozenset[int] | None,
    problems: list[Problem],
) -> tuple[LinearFacts, ...]:
    names: set[str] = set()
    for wanted in adapter.targets:
        meant = _meant(wanted, model, shapes)
        everywhere = [linear for linear in meant if linear.adaptable]
        if not everywhere:
            problems.append(_not_adaptable(wanted, model) if meant else _unknown_target(wanted, model, shapes))
            continue
        # A head has no layer number: it is taken when it is named, whatever the layers; keywords never mean it.
        inside = [linear for linear in everywhere if layers is None or _allowed(linear, layers, wanted)]
        if not inside:
            problems.append(
                error(
                    "adapter.layers",
                    f"“{wanted}” names no module in the layers “{adapter.layers}”.",
                    "Widen adapter.layers, or take the name out of adapter.targets.",
                )
            )
        names.update(linear.name for linear in inside)
    if not adapter.targets and not adapter.modules_to_save:
        problems.append(
            error(
                "adapter.targets",
                "No target module is named, so nothing would be trained.",
                f"Take “{ALL_LINEAR}”, “attention”, “mlp” or module names: {_listed(shapes)}.",
            )
        )
    if len(names) == len(model.linears):
        return model.linears
    return tuple(linear for linear in model.linears if linear.name in names)


def _meant(wanted: str, model: ModelFacts, shapes: Shapes) -> Sequence[LinearFacts]:
    if wanted == ALL_LINEAR:
        return [linear for linear in model.linears if linear.role != "head"]
    if wanted in ROLES:
        return [linear for linear in model.linears if linear.role == wanted]
    return _within_layers(wanted, model, shapes) or matching(wanted, shapes)


def _within_layers(name: str, model: ModelFacts, shapes: Shapes) -> tuple[LinearFacts, ...]:
    """What a name with layers before it means: “3.q_proj”, “0-11.mlp”; none for names without layers."""
    parts = layered_name(name)
    if parts is None:
        return ()
    low, high, rest = parts
    return tuple(
        linear
        for linear in _meant(rest, model, shapes)
        if linear.layer is not None and low <= linear.layer <= high < model.num_layers
    )


def _allowed(linear: LinearFacts, layers: frozenset[int], wanted: str) -> bool:
    if linear.layer is None:
        return wanted != ALL_LINEAR and wanted not in ROLES
    return linear.layer in layers


def _ranks(
    adapter: AdapterSpec,
    model: ModelFacts,
    shapes: Shapes,
    chosen: tuple[LinearFacts, ...],
    problems: list[Problem],
) -> Mapping[str, int]:
    """Ranks of single modules; where several keys mean a module, the one that says more about it wins."""
    if not adapter.rank_pattern:
        return {}
    allowed = {linear.name for linear in chosen}
    ranks: dict[str, int] = {}
    for key, rank in sorted(adapter.rank_pattern.items(), key=lambda item: (_precision(item[0], shapes), item[0])):
        if rank < 1:
            problems.append(
                error(
                    "adapter.rank_pattern", f"Rank {rank} of “{key}” is not a rank.", "Take a whole number from 1 up."
                )
            )
            continue
        linears = _patterned(key, model, shapes)
        if not linears:
            problems.append(_unknown_pattern(key, model, shapes))
        elif not any(linear.name in allowed for linear in linears):
            problems.append(
                error(
                    "adapter.rank_pattern",
                    f"“{key}” gets rank {rank} but no adapter: the targets and layers leave it out.",
                    "Add it to adapter.targets or adapter.layers, or take it out of adapter.rank_pattern.",
                )
            )
        ranks.update((linear.name, rank) for linear in linears)
    return ranks


def _patterned(key: str, model: ModelFacts, shapes: Shapes) -> tuple[LinearFacts, ...]:
    parts = layered_name(key)
    is_group = parts is not None and parts[2] in (ALL_LINEAR, *ROLES)
    return (() if is_group else _within_layers(key, model, shapes)) or matching(key, shapes)


def _precision(key: str, shapes: Shapes) -> int:
    """How exactly a key names a module: a short name least, then an ending, layers, one layer; a full path most."""
    if key in shapes.by_name:
        return 4
    parts = layered_name(key)
    if parts is not None:
        return 3 if parts[0] == parts[1] else 2
    return 1 if "." in key else 0


def _conflicts(adapter: AdapterSpec, chosen: tuple[LinearFacts, ...]) -> Iterable[Problem]:
    for name in adapter.modules_to_save:
        ending = "." + name
        if any(linear.name == name or linear.name.endswith(ending) for linear in chosen):
            yield error(
                "adapter.modules_to_save",
                f"“{name}” is trained in full and would get an adapter as well.",
                "Name it in adapter.targets or in adapter.modules_to_save, not in both.",
            )


def _not_adaptable(name: str, model: ModelFacts) -> Problem:
    others = dict.fromkeys(linear.short_name for linear in model.linears if linear.adaptable)
    return error(
        "adapter.targets",
        f"“{name}” can get no adapter in models of the family “{model.family}”: PEFT refuses it, or takes it for a "
        "part of the experts.",
        f"These can: {', '.join(others)}.",
    )


def _unknown_target(name: str, model: ModelFacts, shapes: Shapes) -> Problem:
    if name in ROLES:
        why = " The experts of a mixture get no adapters." if model.experts else ""
        return error(
            "adapter.targets",
            f"This model has no linear layers in its part “{name}”.{why}",
            f"It has {_listed(shapes)}; “{ALL_LINEAR}” names them all.",
        )
    known = [ALL_LINEAR, *ROLES, *shapes.by_short]
    parts = layered_name(name)
    if parts is not None and _meant(parts[2], model, shapes):
        return error("adapter.targets", _wrong_layers(name, parts, model), "Name layers that the model has.")
    close = _did_you_mean(parts[2] if parts else name, known)
    return error(
        "adapter.targets",
        f"This model has no linear layer “{name}”.{close}",
        f"It has {_listed(shapes)}; “{ALL_LINEAR}”, “attention” and “mlp” name groups of them.",
    )


def _wrong_layers(name: str, parts: tuple[int, int, str], model: ModelFacts) -> str:
    low, high, _ = parts
    layers = f"layer {low}" if low == high else f"layers {low} to {high}"
    return f"“{name}” names {layers}, but the model's layers are 0 to {model.num_layers - 1}."


def _unknown_pattern(key: str, model: ModelFacts, shapes: Shapes) -> Problem:
    parts = layered_name(key)
    if parts is not None and matching(parts[2], shapes):
        message = _wrong_layers(key, parts, model)
    else:
        short = parts[2] if parts else key
        message = f"This model has no linear layer “{key}”.{_did_you_mean(short, list(shapes.by_short))}"
    advice = f"Write a module name or a layer and a name, such as “11.{next(iter(shapes.by_short), 'down_proj')}”."
    return error("adapter.rank_pattern", message, f"{advice} It has {_listed(shapes)}.")


def _unknown_saved(name: str, model: ModelFacts, shapes: Shapes) -> Problem:
    embeddings = embedding_name(model)
    known = [*shapes.by_short, embeddings]
    return error(
        "adapter.modules_to_save",
        f"This model has no module “{name}” whose size is known.{_did_you_mean(name, known)}",
        f"Linear layers and embeddings can be trained in full: {_listed(shapes)} or {embeddings}.",
    )


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean “{close[0]}”?" if close else ""


def _listed(shapes: Shapes) -> str:
    return ", ".join(shapes.by_short) if shapes.by_short else "no linear layers at all"
