"""The contracts of pyproject.toml hold: layers, no engine, a pure planner, torch and Qt where they belong."""

import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]


def test_every_contract_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


def test_every_part_of_core_is_in_a_layer_and_bound_by_the_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    contracts = {contract["name"]: contract for contract in settings["contracts"]}
    children = [path for path in (ROOT / "core").iterdir() if not path.name.startswith("_")]
    parts = {f"core.{path.stem}" for path in children if path.suffix == ".py" or path.is_dir()}

    layers = {name.strip() for row in contracts["one arrow inside core"]["layers"] for name in row.split("|")}
    assert layers == parts
    engine_free = contracts["nobody imports the engine: it is started as a process"]
    assert set(engine_free["source_modules"]) == parts - {"core.engine"}
    torch_free = next(contract for name, contract in contracts.items() if name.startswith("torch"))
    assert set(torch_free["source_modules"]) == parts - {"core.engine", "core.export"}
