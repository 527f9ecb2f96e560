"""Sweeps: one spec, a small grid of values for some of its settings, and a run for each point of the grid.

All runs of a sweep have the same seed and so the same rows in the same order, unless the seed itself is varied.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import Problem, UserError, error
from core.runs.prepare import OnProgress, Prepared, plan_with_fixes, prepare
from core.runs.store import safe_name
from core.spec.codec import apply_assignments
from core.spec.fields import Kind
from core.spec.rules import check
from core.spec.run_spec import RunSpec, field_at
from core.spec.values import to_plain as plain_value

MANY_RUNS = 24
"""More runs than this are made only when somebody says so once more."""
MOST_RUNS = 256

_RANK, _ALPHA = "adapter.rank", "adapter.alpha"
_UNVARIED = ("output.name", "output.folder")
_SHORT = {"learning_rate": "lr", "rank": "r", "alpha": "a", "effective_batch": "batch", "dropout": "drop"}
# What a change of these sections or settings may do to the rows is found out by reading them again.
_ABOUT_ROWS = ("data.", "model.", "training.seed")


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting and the values that it takes in a sweep."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a sweep before it is made: its spec, and the values in which it differs from the others."""

    spec: RunSpec
    values: Mapping[str, Any]


def read_axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """Settings with their values from ``path=value,value`` texts; lists and mappings take ``;`` between the values.

    Raises:
        UserError: a setting is unknown, cannot be varied or is named twice, or a value does not fit.
    """
    axes: list[Axis] = []
    problems: list[Problem] = []
    for text in texts:
        path, _, values = text.partition("=")
        try:
            axes.append(_read_axis(path.strip(), values))
        except UserError as failure:
            problems += failure.problems
    for path in sorted({axis.path for axis in axes}):
        if sum(axis.path == path for axis in axes) > 1:
            problems.append(error(path, f"“{path}” is varied twice.", "Name all of its values at once."))
    if problems:
        raise UserError(*problems)
    return tuple(axes)


def _read_axis(path: str, text: str) -> Axis:
    values: dict[str, Any] = {}
    mark = "," if _is_single(path) else ";"
    for part in text.split(mark):
        if part.strip():
            value = apply_assignments(RunSpec(), [f"{path}={part.strip()}"]).get(path)
            values.setdefault(json.dumps(plain_value(value), sort_keys=True), value)
    if path in _UNVARIED:
        message = f"“{path}” cannot be varied: each run gets a name and a folder of its own."
        raise UserError(error(path, message, "Vary another setting."))
    if not values:
        apply_assignments(RunSpec(), [f"{path}={text}"])  # an unknown setting has a better answer
        raise UserError(error(path, f"No values are named for “{path}”.", f"Write for example --vary {path}=8,16."))
    return Axis(path, tuple(values.values()))


def _is_single(path: str) -> bool:
    """Whether a value of the setting has no commas of its own."""
    try:
        kind = field_at(path).setting.kind
    except KeyError:
        return True
    return kind in (Kind.INTEGER, Kind.NUMBER, Kind.CHOICE, Kind.FLAG, Kind.TEXT, Kind.MODEL)


