"""What cannot be written as GGUF is refused with the reason before a byte is written, and nothing is left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.export.gguf import (
    PRECISIONS,
    available_precisions,
    estimate_bytes,
    gguf_adapter_problems,
    gguf_problems,
    write_gguf,
    write_gguf_adapter,
)
from core.export.gguf.preparing import name_for
from core.export.gguf.quantize import VARIABLE
from core.export.merge import MergeCancelledError
from core.facts.model_files import read_model
from tests.core.export.gguf.llama_models import Tuned, make_model, tune

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("refusals")
    return tune(make_model(folder / "base", "llama"), folder / "adapter")


@pytest.fixture
def base(made: Tuned, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.base, tmp_path / "base"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where exports go: whatever a test leaves here was left behind."""
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        work()
    assert all(problem.advice for problem in caught.value.problems)
    return " ".join(problem.message for problem in caught.value.problems)


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")


def test_a_family_that_llama_cpp_is_not_told_of_is_named(base: Path, place: Path) -> None:
    change(base / "config.json", model_type="mamba")
    assert "this model is a “mamba”" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    change(base / "config.json", model_type="llama", rope_parameters={"rope_type": "dynamic", "factor": 2.0})
    assert "of the kind “dynamic”" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert gguf_problems(base)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["rms_norm_eps", "vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"]
)
def test_a_setting_that_is_missing_is_named_before_anything_is_written(
    name: str, made: Tuned, base: Path, place: Path
) -> None:
    settings = json.loads((base / "config.json").read_text("utf-8"))
    del settings[name]
    (base / "config.json").write_text(json.dumps(settings), "utf-8")
    problems = gguf_problems(base, made.adapter)
    assert [f"no “{name}”" in problem.message for problem in problems] == [True]
    assert f"no “{name}”" in refused(lambda: write_gguf(base, made.adapter, place / "a.gguf", "f16"))
    assert f"no “{name}”" in refused(lambda: write_gguf_adapter(base, made.adapter, place / "b.gguf"))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
def test_positions_that_are_half_described_are_refused(kind: str, base: Path, place: Path) -> None:
    change(base / "config.json", rope_parameters={"rope_type": kind, "rope_theta": 10_000.0})
    assert "no “factor” of its positions" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert list(place.iterdir()) == []


def test_a_tokenizer_that_is_missing_or_splits_unlike_any_known_is_refused(base: Path, place: Path) -> None:
    tokenizer = base / "tokenizer.json"
    change(tokenizer, pre_tokenizer={"type": "Whitespace"})
    message = refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert "splits text in a way that llama.cpp is not known to have" in message
    change(tokenizer, model={"type": "Unigram", "vocab": []})
    assert "of the kind Unigram" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    tokenizer.unlink()
    assert "no tokenizer.json" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert list(place.iterdir()) == []


def test_nothing_is_overwritten_and_all_reasons_come_at_once(made: Tuned, place: Path, base: Path) -> None:
    taken = place / "taken.gguf"
    taken.write_text("mine")
    change(base / "config.json", model_type="mamba")
    message = refused(lambda: write_gguf(base, None, taken, "f16"))
    assert "already exists" in message
    assert "mamba" in message
    assert "ends with “.gguf”" in refused(lambda: write_gguf(made.base, None, place / "model.bin", "f16"))
    assert "no GGUF precision “q9”" in refused(lambda: write_gguf(made.base, None, place / "a.gguf", "q9"))
    assert taken.read_text() == "mine"
    assert list(place.iterdir()) == [taken]


def test_an_adapter_of_another_base_and_a_file_that_is_cut_short_are_named(
    made: Tuned, base: Path, place: Path, tmp_path: Path
) -> None:
    other = make_model(tmp_path / "other", "qwen3")
    assert "have another shape" in refused(lambda: write_gguf(other, made.adapter, place / "a.gguf", "f16"))
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused(lambda: write_gguf(base, made.adapter, place / "a.gguf", "f16"))
    assert list(place.iterdir()) == []


def test_a_twin_of_the_base_and_a_tokenizer_that_changed_are_told_apart(
    made: Tuned, base: Path, place: Path, tmp_path: Path
) -> None:
    adapter = Path(shutil.copytree(made.adapter, tmp_path / "adapter"))
    told = {"base_path": "/elsewhere/right-one", "base_fingerprint": read_model(made.base).fingerprint}
    (adapter / "lowrank.json").write_text(json.dumps(told), "utf-8")
    assert gguf_problems(base, adapter) == ()
    change(base / "config.json", rms_norm_eps=0.5)
    twin = [
        refused(lambda: write_gguf(base, adapter, place / "a.gguf", "f16")),
        refused(lambda: write_gguf_adapter(base, adapter, place / "b.gguf")),
    ]
    assert all("was “right-one”" in words for words in twin)
    told = {"base_path": "right-one", "base_fingerprint": read_model(base).fingerprint, "tokenizer_fingerprint": "old"}
    (adapter / "lowrank.json").write_text(json.dumps(told), "utf-8")
    other = [
        refused(lambda: write_gguf(base, adapter, place / "a.gguf", "f16")),
        refused(lambda: write_gguf_adapter(base, adapter, place / "b.gguf")),
    ]
    assert all("would become other tokens" in words for words in other)
    assert list(place.iterdir()) == []


