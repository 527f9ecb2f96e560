"""What a file system says of itself, made up."""

import shutil
from typing import NamedTuple

import pytest

from core.units import GIB


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def tell(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """From now on every file system says that it has so many bytes free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GIB, 10 * GIB - free, free))
