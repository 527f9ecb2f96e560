"""The whole spec, and the two things everyone does with it: change a setting by path, and compare two specs."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from core.spec.fields import FieldInfo, walk
from core.spec.sections import AdapterSpec, DataSpec, HardwareSpec, ModelSpec, OutputSpec, TrainingSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What the user asked for: one frozen tree of settings, one YAML file."""

    model: ModelSpec = field(default_factory=ModelSpec)
    data: DataSpec = field(default_factory=DataSpec)
    adapter: AdapterSpec = field(default_factory=AdapterSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    hardware: HardwareSpec = field(default_factory=HardwareSpec)
    output: OutputSpec = field(default_factory=OutputSpec)

    def get(self, path: str) -> Any:
        """The value of the setting at ``path``.

        Raises:
            KeyError: there is no such setting.
        """
        info = field_at(path)
        return getattr(getattr(self, info.section), info.name)

    def replace(self, path: str, value: object) -> "RunSpec":
        """This spec with one setting changed; the value is not checked here but by `core.spec.rules`.

        Raises:
            KeyError: there is no such setting.
        """
        info = field_at(path)
        section = dataclasses.replace(getattr(self, info.section), **{info.name: value})
        return dataclasses.replace(self, **{info.section: section})


def fields() -> tuple[FieldInfo, ...]:
    """Every setting of a `RunSpec`, in the order of the form."""
    return walk(RunSpec)


def field_at(path: str) -> FieldInfo:
    """The description of the setting at ``path``.

    Raises:
        KeyError: there is no such setting.
    """
    for info in fields():
        if info.path == path:
            return info
    raise KeyError(path)


def is_visible(spec: RunSpec, info: FieldInfo) -> bool:
    """Whether a setting matters in this spec; an invisible one is ignored everywhere."""
    when = info.setting.visible_when
    return when is None or spec.get(when.path) in when.values


def diff(before: RunSpec, after: RunSpec) -> tuple[tuple[str, Any, Any], ...]:
    """Settings that differ, as (path, before, after)."""
    pairs = ((info.path, before.get(info.path), after.get(info.path)) for info in fields())
    return tuple((path, old, new) for path, old, new in pairs if old != new)
