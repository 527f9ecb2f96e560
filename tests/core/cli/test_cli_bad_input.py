"""Every way to ask for something impossible gets a sentence, the right exit status, and leaves nothing behind."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.facts import hardware
from core.facts.types import HardwareFacts
from core.runs import prepare
from tests.core.cli.conftest import Said

LowRank = Callable[..., Said]
Basics = tuple[str, ...]


@pytest.fixture(params=["plan", "run"])
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(lowrank_home: Path, engine: Callable[[str], None]) -> object:
    engine("ok")  # should a refusal fail to come, no real training follows
    yield
    assert not list((lowrank_home / "runs").glob("*")), "a refused run has left a folder"


def test_no_spec_at_all(lowrank: LowRank, verb: str) -> None:
    said = lowrank(verb)
    assert said.code == 2
    assert "--set model.base=… and --set data.train=…" in said.err


def test_a_spec_that_is_not_there(lowrank: LowRank, verb: str, tmp_path: Path) -> None:
    said = lowrank(verb, tmp_path / "none.yaml")
    assert said.code == 2
    assert "none.yaml" in said.err


@pytest.mark.parametrize("text", ["model: [", "- a\n- b\n", "model:\n\tbase: x\n", "\0", "model: 3\n"])
def test_a_spec_that_is_broken(lowrank: LowRank, verb: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    said = lowrank(verb, path, "--json")
    assert said.code == 2
    assert str(path) in json.dumps(said.json, ensure_ascii=False)


def test_every_wrong_setting_at_once(lowrank: LowRank, verb: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("adapter:\n  rnk: 8\n  alpha: much\ntrainig:\n  epochs: 1\n")
    said = lowrank(verb, path, "--json")
    assert said.code == 2
    assert said.paths == {"adapter.rnk", "adapter.alpha", "trainig"}


def test_an_unknown_preset(lowrank: LowRank, verb: str, basics: Basics) -> None:
    said = lowrank(verb, *basics, "--preset", "quick-gpu")
    assert said.code == 2
    assert "quick-cpu" in said.err


def test_model_and_data_that_are_not_there(lowrank: LowRank, verb: str, tmp_path: Path) -> None:
    missing = ("--set", f"model.base={tmp_path / 'm'}", "--set", f"data.train={tmp_path / 'd.jsonl'}")
    said = lowrank(verb, *missing, "--json")
    assert said.code == 2
    text = json.dumps(said.json)
    assert str(tmp_path / "m") in text
    assert str(tmp_path / "d.jsonl") in text


@pytest.mark.parametrize("content", ["", "{\n", "no json\n", '{"a": 1}\n', "[1, 2]\n"])
def test_data_that_cannot_be_used(lowrank: LowRank, verb: str, basics: Basics, rows: Path, content: str) -> None:
    rows.write_text(content)
    said = lowrank(verb, *basics)
    assert said.code == 2
    assert "rows.jsonl" in said.err


def _copied(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    return folder


def test_a_folder_without_a_model(lowrank: LowRank, verb: str, basics: Basics, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = lowrank(verb, *basics, "--set", f"model.base={tmp_path / 'empty'}")
    assert said.code == 2
    assert str(tmp_path / "empty") in said.err


def test_a_model_of_pickles_alone(
    lowrank: LowRank, verb: str, basics: Basics, tiny_model: Path, tmp_path: Path
) -> None:
    folder = _copied(tiny_model, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": 1}))
    said = lowrank(verb, *basics, "--set", f"model.base={folder}")
    assert said.code == 2
    assert "safetensors" in said.err


def test_a_model_that_wants_to_run_code(
    lowrank: LowRank, verb: str, basics: Basics, tiny_model: Path, tmp_path: Path
) -> None:
    folder = _copied(tiny_model, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "novel", "auto_map": {"AutoModelForCausalLM": "modeling.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    said = lowrank(verb, *basics, "--set", f"model.base={folder}")
    assert said.code == 2
    assert "trust_remote_code" in said.out + said.err


def _machine(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    facts = replace(hardware.read_hardware(Path.cwd()), gpus=(), **changes)

    def read(_folder: Path) -> HardwareFacts:
        return facts

    monkeypatch.setattr(prepare, "read_hardware", read)


def test_a_gpu_that_is_not_there(lowrank: LowRank, verb: str, basics: Basics, monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch)
    said = lowrank(verb, *basics, "--set", "hardware.device=cuda")
    assert said.code == 2
    assert "--set hardware.device=" in said.out + said.err


def test_too_little_memory_is_its_own_exit_status(
    lowrank: LowRank, verb: str, basics: Basics, monkeypatch: pytest.MonkeyPatch
) -> None:
    _machine(monkeypatch, ram_total_bytes=400 << 20, ram_free_bytes=200 << 20)
    said = lowrank(verb, *basics, "--json")
    assert said.code == said.json["exit_code"] == 3
    assert "hardware.device" in said.paths
    assert lowrank(verb, *basics, "--set", "data.max_length=100000").code == 2


def test_a_full_disk_does_not_fit_either(
    lowrank: LowRank, verb: str, basics: Basics, monkeypatch: pytest.MonkeyPatch
) -> None:
    _machine(monkeypatch, disk_free_bytes=1000)
    assert lowrank(verb, *basics).code == 3


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_runs_folder_that_cannot_be_written(lowrank: LowRank, basics: Basics, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    said = lowrank("run", *basics, "--set", f"output.folder={tmp_path / 'locked'}")
    assert said.code == 4


def test_a_runs_folder_that_is_a_file(lowrank: LowRank, basics: Basics, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = lowrank("run", *basics, "--set", f"output.folder={tmp_path / 'file'}")
    assert said.code in (2, 4)
    assert str(tmp_path / "file") in said.err


def test_runs_that_are_not_there(lowrank: LowRank) -> None:
    for words in (("show", "x"), ("stop", "x"), ("resume", "x"), ("export", "x"), ("sample", "x", "--prompt", "y")):
        said = lowrank(*words)
        assert said.code == 2
        assert "There is no run “x”" in said.err


def test_models_that_cannot_be_had(lowrank: LowRank, tmp_path: Path, lowrank_home: Path) -> None:
    assert lowrank("models", "nothing-here").code == 2
    assert lowrank("models", "--import", tmp_path / "none.gguf").code == 2
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing more")
    said = lowrank("models", "--import", broken, "--name", "broken")
    assert said.code == 2
    assert "broken.gguf" in said.err
    assert lowrank("models", "--import", broken, "--name", "../up").code == 2
    assert lowrank("models", "--import", tmp_path, "--fetch", "starter").code == 2
    assert lowrank("models", "--name", "x").code == 2
    (tmp_path / "text.txt").write_text("x")
    assert "not a GGUF file" in lowrank("models", "--import", tmp_path / "text.txt").err
    assert not (lowrank_home / "models").exists()


def test_questions_to_nobody(lowrank: LowRank, tiny_model: Path) -> None:
    assert lowrank("sample").code == 2
    assert lowrank("sample", "x", "--model", "y").code == 2
    assert lowrank("sample", "--model", tiny_model).code == 2
    assert lowrank("sample", "--model", tiny_model, "--both", "--prompt", "x").code == 2


def test_the_demo_looks_at_its_target_first(lowrank: LowRank, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    said = lowrank("demo", "--out", tmp_path)
    assert said.code == 2
    assert "nothing is overwritten" in said.err


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²", "9" * 5000])
def test_counts_that_are_no_counts(lowrank: LowRank, tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("model:\n  base: starter\n")
    for words in (("launch-script", path, f"--nodes={text}"), ("bench", "attention", f"--lengths=512,{text}")):
        said = lowrank(*words)
        assert said.code == 2, said.err
        assert text[:40] in said.err
