"""``lowrank bench inference`` to its table, with real engines; and what cannot be measured."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.paths import jobs_dir
from tests.core.cli.conftest import Said
from tests.core.export.gguf.llama_models import make_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that reads 256 tokens. Never write to it."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny", "llama")


@pytest.mark.torch
@pytest.mark.slow
def test_a_model_is_measured_in_16_and_in_4_bits(lowrank: Callable[..., Said], lowrank_home: Path, model: Path) -> None:
    said = lowrank("bench", "inference", model, "--prompt", "40", "--tokens", "4")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    head = next(number for number, line in enumerate(lines) if "read tokens/s" in line)
    rows = [line.split() for line in lines[head + 1 : head + 3]]
    assert [row[:2] for row in rows] == [["base", "alone"], ["base", "alone"]]
    assert [row[2] for row in rows] == ["bf16", "nf4"]
    assert all(float(row[3].replace(",", "")) > 0 for row in rows)
    assert list(jobs_dir().iterdir()) == []


@pytest.mark.torch
def test_what_cannot_be_measured_is_said(lowrank: Callable[..., Said], lowrank_home: Path, model: Path) -> None:
    longer = lowrank("--json", "bench", "inference", model, "--prompt", "250", "--tokens", "7")
    assert longer.code == 2
    assert longer.paths == {"--prompt"}
    assert "reads 256 tokens at most" in longer.json["problems"][0]["message"]
    for words, path in (
        (("bench", "inference"), ""),
        (("bench", "inference", model, "--tokens", "1"), "--tokens"),
        (("bench", "inference", model, "--prompt", "many"), "--prompt"),
    ):
        assert lowrank("--json", *words).paths == {path}
    assert lowrank("bench", "inference", "nobody").code != 0
