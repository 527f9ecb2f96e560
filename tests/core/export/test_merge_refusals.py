"""What a merge refuses, in which words, and that nothing is left behind by one that did not end well."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.data.tokenizer import Tokenizer
from core.errors import UserError
from core.export.merge import MergeCancelledError, merge_adapter
from core.facts.model_files import read_model
from tests.core.data.small_tokenizers import write_tokenizer
from tests.core.export.tiny_models import Tuned, load, make_base, tune

pytestmark = pytest.mark.torch
Copy = Callable[[Path], Path]


def refusal(base: Path, adapter: Path, target: Path) -> str:
    """The words of a refused merge; nothing may be left beside the target."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(UserError) as caught:
        merge_adapter(base, adapter, target)
    assert sorted(target.parent.iterdir()) == before
    for problem in caught.value.problems:
        assert problem.message.endswith((".", "!")), problem
        assert problem.advice.endswith("."), problem
    return str(caught.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_another_base_is_named_by_its_shapes(llama: Tuned, tmp_path: Path) -> None:
    import transformers

    from tests.core.export.tiny_models import SIZES

    config = transformers.LlamaConfig(**(SIZES | {"hidden_size": 16, "num_hidden_layers": 1}))
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "small")
    words = refusal(tmp_path / "small", llama.adapter, tmp_path / "merged")
    assert "7 of the adapter's 14 parts have no place in this base model: model.layers.1" in words
    assert "7 of the adapter's 14 parts have another shape" in words
    assert "model.layers.0.mlp.down_proj.weight (adapter 32×48, base 16×48)" in words
    assert "It says it was trained on “base”." in words


def test_another_family_has_no_place_for_it(llama: Tuned, tmp_path: Path) -> None:
    words = refusal(make_base(tmp_path / "gpt2", "gpt2"), llama.adapter, tmp_path / "merged")
    assert "14 of the adapter's 14 parts have no place" in words
    assert "and 10 more" in words


