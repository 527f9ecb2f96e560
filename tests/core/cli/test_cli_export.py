"""``lowrank export``: several kinds in one call, options that fit none of them, and other adapters mixed in."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.paths import jobs_dir
from core.runs import supervisor
from core.runs.launch import engine_command
from core.runs.store import find_run
from tests.core.cli.conftest import WIDTH, Said

LowRank = Callable[..., Said]


@pytest.fixture
def run(
    lowrank: LowRank, basics: tuple[str, ...], engine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a run with a small adapter; from here on engines are real ones."""
    engine("ok")
    lowrank("run", *basics)
    folder = find_run("words")
    write_adapter(folder.adapter)
    monkeypatch.setattr(supervisor, "engine_command", engine_command)
    return folder.path


def write_adapter(folder: Path) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    draw = np.random.default_rng(0)
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{name}.lora_A.weight": draw.normal(0, 0.2, (2, WIDTH)).astype("float32"),
        f"{name}.lora_B.weight": draw.normal(0, 0.2, (WIDTH, 2)).astype("float32"),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.torch
def test_several_kinds_in_one_call_and_nothing_twice(lowrank: LowRank, run: Path, tmp_path: Path) -> None:
    words = ("export", "words", "--kind", "gguf", "--kind", "adapter", "--precision", "F16", "--to", tmp_path / "out")
    said = lowrank(*words, "--no-verify", "--json")
    assert said.code == 0, said.json
    gguf, adapter = said.json["exports"]
    file = tmp_path / "out" / "gguf" / "words-F16.gguf"
    assert (gguf["kind"], gguf["path"], gguf["exit_code"]) == ("gguf", str(file), 0)
    assert gguf["bytes"] == file.stat().st_size
    assert file.read_bytes()[:4] == b"GGUF"
    assert Path(adapter["path"]) == tmp_path / "out" / "adapter"
    assert not list(jobs_dir().iterdir())
    before = file.stat().st_mtime_ns
    again = lowrank(*words, "--json")
    assert again.code == 2
    assert again.paths == {"--to"}
    assert file.stat().st_mtime_ns == before


@pytest.mark.torch
def test_another_adapter_is_mixed_in(lowrank: LowRank, run: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    other = write_adapter(tmp_path / "other")
    call = ("export", "words", "--no-verify", "--kind", "merged")
    assert lowrank(*call, "--to", tmp_path / "alone").code == 0
    mixed = lowrank(*call, "--with", f"{other}=0.25", "--weight", "0.75", "--to", tmp_path / "mixed")
    assert mixed.code == 0, mixed.err
    alone, both = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "mixed"))
    assert alone["model.layers.0.self_attn.q_proj.weight"].abs().max() > 0
    for name, tensor in alone.items():
        torch.testing.assert_close(both[name], tensor, atol=1e-6, rtol=1e-5)
    assert not list(jobs_dir().iterdir()), "the combined adapter goes away"


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (("--kind", "merged", "--precision", "q8_0"), {"--precision"}),
        (("--kind", "gguf", "--precision", "q7_0"), {"--precision"}),
        (("--kind", "gguf", "--repo", "me/words", "--public"), {"--repo", "--public"}),
        (("--kind", "merged", "--with", "other=much"), {"--with"}),
    ],
)
def test_options_that_cannot_be(lowrank: LowRank, run: Path, words: tuple[str, ...], paths: set[str]) -> None:
    said = lowrank("export", "words", *words, "--json")
    assert said.code == 2
    assert said.paths == paths


def test_the_hub_is_refused_before_anything_is_written(
    lowrank: LowRank, run: Path, lowrank_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.export.objections.token_text", lambda: "")
    said = lowrank("export", "words", "--kind", "hub", "--json")
    assert said.code != 0
    assert {"--repo", "token"} <= said.paths
    assert not (lowrank_home / "exports").exists()


def test_one_kind_that_cannot_be_stops_all(lowrank: LowRank, run: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "gguf_adapter").mkdir(parents=True)
    (tmp_path / "out" / "gguf_adapter" / "words-lora-F16.gguf").touch()
    said = lowrank("export", "words", "--kind", "adapter", "--kind", "gguf_adapter", "--to", tmp_path / "out", "--json")
    assert said.code == 2
    assert not (tmp_path / "out" / "adapter").exists()
