"""Small file systems, and what one says of itself, made up."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


@contextmanager
def mounted(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of its own at ``folder``; the test is skipped where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this system lets the tests mount no disk")
    try:
        yield folder
    finally:
        # lazily: a process that a failed test has left on it must not keep the disk for ever
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
