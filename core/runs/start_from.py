"""Going on from an adapter with new data: where it is, and whether a run's settings and base model go with it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from core.errors import Edit, Fix, Problem, Severity, UserError, error, warning
from core.facts.start_adapter import StartAdapter, read_start_adapter
from core.facts.types import ModelFacts
from core.plan.matrix import Matrix
from core.plan.types import Plan, Target
from core.runs.history import find_run
from core.runs.layout import RunFolder
from core.runs.results import require_result
from core.runs.store import load_spec
from core.spec.run_spec import RunSpec

PATH = "adapter.start_from"
_NEITHER = Fix("Begin without an adapter", (Edit(PATH, ""),))


def pin_start(spec: RunSpec) -> RunSpec:
    """The spec with the folder of the adapter that it goes on from, instead of a run's name.

    Raises:
        UserError: there is no such adapter.
    """
    name = spec.adapter.start_from.strip()
    if not name or spec.adapter.method == "full":
        return spec
    return spec.replace(PATH, str(_folder(name)))


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    if (path / "adapter_config.json").is_file():
        return path.absolute()
    try:
        run = find_run(name)
        result = require_result(run)
    except UserError as failure:
        raise UserError(*(replace(problem, path=PATH, fixes=(_NEITHER,)) for problem in failure.problems)) from failure
    if not (result / "adapter_config.json").is_file():
        message = f"The run “{run.path.name}” has trained the whole model, so it has no adapter to go on from."
        base = Fix("Train on its model", (Edit("model.base", str(result)), Edit(PATH, "")))
        raise UserError(error(PATH, message, "Take its model as the base model.", base, _NEITHER))
    return result


def start_problems(spec: RunSpec, model: ModelFacts | None, plan: Plan) -> tuple[Problem, ...]:
    """In which ways a planned run does not go with the adapter that it goes on from.

    Raises:
        UserError: the adapter cannot be read or trained further.
    """
    if not spec.adapter.start_from.strip() or spec.adapter.method == "full" or model is None:
        return ()
    return tuple(_problems(spec, model, plan, read_start_adapter(_folder(spec.adapter.start_from.strip()))))


def checked_start(spec: RunSpec, model: ModelFacts | None, plan: Plan) -> RunSpec:
    """The spec as `pin_start` gives it, once nothing speaks against going on from its adapter.

    Raises:
        UserError: there is no such adapter, or the run does not go with it.
    """
    pinned = pin_start(spec)
    problems = start_problems(pinned, model, plan)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise UserError(*problems)
    return pinned


def _problems(spec: RunSpec, model: ModelFacts, plan: Plan, adapter: StartAdapter) -> Iterator[Problem]:
    base = (Fix("Take its base model", (Edit("model.base", adapter.base),)),) if Path(adapter.base).exists() else ()
    features = {linear.name: (linear.in_features, linear.out_features) for linear in model.linears}
    strange = [name for name, shape in adapter.shapes.items() if features.get(name) != shape]
    if strange:
        message = f"The adapter was trained on another base model: {strange[0]} is not there, or of another size."
        yield error("model.base", message, f"Take the base model that it belongs to: {adapter.base}.", *base, _NEITHER)
        return
    if adapter.base_fingerprint and adapter.base_fingerprint != model.fingerprint:
        message = "The adapter was trained on a base model with other files, so it may not fit this one."
        yield warning("model.base", message, f"Take the base model that it belongs to: {adapter.base}.", *base)
    take = Fix("Take the adapter's settings", settings_of(adapter, model))
    advice = "Take the adapter's settings, or begin without one."
    said = spec.adapter
    if said.method != adapter.method:
        message = f"The adapter to go on from is of the kind {adapter.method}, and the run trains {said.method}."
        yield error("adapter.method", message, advice, take, _NEITHER)
    if said.alpha != adapter.alpha:
        message = f"The adapter to go on from has alpha {adapter.alpha:g}, and the run {said.alpha:g}."
        yield error("adapter.alpha", message, advice, take, _NEITHER)
    planned = {target.module: target.rank for target in plan.targets}
    if planned.keys() != adapter.ranks.keys():
        message = (
            f"The adapter to go on from has {len(adapter.ranks):,} target modules, and the run "
            f"{len(planned):,} or others."
        )
        yield error("adapter.targets", message, advice, take, _NEITHER)
    elif planned != adapter.ranks:
        name = next(name for name, rank in planned.items() if rank != adapter.ranks[name])
        message = f"The adapter to go on from has rank {adapter.ranks[name]} at {name}, and the run {planned[name]}."
        yield error("adapter.rank", message, advice, take, _NEITHER)
    if set(said.modules_to_save) != set(adapter.whole):
        had, wanted = (", ".join(names) or "nothing" for names in (adapter.whole, said.modules_to_save))
        message = f"The adapter to go on from has trained {had} in full, and the run is to train {wanted}."
        yield error("adapter.modules_to_save", message, advice, take, _NEITHER)


def settings_of(adapter: StartAdapter, model: ModelFacts) -> tuple[Edit, ...]:
    """The settings that train exactly the tensors of an adapter."""
    matrix = Matrix(model)
    targets = [Target(name, rank, *adapter.shapes[name], 0) for name, rank in adapter.ranks.items()]
    found = matrix.express(matrix.cells(targets), adapter.rank, matrix.chosen_outside(targets))
    return (
        Edit("adapter.method", adapter.method),
        Edit("adapter.start", "default"),
        Edit("adapter.rank", adapter.rank),
        Edit("adapter.alpha", adapter.alpha),
        *found.edits,
        Edit("adapter.modules_to_save", adapter.whole),
    )


def continuation(folder: RunFolder, model: ModelFacts | None) -> RunSpec:
    """The settings of a new run that goes on from a finished one with data that is still to be named.

    Args:
        folder: the finished run.
        model: facts of its base model.

    Raises:
        UserError: it has no adapter, or one that cannot be trained further.
    """
    result = _folder(str(folder.path))
    spec = load_spec(folder).replace(PATH, str(result))
    if model is not None:
        for edit in settings_of(read_start_adapter(result), model):
            spec = spec.replace(edit.path, edit.value)
    data = replace(spec.data, train=(), validation=(), weights={}, mapping={}, repairs=())
    steps = 0 if spec.training.extensions else spec.training.max_steps
    training = replace(spec.training, extensions=(), max_steps=steps)
    return replace(spec, data=data, training=training, output=replace(spec.output, name=""))
