"""A disk that fills up at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.disks import mounted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    with mounted(tmp_path / "small-disk", 24) as folder:
        yield folder
