"""``lowrank models --catalogue`` and planning with a model that is not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.facts.catalogue import entries, find_entry

LowRank = Callable[..., Any]
NAME = "Qwen/Qwen2.5-7B-Instruct"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_list_and_its_search(lowrank: LowRank) -> None:
    said = lowrank("models", "--catalogue", "--json")
    assert said.code == 0
    assert [model["name"] for model in said.json["models"]] == [entry.name for entry in entries()]
    (found,) = lowrank("models", "--catalogue", "QWEN2.5-7b instruct", "--json").json["models"][:1]
    entry = find_entry(NAME)
    assert entry is not None
    assert found["name"] == NAME
    assert found["parameters"] == 7_615_616_512
    assert found["context"] == 32_768
    assert found["bytes"] == entry.facts.bytes_on_disk
    assert found["lora_16_bit_bytes"] > 2 * 7_615_616_512 > found["lora_4_bit_bytes"] > 7_615_616_512 // 2
    text = lowrank("models", "--catalogue", "gemma-3-4b").out
    assert "terms to accept" in text
    assert "google/gemma-3-4b-it" in text
    assert "4.3 B" in text
    assert "no model for “nothing like it”" in lowrank("models", "--catalogue", "nothing like it").out


def test_one_thing_at_a_time(lowrank: LowRank) -> None:
    assert lowrank("models", "--catalogue", "--search", "x").code == 2


def test_a_model_is_shown_before_it_is_here(lowrank: LowRank) -> None:
    said = lowrank("models", NAME)
    assert said.code == 0
    assert f"lowrank models --download {NAME}" in said.out
    assert "7,615,616,512" in said.out
    assert lowrank("models", NAME.lower()).code == 2


def test_it_is_planned_but_cannot_run(lowrank: LowRank, basics: tuple[object, ...]) -> None:
    asked = (*basics, "--set", f"model.base={NAME}")
    said = lowrank("plan", *asked, "--json")
    assert said.code != 0
    assert said.json["plan"]["parameters"]["frozen"] == 7_615_616_512
    assert "model.base" in said.paths
    said = lowrank("run", *asked)
    assert said.code != 0
    assert f"lowrank models --download {NAME}" in said.err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(lowrank: LowRank, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = lowrank("models", "--catalogue").out.splitlines()
    assert max(map(len, lines)) <= columns
    head = next(line for line in lines if line.startswith("Model "))
    rows = [line for line in lines if line.split(" ")[0].count("/") == 1]
    assert len(rows) == len(entries())
    assert head.endswith("Licence") == (columns == 120)
    below = [line for line in lines if line == "  gemma, terms to accept"]
    beside = [line for line in rows if line.endswith("  gemma, terms to accept")]
    gemmas = sum(entry.licence == "gemma" and entry.gated for entry in entries())
    assert (len(below), len(beside)) == ((gemmas, 0) if columns == 80 else (0, gemmas))
    assert ("apache-2.0 or mit where" in " ".join(lines)) == (columns == 80)


def test_a_model_without_files_says_what_is_to_come(lowrank: LowRank) -> None:
    assert "GiB to download" in lowrank("models", NAME).out
    assert "no limit stated" in lowrank("models", "bigscience/bloom-560m").out
    assert "1.0 B " in lowrank("models", "--catalogue", "gemma-3-1b-pt").out
