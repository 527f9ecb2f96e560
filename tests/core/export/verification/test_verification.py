"""Exports that are right pass; each planted fault is caught, by the check that is meant for it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.export.gguf import write_gguf, write_gguf_adapter
from core.export.merge import merge_adapter
from core.export.verification import read_verification, report_path, report_text
from core.export.verification.verify import VerificationCancelledError, verify
from tests.core.export.gguf.llama_models import Tuned, llama_library, make_model, tune

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module", params=["llama", "phi3", "gpt2"])
def tuned(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("verified")
    return tune(make_model(folder / "base", request.param), folder / "adapter")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("faults")
    return tune(make_model(folder / "base", "llama"), folder / "adapter")


@pytest.fixture
def merged(llama: Tuned, tmp_path: Path) -> Path:
    merge_adapter(llama.base, llama.adapter, tmp_path / "merged")
    return tmp_path / "merged"


@pytest.fixture
def with_llama(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.export.verification.verify.find_runtime", llama_library)


@pytest.fixture
def without_llama(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.export.verification.verify.find_runtime", lambda: None)


def failures(export: Path, kind: str, tuned: Tuned) -> set[str]:
    found = verify(export, kind, tuned.base, tuned.adapter)
    assert found == read_verification(export)
    assert found.passed == (not found.failed)
    assert ("FAILED" in report_text(found)) == (not found.passed)
    return {check.name for check in found.failed}


def change_tensors(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def change_json(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")


# --- what is right passes


def test_a_right_merge_and_its_adapter_pass(tuned: Tuned, tmp_path: Path) -> None:
    merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert failures(tmp_path / "merged", "merged", tuned) == set()
    found = read_verification(tmp_path / "merged")
    assert found is not None
    assert [check.name for check in found.checks] == [
        "template", "special_tokens", "tokenizer", "changes", "answers", "logits", "greedy",
    ]  # fmt: skip
    assert found.precision == "f32"
    shutil.copytree(tuned.adapter, tmp_path / "adapter")
    assert failures(tmp_path / "adapter", "adapter", tuned) == set()


@pytest.mark.usefixtures("with_llama")
def test_right_gguf_files_pass_in_a_real_llama_cpp(tuned: Tuned, tmp_path: Path) -> None:
    for precision in ("f32", "q8_0"):
        file = write_gguf(tuned.base, tuned.adapter, tmp_path / f"{precision}.gguf", precision).path
        assert failures(file, "gguf", tuned) == set(), precision
        found = read_verification(file)
        assert found is not None
        assert (found.read_by, found.precision) == ("llama.cpp", precision)
    file = write_gguf_adapter(tuned.base, tuned.adapter, tmp_path / "lora.gguf").path
    assert failures(file, "gguf_adapter", tuned) == set()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(), "the base's file is gone again"


@pytest.mark.usefixtures("without_llama")
def test_without_a_llama_cpp_the_file_is_read_by_another_program_and_that_is_said(llama: Tuned, tmp_path: Path) -> None:
    file = write_gguf(llama.base, llama.adapter, tmp_path / "model.gguf", "q8_0").path
    assert failures(file, "gguf", llama) == set()
    found = read_verification(file)
    assert found is not None
    assert found.read_by != "llama.cpp"
    assert any("no llama.cpp" in note for note in found.notes)
    assert report_path(file).name == "model.gguf.verification.json"


# --- planted faults


def test_a_wrong_template_is_caught(llama: Tuned, merged: Path, tmp_path: Path) -> None:
    change_json(merged / "tokenizer_config.json", chat_template="{{ messages[0].content }}")
    assert failures(merged, "merged", llama) == {"template"}
    other = shutil.copytree(llama.base, tmp_path / "other")
    change_json(other / "tokenizer_config.json", chat_template="{{ 'x' }}")
    file = write_gguf(other, None, tmp_path / "a.gguf", "f32").path
    assert "template" in failures(file, "gguf", llama)


@pytest.mark.usefixtures("with_llama")
def test_a_wrong_end_token_is_caught(llama: Tuned, merged: Path, tmp_path: Path) -> None:
    change_json(merged / "tokenizer_config.json", eos_token="<unk>")
    change_json(merged / "config.json", eos_token_id=0)
    change_json(merged / "generation_config.json", eos_token_id=0)
    assert failures(merged, "merged", llama) == {"special_tokens"}
    other = shutil.copytree(llama.base, tmp_path / "other")
    change_json(other / "tokenizer_config.json", eos_token="<unk>")
    file = write_gguf(other, llama.adapter, tmp_path / "a.gguf", "f32").path
    assert failures(file, "gguf", llama) == {"special_tokens"}


def test_a_layer_that_was_not_merged_is_caught_and_named(llama: Tuned, merged: Path) -> None:
    from safetensors.torch import load_file

    name = "model.layers.2.mlp.down_proj"
    plain = load_file(llama.base / "model.safetensors")[f"{name}.weight"]
    change_tensors(merged, lambda tensors: tensors.update({f"{name}.weight": plain}))
    found = verify(merged, "merged", llama.base, llama.adapter)
    failed = {check.name: check for check in found.failed}
    assert "changes" in failed
    assert name in failed["changes"].words
    assert failed["changes"].measured == "0% instead of 100%"


def test_a_wrong_scaling_is_caught_even_where_it_hardly_changes_answers(llama: Tuned, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weak = Path(shutil.copytree(llama.adapter, tmp_path / "weak"))
    factors = load_file(weak / "adapter_model.safetensors")
    fainter = {name: tensor * (1e-4 if "lora_B" in name else 1) for name, tensor in factors.items()}
    save_file(fainter, weak / "adapter_model.safetensors")
    twice = Path(shutil.copytree(weak, tmp_path / "twice"))
    change_json(twice / "adapter_config.json", lora_alpha=12)
    merge_adapter(llama.base, twice, tmp_path / "merged")
    faint = Tuned(llama.base, weak, llama.ids, llama.logits)
    assert failures(tmp_path / "merged", "merged", faint) == {"changes"}
    for precision in ("f32", "f16"):
        file = write_gguf(llama.base, twice, tmp_path / f"{precision}.gguf", precision).path
        assert "changes" in failures(file, "gguf", faint), precision


def test_swapped_halves_of_a_fused_projection_are_caught(tmp_path: Path) -> None:
    fused = tune(make_model(tmp_path / "base", "phi3"), tmp_path / "adapter")
    merge_adapter(fused.base, fused.adapter, tmp_path / "merged")

    def swap(tensors: dict[str, Any]) -> None:
        name = "model.layers.1.mlp.gate_up_proj.weight"
        gate, up = tensors[name].chunk(2)
        tensors[name] = __import__("torch").cat([up, gate])

    change_tensors(tmp_path / "merged", swap)
    assert {"changes", "answers"} <= failures(tmp_path / "merged", "merged", fused)


def test_a_tokenizer_that_changed_and_a_file_that_is_cut_short_are_caught(llama: Tuned, merged: Path) -> None:
    path = merged / "tokenizer.json"
    settings = json.loads(path.read_text("utf-8"))
    settings["model"]["merges"] = settings["model"]["merges"][:5]
    path.write_text(json.dumps(settings), "utf-8")
    assert failures(merged, "merged", llama) == {"tokenizer"}
    weights = merged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])
    assert failures(merged, "merged", llama) == {"tokenizer", "changes", "opens"}


# --- what cannot be verified


def test_what_is_not_there_is_said_and_a_cancelled_one_leaves_no_report(llama: Tuned, merged: Path) -> None:
    with pytest.raises(UserError, match="no such export"):
        verify(merged / "nothing", "merged", llama.base, llama.adapter)
    with pytest.raises(UserError, match="not verified"):
        verify(merged, "hub", llama.base, llama.adapter)
    with pytest.raises(UserError, match="no GGUF file"):
        verify(merged, "ollama", llama.base, llama.adapter)
    with pytest.raises(VerificationCancelledError):
        verify(merged, "merged", llama.base, llama.adapter, cancelled=lambda: True)
    assert read_verification(merged) is None
