"""A small real tokenizer with ChatML's tokens, trained in a moment, and models that consist of nothing else."""

import dataclasses
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.tokenizer import Tokenizer
from core.facts.types import ModelFacts
from tests.core.data.real_packages import LLAMAFACTORY, fetched
from tests.core.data.small_tokenizers import model_of, write_tokenizer


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small tokenizer; never write to it."""
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    """The small tokenizer."""
    return Tokenizer.load(tokenizer_folder)


@pytest.fixture(scope="session")
def bos_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The same with a beginning-of-text token in front of running text."""
    folder = write_tokenizer(tmp_path_factory.mktemp("bos"), begin=True, bos_token="<s>")
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def model(tokenizer_folder: Path) -> ModelFacts:
    """A model of which only tokenizer and template matter here."""
    return model_of(tokenizer_folder)


@pytest.fixture(scope="session")
def model_with(model: ModelFacts) -> Callable[[str], ModelFacts]:
    """The model with another chat template."""
    return lambda template: dataclasses.replace(model, template=template)


@pytest.fixture(scope="session")
def files() -> Path:
    """The folder with the data files of LLaMA-Factory's source package."""
    archive = fetched(LLAMAFACTORY)
    data = archive.parent / "data"
    if not data.is_dir():
        staged = archive.parent / f"part-{os.getpid()}"
        with tarfile.open(archive) as packed:
            packed.extractall(staged, [item for item in packed if "/data/" in item.name], filter="data")
        try:
            os.replace(staged / f"{LLAMAFACTORY.name}-{LLAMAFACTORY.version}" / "data", data)
        except OSError:
            assert data.is_dir(), "another process of the tests may have been quicker, nothing else"
            shutil.rmtree(staged)
    return data