def points(spec: RunSpec, axes: Sequence[Axis], name: str, *, alpha_follows: bool = True) -> tuple[Point, ...]:
    """One spec for each combination of values, the last setting changing fastest; each named after its values.

    Args:
        spec: what all runs have in common.
        axes: the settings that differ.
        name: the sweep's name, with which the names of its runs begin.
        alpha_follows: a varied rank takes alpha with it where alpha is not varied itself, so that the adapter's
            weight (alpha / rank) stays the same; with rank-stabilized LoRA, which has another rule, it never does.

    Raises:
        UserError: there are too many combinations, or one is refused by the rules; each problem names its values.
    """
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_RUNS:
        message = f"These values make {count:,} runs, and a sweep has at most {MOST_RUNS}."
        raise UserError(error("", message, "Leave out some values."))
    names = [axis.path for axis in axes]
    follows = alpha_follows and alpha_would_follow(spec, axes)
    known = check(spec)
    found: list[Point] = []
    problems: list[Problem] = []
    for combination in itertools.product(*(axis.values for axis in axes)):
        values = dict(zip(names, combination, strict=True))
        point = spec
        for path, value in values.items():
            point = point.replace(path, value)
        if follows:
            point = point.replace(_ALPHA, spec.adapter.alpha / spec.adapter.rank * point.adapter.rank)
        point = point.replace("output.name", safe_name(f"{name}-{label(values)}"))
        found.append(Point(point, values))
        problems += [
            replace(problem, message=f"With {described(values)}: {problem.message}")
            for problem in check(point)
            if problem.severity == "error" and (problem not in known or len(found) == 1)
        ]
    if problems:
        raise UserError(*problems)
    return tuple(found)


def alpha_would_follow(spec: RunSpec, axes: Sequence[Axis]) -> bool:
    """Whether alpha can go with the rank in a sweep."""
    varied = {axis.path for axis in axes}
    return (
        _RANK in varied and _ALPHA not in varied and spec.adapter.method in ("lora", "dora") and spec.adapter.rank > 0
    )


def label(values: Mapping[str, Any]) -> str:
    """The values of a run as a part of a name: ``r8-lr0.0002``."""
    parts = []
    for path, value in values.items():
        name = path.rpartition(".")[2]
        parts.append(f"{_SHORT.get(name, name.replace('_', '-') + '-')}{_short(value)}")
    return "-".join(parts)


def described(values: Mapping[str, Any]) -> str:
    """The values of a run for people: ``rank 8, learning rate 0.0002``."""
    return ", ".join(f"{path.rpartition('.')[2].replace('_', ' ')} {_short(value)}" for path, value in values.items())


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    plain = plain_value(value)
    if isinstance(plain, list):
        return "+".join(map(str, plain)) or "none"
    if isinstance(plain, dict):
        return "+".join(f"{key}{item}" for key, item in plain.items()) or "none"
    return re.split(r"[/\\]", str(plain))[-1] or "none"


def prepare_points(
    found: Sequence[Point], *, on_progress: OnProgress | None = None, base: Prepared | None = None
) -> tuple[Prepared, ...]:
    """A plan for each run; model and rows are read once, and again only where what is varied may change them.

    Args:
        found: the runs.
        on_progress: told what is being read.
        base: what is known already of a spec with the same model and rows.

    Raises:
        UserError: model or data cannot be used; or a plan has more against it than too little room.
    """
    if any(path.startswith(_ABOUT_ROWS) for path in found[0].values):
        prepared = [prepare(point.spec, on_progress=on_progress) for point in found]
    else:
        prepared = _planned_again(base or prepare(found[0].spec, on_progress=on_progress), found)
    problems: list[Problem] = []
    for point, one in zip(found, prepared, strict=True):
        if not one.plan.can_start and not one.plan.lacks_only_room:
            problems += [
                replace(problem, message=f"With {described(point.values)}: {problem.message}")
                for problem in one.plan.errors
            ]
    if problems:
        raise UserError(*problems)
    return tuple(prepared)


def _planned_again(base: Prepared, found: Sequence[Point]) -> list[Prepared]:
    """The plans of runs with the same model and rows as another."""
    from_planner = plan_with_fixes(base.spec, base.facts).problems
    from_rows = [problem for problem in base.plan.problems if problem not in from_planner]
    prepared = []
    for point in found:
        output = replace(point.spec.output, folder=base.spec.output.folder)
        # with the paths made absolute there
        spec = replace(point.spec, data=base.spec.data, model=base.spec.model, output=output)
        planned = plan_with_fixes(spec, base.facts)
        plan = replace(planned, template=base.plan.template, problems=(*planned.problems, *from_rows))
        prepared.append(Prepared(spec, base.facts, plan))
    return prepared
