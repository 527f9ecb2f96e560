"""How a setting describes itself: the one table that form, command line, YAML, schema, docs and diff all read."""

import dataclasses
import functools
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

METADATA_KEY = "setting"
SECTION_KEY = "section"


class Kind(StrEnum):
    """What a setting holds; the window maps each kind to an editor, the command line to a parser."""

    TEXT = "text"
    PARAGRAPHS = "paragraphs"
    TEMPLATE = "template"
    MODEL = "model"
    FOLDER = "folder"
    FILES = "files"
    CHOICE = "choice"
    FLAG = "flag"
    INTEGER = "integer"
    NUMBER = "number"
    NAMES = "names"
    MAPPING = "mapping"
    RANKS = "ranks"
    WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lowest and highest allowed value, both included; None leaves a side open."""

    low: float | None = None
    high: float | None = None

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies inside; NaN lies nowhere."""
        above = self.low is None or value >= self.low
        below = self.high is None or value <= self.high
        return above and below and value == value


@dataclass(frozen=True, slots=True)
class Choice:
    """One allowed value of a choice and the sentence that explains it."""

    value: str
    title: str
    help: str


@dataclass(frozen=True, slots=True)
class When:
    """A setting matters only while the setting at ``path`` has one of ``values``."""

    path: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything anyone needs to show, check and explain one setting.

    Attributes:
        help: one or two sentences that say what it does and when to change it.
        unit: what the number counts ("tokens", "layers"); empty for pure numbers.
        step: the natural increment of a spin box; None lets the editor choose.
        log: the value spans orders of magnitude, so a slider moves on a logarithmic scale.
        advanced: hidden behind "More settings".
        visible_when: the setting matters only while this holds; otherwise it is ignored, with this as the reason.
        affects: what moves when it changes: "memory", "speed", "quality", "disk".
        usual: the range that a slider spans; a field beside it takes all that `bounds` allow. None: no slider.
        zero_means: what the value 0 (or empty) stands for, when it stands for something ("automatic", "all").
    """

    kind: Kind
    title: str
    help: str
    unit: str = ""
    bounds: Bounds | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Choice, ...] = ()
    advanced: bool = False
    visible_when: When | None = None
    affects: tuple[str, ...] = ()
    usual: Bounds | None = None
    zero_means: str = ""


def setting(default: Any, kind: Kind, title: str, help: str, **more: Any) -> Any:  # noqa: A002 (the field's word)
    """Declares a dataclass field that is a setting; ``more`` are the other attributes of `Setting`.

    A mapping counts for equality but not for the hash: a dict has none, and equal specs still hash alike, so specs
    serve as keys of sets and caches. Nobody changes a mapping in place; a spec changes by `replace` alone.
    """
    metadata = {METADATA_KEY: Setting(kind, title, help, **more)}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), hash=False, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """A section of the spec: its key, what its page is called, one sentence on what it is about, and its dataclass."""

    name: str
    title: str
    help: str
    type: type


def section(title: str, help: str) -> dict[str, tuple[str, str]]:  # noqa: A002 (the field's word)
    """Metadata of a dataclass field that is a section of settings."""
    return {SECTION_KEY: (title, help)}


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A setting in its place: its dotted path in the spec, its Python type, its default and its description."""

    path: str
    type: Any
    default: Any
    setting: Setting

    @property
    def section(self) -> str:
        """The part of the path before the dot."""
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        """The part of the path after the dot."""
        return self.path.partition(".")[2]


@functools.cache
def walk_sections(spec_type: type) -> tuple[SectionInfo, ...]:
    """Every section of a spec type, in declaration order."""
    hints = typing.get_type_hints(spec_type)
    found = []
    for item in dataclasses.fields(spec_type):
        if SECTION_KEY in item.metadata:
            title, words = item.metadata[SECTION_KEY]
            found.append(SectionInfo(item.name, title, words, hints[item.name]))
    return tuple(found)


@functools.cache
def walk(spec_type: type) -> tuple[FieldInfo, ...]:
    """Every setting of a spec type, in declaration order."""
    return tuple(_walk(spec_type, ""))


def _walk(cls: type, prefix: str) -> Iterator[FieldInfo]:
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint):
            yield from _walk(typing.cast("type", hint), f"{prefix}{item.name}.")
        elif METADATA_KEY in item.metadata:
            default = item.default if item.default is not dataclasses.MISSING else None
            if item.default_factory is not dataclasses.MISSING:
                default = item.default_factory()
            yield FieldInfo(prefix + item.name, hint, default, item.metadata[METADATA_KEY])