def test_a_full_disk_is_seen_before_anything_is_written(
    made: Tuned, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = estimate_bytes(made.base, "f32", made.adapter)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(needed, 0, needed - 1))  # type: ignore[attr-defined]
    assert "are free here" in refused(lambda: write_gguf(made.base, made.adapter, place / "a.gguf", "f32"))
    assert list(place.iterdir()) == []


def test_the_estimate_is_what_the_file_takes(made: Tuned, place: Path) -> None:
    for precision in ("f32", "f16", "q8_0", "q4_0"):
        report = write_gguf(made.base, made.adapter, place / f"{precision}.gguf", precision)
        told: list[tuple[int, int]] = []
        assert 0 <= estimate_bytes(made.base, precision, made.adapter) - report.bytes < 100_000
        assert told == []


def test_a_cancelled_export_leaves_nothing_behind(made: Tuned, place: Path) -> None:
    seen: list[int] = []
    with pytest.raises(MergeCancelledError):
        write_gguf(
            made.base,
            made.adapter,
            place / "a.gguf",
            "f16",
            on_progress=lambda done, _: seen.append(done),
            cancelled=lambda: len(seen) > 5,
        )
    assert len(seen) == 6
    with pytest.raises(MergeCancelledError):
        write_gguf_adapter(made.base, made.adapter, place / "b.gguf", cancelled=lambda: True)
    assert list(place.iterdir()) == []


def test_progress_is_told_in_bytes_up_to_all(made: Tuned, place: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_gguf(made.base, made.adapter, place / "a.gguf", "q8_0", on_progress=lambda *told: seen.append(told))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


def test_numbers_that_are_none_or_too_large_are_refused(base: Path, place: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = base / "model.safetensors"
    tensors = load_file(weights)
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][0, 0] = 70_000.0
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "too large for F16" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert write_gguf(base, None, place / "b.gguf", "q8_0").bytes > 0
    (place / "b.gguf").unlink()
    tensors[name][0, 0] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "is not a number" in refused(lambda: write_gguf(base, None, place / "a.gguf", "q8_0"))
    assert list(place.iterdir()) == []


def test_what_llama_cpp_alone_can_write_says_so_where_there_is_none(
    made: Tuned, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("core.export.gguf.quantize.find_spec", lambda _: None)
    message = refused(lambda: write_gguf(made.base, made.adapter, place / "a.gguf", "q4_k_m"))
    assert "Q4_K_M can be written by llama.cpp alone" in message
    found = {item.precision.name: item for item in available_precisions()}
    assert tuple(found) == PRECISIONS
    assert VARIABLE in found["q4_k_m"].reason
    assert found["q8_0"].possible
    assert not found["q8_0"].reason
    assert list(place.iterdir()) == []


def test_a_llama_cpp_that_fails_is_quoted_and_leaves_nothing(
    made: Tuned, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho loading; echo 'no such type' >&2; exit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program.parent))
    message = refused(lambda: write_gguf(made.base, made.adapter, place / "a.gguf", "q4_k_m"))
    assert "could not write Q4_K_M: no such type" in message
    assert list(place.iterdir()) == []


def test_adapters_that_llama_cpp_does_not_know_are_refused(made: Tuned, place: Path, tmp_path: Path) -> None:
    dora = tune(made.base, tmp_path / "dora", use_dora=True)
    assert "DoRA" in refused(lambda: write_gguf_adapter(dora.base, dora.adapter, place / "a.gguf"))
    full = tune(made.base, tmp_path / "full", target_modules=["q_proj"], modules_to_save=["lm_head"])
    problems = gguf_adapter_problems(full.base, full.adapter)
    assert "trained in full" in problems[0].message
    assert gguf_problems(full.base, full.adapter) == (), "the whole model can be written"
    message = refused(lambda: write_gguf_adapter(made.base, made.adapter, place / "a.gguf", precision="q8_0"))
    assert "F16 or F32" in message
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "changes texts before it splits them"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFKC"}]}}, "changes texts"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "splits text in a way"),
    ],
)
def test_a_tokenizer_that_changes_texts_as_llama_cpp_does_not_is_refused(
    part: dict[str, Any], reason: str, base: Path, place: Path
) -> None:
    change(base / "tokenizer.json", **part)
    assert reason in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "part",
    [
        {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
        {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
    ],
)
def test_a_sentencepiece_tokenizer_that_changes_texts_is_refused(
    part: dict[str, Any], tmp_path: Path, place: Path
) -> None:
    base = make_model(tmp_path / "scored", "mistral")
    change(base / "tokenizer.json", **part)
    assert "which llama.cpp does not" in refused(lambda: write_gguf(base, None, place / "a.gguf", "f16"))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "strips", "arch", "expected"),
    [
        ("tuned", True, "phi3", "tuned (Phi-3)"),
        ("My-phi3-mini", True, "phi3", "My-phi3-mini"),
        ("Phi-3-mini", False, "phi3", "Phi 3-mini"),
        ("dolPHI3", True, "llama", "dolPHI 3"),
        ("phi-4", False, "phi3", "phi-4"),
    ],
)
def test_the_name_says_phi_3_only_where_white_space_is_taken_as_there(
    name: str, strips: bool, arch: str, expected: str
) -> None:
    assert name_for(name, strips=strips, arch=arch) == expected
