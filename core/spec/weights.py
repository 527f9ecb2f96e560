"""Which training file a weight is meant for."""

import os
from collections.abc import Iterable, Mapping
from pathlib import PurePath

HIGHEST_WEIGHT = 1000.0


def weight_of(name: str, weights: Mapping[str, float]) -> float:
    """How often an epoch takes the rows of a training file: its weight by its whole path, else by its name, else 1."""
    for key, weight in weights.items():
        if _path(key) == _path(name):
            return weight
    for key, weight in weights.items():
        if key == _name(name):
            return weight
    return 1.0


def unmatched(train: Iterable[str], weights: Mapping[str, float]) -> tuple[str, ...]:
    """The keys that mean no training file."""
    known = {_path(name) for name in train} | {_name(name) for name in train}
    return tuple(key for key in weights if key not in known and _path(key) not in known)


def _path(name: str) -> str:
    return os.path.normcase(os.path.normpath(os.path.expanduser(name)))  # noqa: PTH111 (no file is touched)


def _name(name: str) -> str:
    return PurePath(name).name
