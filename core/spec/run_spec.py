"""The whole spec, and the two things everyone does with it: change a setting by path, and compare two specs."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.spec.fields import FieldInfo, SectionInfo, section, walk, walk_sections
from core.spec.sections import AdapterSpec, DataSpec, HardwareSpec, ModelSpec, OutputSpec, TrainingSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What the user asked for: one frozen tree of settings, one YAML file."""

    model: ModelSpec = field(
        default_factory=ModelSpec,
        metadata=section("Model", "Which base model is tuned, and how its weights are held in memory."),
    )
    data: DataSpec = field(
        default_factory=DataSpec,
        metadata=section("Data", "What the model learns from, and how rows become tokens."),
    )
    adapter: AdapterSpec = field(
        default_factory=AdapterSpec,
        metadata=section("Adapter", "What is trained: low-rank adapters on chosen modules, or every weight."),
    )
    training: TrainingSpec = field(
        default_factory=TrainingSpec,
        metadata=section(
            "Training", "How long, how fast and how carefully the model learns, and what is saved meanwhile."
        ),
    )
    hardware: HardwareSpec = field(
        default_factory=HardwareSpec,
        metadata=section("Hardware", "Where and how the work is done; none of it changes what is learned."),
    )
    output: OutputSpec = field(
        default_factory=OutputSpec,
        metadata=section("Output", "What the run is called and where its folder lies."),
    )

    def get(self, path: str) -> Any:
        """The value of the setting at ``path``.

        Raises:
            KeyError: there is no such setting.
        """
        info = _fields_by_path()[path]
        return getattr(getattr(self, info.section), info.name)

    def replace(self, path: str, value: object) -> "RunSpec":
        """This spec with one setting changed; the value is not checked here but by `core.spec.rules`.

        Raises:
            KeyError: there is no such setting.
        """
        info = field_at(path)
        changed = dataclasses.replace(getattr(self, info.section), **{info.name: value})
        return dataclasses.replace(self, **{info.section: changed})


def fields() -> tuple[FieldInfo, ...]:
    """Every setting of a `RunSpec`, in the order of the form."""
    return walk(RunSpec)


def sections() -> tuple[SectionInfo, ...]:
    """Every section of a `RunSpec`, in the order of the form."""
    return walk_sections(RunSpec)


def field_at(path: str) -> FieldInfo:
    """The description of the setting at ``path``.

    Raises:
        KeyError: there is no such setting.
    """
    return _fields_by_path()[path]


@functools.cache
def _fields_by_path() -> Mapping[str, FieldInfo]:
    return {info.path: info for info in fields()}


def is_visible(spec: RunSpec, info: FieldInfo) -> bool:
    """Whether a setting matters in this spec; an invisible one is ignored everywhere."""
    when = info.setting.visible_when
    return when is None or spec.get(when.path) in when.values


def diff(before: RunSpec, after: RunSpec) -> tuple[tuple[str, Any, Any], ...]:
    """Settings that differ, as (path, before, after)."""
    pairs = ((info.path, before.get(info.path), after.get(info.path)) for info in fields())
    return tuple((path, old, new) for path, old, new in pairs if old != new)
