"""A tuned tiny model that many tests read and none may change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.export.tiny_models import Tuned, make_base, tune


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A llama in float32 with a plain LoRA on every linear layer; nobody may change its files."""
    folder = tmp_path_factory.mktemp("llama")
    return tune(make_base(folder / "base"), folder / "adapter")


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a folder, so that a test may break it."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))
