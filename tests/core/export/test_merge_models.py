"""Merged models answer as base and adapter do together, for every family and variant that PEFT can make."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.export.merge import merge_adapter
from tests.core.export.tiny_models import Tuned, answer, load, make_base, tune

pytestmark = pytest.mark.torch

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2 with biases": ("qwen2", {}),
    "phi3, fused projections": ("phi3", {}),
    "gemma2": ("gemma2", {}),
    "opt": ("opt", {}),
    "gpt2, transposed": ("gpt2", {"fan_in_fan_out": True}),
    "gpt2 dora": ("gpt2", {"fan_in_fan_out": True, "use_dora": True}),
    "rslora": ("llama", {"use_rslora": True}),
    "dora": ("llama", {"use_dora": True}),
    "dora rslora": ("llama", {"use_dora": True, "use_rslora": True}),
    "some modules, some layers": ("llama", {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]}),
}


def difference(folder: Path, tuned: Tuned) -> float:
    return float((answer(load(folder)) - tuned.logits).abs().max())


@pytest.mark.parametrize("case", CASES)
def test_merged_models_answer_like_the_adapter(case: str, tmp_path: Path) -> None:
    family, settings = CASES[case]
    tuned = tune(make_base(tmp_path / "base", family), tmp_path / "adapter", **settings)
    merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert difference(tmp_path / "merged", tuned) < 1e-4
    assert float((answer(load(tuned.base)) - tuned.logits).abs().max()) > 0.05, "the adapter changes nothing"


def test_the_change_is_alpha_over_rank_times_b_times_a(llama: Tuned, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    merge_adapter(llama.base, llama.adapter, tmp_path / "merged")
    assert difference(tmp_path / "merged", llama) < 1e-4
    base, merged = load_file(llama.base / "model.safetensors"), load_file(tmp_path / "merged" / "model.safetensors")
    adapter = load_file(llama.adapter / "adapter_model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    a, b = (adapter[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    torch.testing.assert_close(merged[f"{name}.weight"], base[f"{name}.weight"] + 6 / 4 * (b @ a))
    kept = [key for key in base if "norm" in key or "embed" in key or "lm_head" in key]
    assert kept
    assert all(torch.equal(base[key], merged[key]) for key in kept)
    assert set(merged) == set(base)


def test_ranks_and_alphas_by_module_follow_pefts_patterns(tmp_path: Path) -> None:
    tuned = tune(
        make_base(tmp_path / "base"),
        tmp_path / "adapter",
        target_modules=["q_proj", "v_proj", "down_proj", "up_proj"],
        rank_pattern={"down_proj": 8, r"layers\.0\.self_attn\.q_proj": 2, r"^model\.layers\.1\.self_attn\.v_proj": 3},
        alpha_pattern={r".*\.up_proj": 20, "layers.1.self_attn.q_proj": 1.5, "oj": 99},
        use_rslora=True,
    )
    merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert difference(tmp_path / "merged", tuned) < 1e-4


def test_a_sharded_base_becomes_shards_again(tmp_path: Path) -> None:
    tuned = tune(make_base(tmp_path / "base", shard="20KB"), tmp_path / "adapter")
    assert len(list(tuned.base.glob("*.safetensors"))) > 2
    report = merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged", max_shard_bytes=30_000)
    assert difference(tmp_path / "merged", tuned) < 1e-4
    files = sorted(path.name for path in (tmp_path / "merged").glob("*.safetensors"))
    assert files == sorted(report.files)
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert all((tmp_path / "merged" / name).stat().st_size < 32_000 for name in files)
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)
    assert len(index["weight_map"]) == report.tensors
    one = merge_adapter(tuned.base, tuned.adapter, tmp_path / "one")
    assert one.files == ("model.safetensors",)
    assert difference(tmp_path / "one", tuned) < 1e-4


@pytest.mark.parametrize(("dtype", "words"), [("bfloat16", "BF16"), ("float16", "F16")])
def test_half_precision_is_kept_and_rounded_once(dtype: str, words: str, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file

    tuned = tune(make_base(tmp_path / "base", dtype=dtype), tmp_path / "adapter")
    report = merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert report.dtype == words
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        oracle = PeftModel.from_pretrained(load(tuned.base), tuned.adapter).merge_and_unload().state_dict()
    assert set(merged) == set(oracle)
    for name, tensor in merged.items():
        assert tensor.dtype == getattr(torch, dtype)
        # The two may fall on different sides of a rounding boundary, never further apart.
        torch.testing.assert_close(tensor, oracle[name].to(tensor.dtype), rtol=torch.finfo(tensor.dtype).eps, atol=1e-6)


def test_large_weights_are_merged_block_by_block(llama: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.export.deltas.BLOCK_ELEMENTS", 100)
    merge_adapter(llama.base, llama.adapter, tmp_path / "merged")
    assert difference(tmp_path / "merged", llama) < 1e-4
    tuned = tune(make_base(tmp_path / "base", "gpt2"), tmp_path / "adapter", fan_in_fan_out=True, use_dora=True)
    merge_adapter(tuned.base, tuned.adapter, tmp_path / "gpt2")
    assert difference(tmp_path / "gpt2", tuned) < 1e-4


@pytest.mark.parametrize("family", ["llama", "llama-tied", "gpt2"])
@pytest.mark.parametrize("part", ["head", "embedding", "both", "lora on the head"])
def test_embeddings_trained_in_full_or_by_low_rank(family: str, part: str, tmp_path: Path) -> None:
    embedding = "wte" if family == "gpt2" else "embed_tokens"
    targets = ["c_attn"] if family == "gpt2" else ["q_proj"]
    settings: dict[str, Any] = {
        "head": {"modules_to_save": ["lm_head"]},
        "embedding": {"modules_to_save": [embedding]},
        "both": {"modules_to_save": [embedding, "lm_head"]},
        "lora on the head": {"target_modules": [*targets, "lm_head"]},
    }[part]
    if family == "gpt2":
        settings["fan_in_fan_out"] = part != "lora on the head"
    tuned = tune(make_base(tmp_path / "base", family), tmp_path / "adapter", **({"target_modules": targets} | settings))
    report = merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert difference(tmp_path / "merged", tuned) < 1e-4
    assert report.untied is (family != "llama")
    assert len(report.replaced) == {"head": 1, "embedding": 1, "both": 2, "lora on the head": 0}[part]
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config.get("tie_word_embeddings", True) is False


def test_embeddings_trained_as_one_stay_one(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "llama-tied")
    tuned = tune(
        base,
        tmp_path / "adapter",
        target_modules=["q_proj"],
        modules_to_save=["embed_tokens"],
        ensure_weight_tying=True,
    )
    report = merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert report.untied is False
    assert difference(tmp_path / "merged", tuned) < 1e-4


def test_files_of_a_base_model_without_the_prefix(tmp_path: Path) -> None:
    """The GPT-2 of the hub names its tensors “h.0…”, the loaded model “transformer.h.0…”."""
    import safetensors.torch

    tuned = tune(make_base(tmp_path / "base", "gpt2"), tmp_path / "adapter", fan_in_fan_out=True)
    path = tuned.base / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(bare, path, metadata={"format": "pt"})
    merge_adapter(tuned.base, tuned.adapter, tmp_path / "merged")
    assert difference(tmp_path / "merged", tuned) < 1e-4


def test_a_four_bit_training_is_merged_into_the_whole_weights_and_said(
    llama: Tuned, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    import torch
    from safetensors.torch import load_file

    adapter = copy_of(llama.adapter)
    manifest = {"base_path": "/models/right", "base_fingerprint": "", "quantization": "nf4", "licence": "mit"}
    (adapter / "lowrank.json").write_text(json.dumps(manifest))
    (adapter / "README.md").write_text("---\n---\n\n# Mine\n\n## Data\n\nRows.\n\n## Use it\n\nSo.\n")
    (adapter / "spec.yaml").write_text("model: {base: right}\n")
    (adapter / "loss.png").write_bytes(b"PNG")
    report = merge_adapter(llama.base, adapter, tmp_path / "merged")
    assert report.notes == (
        "The adapter was trained on the base in 4 bits (NF4), and merged into the base's original weights.",
    )
    assert difference(tmp_path / "merged", llama) < 1e-4
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "trained with the base in 4 bits (NF4); it was merged into the base's original weights" in card
    assert "## Data\n\nRows." in card
    assert "So." not in card
    assert (tmp_path / "merged" / "spec.yaml").read_text() == "model: {base: right}\n"
    assert (tmp_path / "merged" / "loss.png").read_bytes() == b"PNG"
