"""Exports that are right pass; each planted fault is caught, by the check that is meant for it."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.cli.verbs.verify import kind_of
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
    assert found.passed == (not found.failed) == (found.verdict == "passed")
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


def damages(whole: bytes) -> dict[str, bytes]:
    """A GGUF file as accidents leave it."""
    tokens = whole.index(b"tokenizer.ggml.tokens")
    many = (1 << 40).to_bytes(8, "little")
    return {
        "empty": b"",
        "ends in the first number": whole[:6],
        "ends in a setting": whole[: tokens + 40],
        "ends in its table of tensors": whole[: whole.index(b"blk.1.")],
        "ends in its tensors": whole[: len(whole) // 2],
        "lacks its last byte": whole[:-1],
        "random bytes": random.Random(5).randbytes(20_000),
        "random behind the magic": whole[:8] + random.Random(6).randbytes(20_000),
        "claims a trillion tokens": whole[: tokens + 29] + many + whole[tokens + 37 :],
        "another kind of file": b"PK\x03\x04" + whole[4:],
    }


@pytest.mark.parametrize("kind", ["gguf", "gguf_adapter"])
def test_a_damaged_gguf_file_fails_to_open_and_the_report_says_why(llama: Tuned, tmp_path: Path, kind: str) -> None:
    if kind == "gguf":
        whole = write_gguf(llama.base, llama.adapter, tmp_path / "whole.gguf", "f16").path.read_bytes()
    else:
        whole = write_gguf_adapter(llama.base, llama.adapter, tmp_path / "whole.gguf").path.read_bytes()
        whole = whole.replace(b"general.base_model.0.name", b"tokenizer.ggml.tokens....")
    for damage, blob in damages(whole).items():
        file = tmp_path / "damaged.gguf"
        file.write_bytes(blob)
        assert failures(file, kind, llama) == {"opens"}, damage
        found = read_verification(file)
        assert found is not None
        assert found.verdict == "failed"
        assert "file is" in found.checks[0].words or "GGUF file cannot" in found.checks[0].words, damage
        assert "Read by" not in report_text(found)
        assert kind_of(file) in ("gguf", "gguf_adapter")


@pytest.mark.usefixtures("without_llama")
def test_an_adapter_file_is_compared_without_a_llama_cpp_too(tuned: Tuned, tmp_path: Path) -> None:
    for precision in ("f16", "f32"):
        file = write_gguf_adapter(tuned.base, tuned.adapter, tmp_path / f"{precision}.gguf", precision=precision).path
        assert failures(file, "gguf_adapter", tuned) == set()
        found = read_verification(file)
        assert found is not None
        assert [check.name for check in found.checks] == ["changes"]
        assert "nobody here could ask it" in report_text(found)
        assert any("no llama.cpp" in note for note in found.notes)
    twice = Path(shutil.copytree(tuned.adapter, tmp_path / "twice"))
    change_json(twice / "adapter_config.json", lora_alpha=12)
    file = write_gguf_adapter(tuned.base, twice, tmp_path / "twice.gguf").path
    assert failures(file, "gguf_adapter", tuned) == {"changes"}
    found = read_verification(file)
    assert found is not None
    assert found.checks[0].measured == "200% instead of 100%"
    change_json(twice / "adapter_config.json", lora_alpha=6)
    leave_out_a_module(twice)
    file = write_gguf_adapter(tuned.base, twice, tmp_path / "less.gguf").path
    assert failures(file, "gguf_adapter", tuned) == {"changes"}


def leave_out_a_module(adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    factors = load_file(adapter / "adapter_model.safetensors")
    name = min(factors).rsplit(".lora_", 1)[0]
    kept = {key: tensor for key, tensor in factors.items() if not key.startswith(f"{name}.")}
    assert len(kept) == len(factors) - 2
    save_file(kept, adapter / "adapter_model.safetensors")


@pytest.mark.usefixtures("without_llama")
def test_what_nobody_could_look_at_is_not_called_right(
    llama: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: Any, **options: Any) -> Any:
        if "gguf_file" in options:
            raise ValueError("GGUF model with architecture llama is not supported yet.")
        return real(*_, **options)

    import transformers

    real = transformers.AutoModelForCausalLM.from_pretrained
    file = write_gguf(llama.base, None, tmp_path / "model.gguf", "f16").path
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", cannot)
    found = verify(file, "gguf", llama.base, None)
    assert (found.verdict, found.passed, found.failed) == ("not_compared", False, ())
    assert report_text(found).startswith("Not compared: ")
    assert json.loads(report_path(file).read_text("utf-8"))["verdict"] == "not_compared"


def test_models_that_do_not_fit_into_memory_are_not_asked(
    llama: Tuned, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.export.verification.verify.free_memory", lambda: 1000)
    found = verify(merged, "merged", llama.base, llama.adapter)
    assert [check.name for check in found.checks] == ["template", "special_tokens", "tokenizer", "changes"]
    assert found.verdict == "passed"
    assert "nobody here could ask it" in report_text(found)
    assert "1000 B are" in found.notes[-1]


# --- what cannot be verified


def test_what_is_not_there_is_said_and_a_cancelled_one_leaves_no_report(llama: Tuned, merged: Path) -> None:
    with pytest.raises(UserError, match="no such export"):
        verify(merged / "nothing", "merged", llama.base, llama.adapter)
    with pytest.raises(UserError, match="not verified"):
        verify(merged, "hub", llama.base, llama.adapter)
    with pytest.raises(UserError, match="no GGUF file"):
        verify(merged, "ollama", llama.base, llama.adapter)
    half = Path(shutil.copytree(llama.base, merged.parent / "half"))
    (half / "model.safetensors").write_bytes((half / "model.safetensors").read_bytes()[:-9000])
    with pytest.raises(UserError, match="cut off") as caught:
        verify(merged, "merged", half, llama.adapter)
    assert caught.value.problems[0].path == str(half / "model.safetensors"), "the export is not to blame"
    with pytest.raises(VerificationCancelledError):
        verify(merged, "merged", llama.base, llama.adapter, cancelled=lambda: True)
    assert read_verification(merged) is None
