"""Dataclass trees to plain data and back: one strict codec for facts, plans, events and manifests.

Understands nested dataclasses, sequences (read as tuples), mappings, optionals, literals, enums, paths and numbers. The
spec has a codec of its own (`core.spec.codec`) because a person writes it and deserves better answers.
"""

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


class RecordError(ValueError):
    """Plain data does not fit the record; the message names the path and what was expected there."""


def to_plain(value: object) -> Any:
    """A value as JSON-ready data; non-finite numbers become the strings ``nan``, ``inf`` and ``-inf``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | frozenset) and not isinstance(value, str):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise RecordError(f"a {type(value).__name__} has no plain form")


def from_plain(cls: type[T], data: object, *, path: str = "") -> T:
    """The record of type ``cls`` that ``data`` describes.

    Unknown keys are ignored (a newer writer may add some); missing keys take the field's default.

    Raises:
        RecordError: a value has the wrong type, or a field without default is missing.
    """
    return cast("T", _read(cls, data, path or cls.__name__))


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Resolved field types of a dataclass; cached, because resolving costs far more than reading."""
    return typing.get_type_hints(cls)


def _read(kind: Any, data: object, path: str) -> object:
    origin = typing.get_origin(kind)
    if kind is Any or kind is object:
        return data
    if origin in (typing.Union, types.UnionType):
        return _read_union(kind, data, path)
    if origin is typing.Literal:
        if data in typing.get_args(kind):
            return data
        raise RecordError(f"{path}: expected one of {typing.get_args(kind)}, found {data!r}")
    if origin is Sequence:
        return _read_tuple((*typing.get_args(kind), Ellipsis), data, path)
    if origin is tuple:
        return _read_tuple(typing.get_args(kind), data, path)
    if origin in (dict, Mapping):
        return _read_mapping(kind, data, path)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(cast("type", kind), data, path)
    if origin is not None and dataclasses.is_dataclass(origin):
        return _read_dataclass(cast("type", origin), data, path)
    return _read_scalar(kind, data, path)


def _read_union(kind: Any, data: object, path: str) -> object:
    options = typing.get_args(kind)
    if data is None and type(None) in options:
        return None
    failures = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _read(option, data, path)
        except RecordError as failure:
            failures.append(str(failure))
    raise RecordError("; or ".join(failures) or f"{path}: found {data!r}")


def _read_tuple(arguments: tuple[Any, ...], data: object, path: str) -> tuple[object, ...]:
    if not isinstance(data, list | tuple):
        raise RecordError(f"{path}: expected a list, found {data!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(data))
    if len(arguments) != len(data):
        raise RecordError(f"{path}: expected {len(arguments)} values, found {len(data)}")
    return tuple(_read(arguments[i], item, f"{path}[{i}]") for i, item in enumerate(data))


def _read_mapping(kind: Any, data: object, path: str) -> dict[str, object]:
    if not isinstance(data, Mapping):
        raise RecordError(f"{path}: expected a mapping, found {data!r}")
    _, value_kind = typing.get_args(kind) or (str, object)
    return {str(key): _read(value_kind, item, f"{path}.{key}") for key, item in data.items()}


def _read_dataclass(cls: type, data: object, path: str) -> object:
    if not isinstance(data, Mapping):
        raise RecordError(f"{path}: expected a mapping, found {data!r}")
    hints = hints_of(cls)
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            kind = hints[field.name]
            values[field.name] = _read(
                object if isinstance(kind, TypeVar) else kind, data[field.name], f"{path}.{field.name}"
            )
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecordError(f"{path}.{field.name} is missing")
    return cls(**values)


def _read_scalar(kind: Any, data: object, path: str) -> object:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            raise RecordError(f"{path}: {data!r} is none of {[item.value for item in kind]}") from None
    if kind is float:
        if isinstance(data, int | float) and not isinstance(data, bool):
            return float(data)
        if data in ("nan", "inf", "-inf"):
            return float(data)
    elif kind is Path and isinstance(data, str):
        return Path(data)
    elif kind is int:
        if isinstance(data, int) and not isinstance(data, bool):
            return data
    elif isinstance(kind, type) and isinstance(data, kind):
        return data
    raise RecordError(f"{path}: expected {getattr(kind, '__name__', kind)}, found {data!r}")
