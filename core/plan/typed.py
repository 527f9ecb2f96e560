"""A spec that can be planned with, whatever it holds: values of a wrong type count as their defaults."""

from collections.abc import Iterable

from core.errors import Problem, Severity
from core.spec.run_spec import RunSpec, field_at
from core.spec.values import fits


def typed(spec: RunSpec, broken: Iterable[Problem]) -> RunSpec:
    """The spec with the default in every setting whose value is not of its type; ``broken`` is what `check` found."""
    for path in {problem.path for problem in broken if problem.severity is Severity.ERROR}:
        info = field_at(path)
        if not fits(info, spec.get(path)):
            spec = spec.replace(path, info.default)
    return spec