def test_the_fingerprint_tells_twins_apart(llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    adapter, base = copy_of(llama.adapter), copy_of(llama.base)
    manifest = {"base_path": "/elsewhere/right-one", "base_fingerprint": read_model(llama.base).fingerprint}
    (adapter / "lowrank.json").write_text(json.dumps(manifest))
    merge_adapter(base, adapter, tmp_path / "first")
    edit(base / "config.json", rms_norm_eps=0.5)
    words = refusal(base, adapter, tmp_path / "merged")
    assert "not the base model that the adapter was trained on, which was “right-one”" in words


def test_the_target_must_be_new(llama: Tuned, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("dear")
    assert "is not empty, and nothing is ever overwritten" in refusal(llama.base, llama.adapter, full)
    assert [path.name for path in full.iterdir()] == ["letter.txt"]
    assert "needs a folder, and this is a file" in refusal(llama.base, llama.adapter, full / "letter.txt")
    (tmp_path / "empty").mkdir()
    merge_adapter(llama.base, llama.adapter, tmp_path / "empty")
    merge_adapter(llama.base, llama.adapter, tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep" / "model.safetensors").is_file()


def test_too_small_a_disk_is_found_before_the_first_byte(
    llama: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=2**40, used=0, free=1_000_000))
    words = refusal(llama.base, llama.adapter, tmp_path / "merged")
    assert "only 977 KiB are free" in words
    assert "another disk" in words


def test_a_disk_that_fills_up_leaves_nothing(llama: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.export.merge.write_files", full)
    with pytest.raises(OSError, match="No space left"):
        merge_adapter(llama.base, llama.adapter, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_cancelling_leaves_nothing(llama: Tuned, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(MergeCancelledError):
        merge_adapter(
            llama.base,
            llama.adapter,
            tmp_path / "merged",
            on_progress=lambda done, total: seen.append((done, total)),
            cancelled=lambda: len(seen) == 3,
        )
    assert len(seen) == 3
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_whole(llama: Tuned, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = merge_adapter(
        llama.base, llama.adapter, tmp_path / "merged", on_progress=lambda done, total: seen.append((done, total))
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] < report.bytes
    assert report.modules == 14
    assert report.seconds > 0


def test_every_reason_comes_at_once(llama: Tuned, tmp_path: Path) -> None:
    (tmp_path / "full" / "x").mkdir(parents=True)
    words = refusal(tmp_path / "no-base", tmp_path / "no-adapter", tmp_path / "full")
    assert "is not empty" in words
    assert "There is no such adapter folder" in words
    assert "There is no such base model folder" in words


def test_quantized_bases_are_refused(llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    base = copy_of(llama.base)
    edit(base / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert "already quantized (bitsandbytes)" in refusal(base, llama.adapter, tmp_path / "merged")
    edit(base / "config.json", quantization_config=None)
    name = "model.layers.0.mlp.up_proj.weight"
    import torch

    edit_tensors(base / "model.safetensors", lambda tensors: tensors.update({name: tensors[name].to(torch.uint8)}))
    words = refusal(base, llama.adapter, tmp_path / "merged")
    assert f"1 of the adapter's 14 parts belong to quantized weights: {name} (U8)" in words


def test_broken_bases_are_refused(llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    base = copy_of(llama.base)
    weights = base / "model.safetensors"
    assert "is a single file" in refusal(weights, llama.adapter, tmp_path / "merged")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert "cut off" in refusal(base, llama.adapter, tmp_path / "merged")
    weights.rename(base / "pytorch_model.bin")
    assert "The weights are pickled (pytorch_model.bin)" in refusal(base, llama.adapter, tmp_path / "merged")
    (base / "pytorch_model.bin").unlink()
    assert "holds no weights" in refusal(base, llama.adapter, tmp_path / "merged")
    (base / "config.json").unlink()
    assert "is no model: it has no config.json" in refusal(base, llama.adapter, tmp_path / "merged")


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "other method": ({"peft_type": "LOHA"}, "adapter of the kind “LOHA”"),
    "biases": ({"bias": "lora_only"}, "trains the base's biases (bias is “lora_only”)"),
    "pissa": ({"init_lora_weights": "pissa_niter_4"}, "started with “pissa_niter_4”"),
    "activated": ({"alora_invocation_tokens": [1, 2]}, "works on some tokens only"),
    "experts": ({"target_parameters": ["w1"]}, "bare parameters"),
    "rank": ({"r": 3}, "has rank 4 in A and 4 in B, but the settings say 3"),
    "no rank": ({"r": None, "lora_alpha": "much"}, "“lora_alpha” is 'much'; it must be a number."),
    "pattern": ({"rank_pattern": {"(": 3}}, "not a regular expression"),
    "pattern value": ({"alpha_pattern": {"x": -1}}, "numbers above 0"),
    "dora": ({"use_dora": True}, "no magnitudes although the settings say DoRA"),
    "saved": ({"modules_to_save": ["lm_head"]}, "say that “lm_head” was trained in full"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_adapters_that_cannot_be_merged_exactly(case: str, llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    changes, expected = SETTINGS[case]
    adapter = copy_of(llama.adapter)
    edit(adapter / "adapter_config.json", **changes)
    assert expected in refusal(llama.base, adapter, tmp_path / "merged")


def test_broken_adapters_are_refused(llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    import torch

    adapter = copy_of(llama.adapter)
    weights = adapter / "adapter_model.safetensors"
    key = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
    edit_tensors(weights, lambda tensors: tensors.pop(key))
    assert "“model.layers.0.mlp.up_proj” has no A matrix" in refusal(llama.base, adapter, tmp_path / "merged")
    edit_tensors(weights, lambda tensors: tensors.update({key: torch.full((4, 32), float("nan"))}))
    assert "is not a number in places" in refusal(llama.base, adapter, tmp_path / "merged")
    edit_tensors(weights, lambda tensors: tensors.update({key: torch.ones(4, 32, 3)}))
    assert "only linear layers" in refusal(llama.base, adapter, tmp_path / "merged")
    extra = {key: torch.ones(4, 32), "base_model.model.x.lora_embedding_A": torch.ones(2), "x.lora_what": torch.ones(1)}
    edit_tensors(weights, lambda tensors: tensors.update(extra))
    words = refusal(llama.base, adapter, tmp_path / "merged")
    assert "token embeddings by low rank" in words
    assert "of an unknown kind, such as “x.lora_what”" in words
    weights.rename(adapter / "adapter_model.bin")
    assert "adapter's weights are pickled" in refusal(llama.base, adapter, tmp_path / "merged")
    (adapter / "adapter_model.bin").unlink()
    assert "adapter_model.safetensors is missing" in refusal(llama.base, adapter, tmp_path / "merged")
    (adapter / "adapter_config.json").write_text("{")
    assert "not valid JSON" in refusal(llama.base, adapter, tmp_path / "merged")
    (adapter / "adapter_config.json").unlink()
    assert "is no adapter" in refusal(llama.base, adapter, tmp_path / "merged")


def test_numbers_that_do_not_fit_the_format_are_refused(tmp_path: Path) -> None:
    tuned = tune(make_base(tmp_path / "base", dtype="float16"), tmp_path / "adapter", lora_alpha=10_000_000)
    words = refusal(tuned.base, tuned.adapter, tmp_path / "merged")
    assert "too large for the base's format F16" in words


def test_a_grown_vocabulary_is_refused(tmp_path: Path) -> None:
    tuned = tune(make_base(tmp_path / "base"), tmp_path / "adapter", modules_to_save=["embed_tokens", "lm_head"])
    import torch

    names = ["base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"]
    edit_tensors(
        tuned.adapter / "adapter_model.safetensors", lambda all_: all_.update({n: torch.ones(70, 32) for n in names})
    )
    words = refusal(tuned.base, tuned.adapter, tmp_path / "merged")
    assert "model.embed_tokens.weight (adapter 70×32, base 64×32)" in words


def test_companions_come_along_and_the_adapters_win(llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    base, adapter = copy_of(llama.base), copy_of(llama.adapter)
    (base / "tokenizer.json").write_text("{}")
    (base / "tokenizer_config.json").write_text('{"chat_template": "base"}')
    (base / "LICENSE.txt").write_text("free")
    (base / "model.gguf").write_text("other")
    (base / "modeling_own.py").write_text("raise SystemExit")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "tool.jinja").write_text("tool")
    (adapter / "chat_template.jinja").write_text("adapter")
    edit(base / "config.json", quantization_config={}, _name_or_path="/home/me/base")
    merge_adapter(base, adapter, tmp_path / "merged")
    names = {path.relative_to(tmp_path / "merged").as_posix() for path in (tmp_path / "merged").rglob("*.*")}
    assert names == {
        "LICENSE.txt",
        "README.md",
        "additional_chat_templates/tool.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (tmp_path / "merged" / "chat_template.jinja").read_text() == "adapter"
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert "quantization_config" not in config
    assert "_name_or_path" not in config
    card = (tmp_path / "merged" / "README.md").read_text()
    assert 'base_model: "copy-of-base"\n' in card
    assert "apply_chat_template" in card
    load(tmp_path / "merged")


def test_a_tokenizer_that_has_changed_since_the_training_is_named(llama: Tuned, tmp_path: Path, copy_of: Copy) -> None:
    adapter, base = copy_of(llama.adapter), write_tokenizer(copy_of(llama.base))
    fingerprints = {
        "base_fingerprint": read_model(base).fingerprint,
        "tokenizer_fingerprint": Tokenizer.load(base).fingerprint,
    }
    (adapter / "lowrank.json").write_text(json.dumps({"base_path": "/elsewhere/right-one", **fingerprints}))
    merge_adapter(base, adapter, tmp_path / "first")
    kept = (base / "tokenizer.json").read_text()
    edit(base / "tokenizer_config.json", eos_token="<|endoftext|>")
    words = refusal(base, adapter, tmp_path / "merged")
    assert "is not the one of the training: texts would become other tokens" in words
    assert "Put the tokenizer files of “right-one” back" in words
    (base / "tokenizer.json").unlink()
    assert "no tokenizer.json" in refusal(base, adapter, tmp_path / "merged")
    (adapter / "tokenizer.json").write_text(kept)
    merge_adapter(base, adapter, tmp_path / "merged")


def test_a_base_that_is_half_downloaded_says_which_file_is_missing_or_cut_off(llama: Tuned, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", shard="20KB")
    shard = sorted(base.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:1000])
    assert "The file is cut off: 1,000 of" in refusal(base, llama.adapter, tmp_path / "merged")
    shard.unlink()
    words = refusal(base, llama.adapter, tmp_path / "merged")
    assert f"weight files is missing: {shard.name}. Download the model again" in words
