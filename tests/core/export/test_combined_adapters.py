"""Several adapters as one: the weighted sum of their changes, exactly, or a refusal that says why not."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.export.adapter import read_manifest
from core.export.combine import combine_adapters
from core.export.merge import merge_adapter
from tests.core.export.tiny_models import SIZES, Tuned, answer, load, make_base, tune

pytestmark = pytest.mark.torch


def answered(base: Path, adapter: Path) -> Any:
    """What plain PEFT answers with an adapter."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return answer(PeftModel.from_pretrained(load(base), adapter))


def summed(base: Path, parts: list[tuple[Path, float]]) -> Any:
    """What the base answers when PEFT's own changes of each adapter are added to its weights, times their weights."""
    import torch
    from peft import PeftModel

    plain = {name: tensor.clone() for name, tensor in load(base).state_dict().items()}
    total = {name: tensor.clone() for name, tensor in plain.items()}
    for adapter, weight in parts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            merged = PeftModel.from_pretrained(load(base), adapter).merge_and_unload().state_dict()
        for name in total:
            total[name] += weight * (merged[name] - plain[name])
    model = load(base)
    with torch.no_grad():
        model.load_state_dict(total)
    return answer(model)


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_the_sum_is_exact_whatever_the_ranks_scalings_and_targets(family: str, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", family)
    few = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn"], "phi3": ["qkv_proj"]}[family]
    turned = {"fan_in_fan_out": True} if family == "gpt2" else {}
    one = tune(base, tmp_path / "one", r=4, lora_alpha=6, **turned).adapter
    two = tune(base, tmp_path / "two", r=3, lora_alpha=8, use_rslora=True, target_modules=few, **turned).adapter
    parts = [(one, 0.75), (two, -0.5)]
    report = combine_adapters(parts, tmp_path / "sum")
    assert report.rank == 7
    wanted = summed(base, parts)
    assert float((answered(base, tmp_path / "sum") - wanted).abs().max()) < 1e-4
    assert float((answered(base, one) - wanted).abs().max()) > 0.01, "the second adapter changes nothing"
    merge_adapter(base, tmp_path / "sum", tmp_path / "merged")
    assert float((answer(load(tmp_path / "merged")) - wanted).abs().max()) < 1e-4
    card = (tmp_path / "sum" / "README.md").read_text()
    assert "| one | 0.75 |" in card
    assert "| two | -0.5 |" in card


def test_embeddings_in_full_are_taken_along_from_one_adapter(llama: Tuned, tmp_path: Path) -> None:
    whole = tune(llama.base, tmp_path / "whole", target_modules=["q_proj"], modules_to_save=["lm_head"]).adapter
    combine_adapters([(whole, 1.0), (llama.adapter, 0.5)], tmp_path / "sum")
    wanted = summed(llama.base, [(whole, 1.0), (llama.adapter, 0.5)])
    assert float((answered(llama.base, tmp_path / "sum") - wanted).abs().max()) < 1e-4


def test_what_cannot_be_added_exactly_is_refused_with_every_reason(llama: Tuned, tmp_path: Path) -> None:
    import transformers

    dora = tune(llama.base, tmp_path / "dora", use_dora=True).adapter
    one = tune(llama.base, tmp_path / "one", target_modules=["q_proj"], modules_to_save=["lm_head"]).adapter
    two = tune(llama.base, tmp_path / "two", target_modules=["q_proj"], modules_to_save=["lm_head"]).adapter
    config = transformers.LlamaConfig(**(SIZES | {"intermediate_size": 40}))
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "narrow")
    other = tune(tmp_path / "narrow", tmp_path / "other").adapter
    for parts, words in (
        ([(llama.adapter, 1.0), (dora, 1.0)], ("DoRA adapter", "no sum is exact")),
        ([(one, 1.0), (two, 0.5)], ("Both this adapter and “one” hold “lm_head.weight” in full", "the weight 1")),
        (
            [(llama.adapter, 1.0), (other, 1.0)],
            ("6 modules, such as “model.layers.0.mlp.down_proj”, have another shape",),
        ),
        ([(llama.adapter, 0.0), (tmp_path / "none", 1.0)], ("The weight 0", "There is no such adapter folder")),
        ([(llama.adapter, float("nan"))], ("is no number",)),
        ([], ("No adapters were given",)),
    ):
        with pytest.raises(UserError) as caught:
            combine_adapters(parts, tmp_path / "sum")
        for sentence in words:
            assert sentence in str(caught.value)
        assert not (tmp_path / "sum").exists()


def test_adapters_of_two_bases_are_told_apart_by_fingerprint(llama: Tuned, tmp_path: Path, copy_of: Any) -> None:
    again = copy_of(llama.adapter)
    first = tune(llama.base, tmp_path / "first").adapter

    def say(folder: Path, name: str, fingerprint: str) -> None:
        template = f"{name} {{{{ messages }}}}"
        manifest = {"base_path": f"/models/{name}", "base_fingerprint": fingerprint, "template": template}
        (folder / "lowrank.json").write_text(json.dumps(manifest))

    say(again, "right", "right")
    say(first, "wrong", "wrong")
    with pytest.raises(UserError, match="different base models: “copy-of-adapter” on “right”, “first” on “wrong”"):
        combine_adapters([(again, 1.0), (first, 1.0)], tmp_path / "sum")
    say(first, "wrong", "right")
    report = combine_adapters([(again, 1.0), (first, 1.0)], tmp_path / "sum")
    assert "different chat templates" in report.notes[0]
    said = read_manifest(tmp_path / "sum")
    assert said is not None
    assert said.base_fingerprint == "right"
    assert (tmp_path / "sum" / "chat_template.jinja").read_text().startswith("right")


def test_the_target_is_never_overwritten(llama: Tuned, tmp_path: Path) -> None:
    (tmp_path / "sum").mkdir()
    (tmp_path / "sum" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty, and nothing is ever overwritten"):
        combine_adapters([(llama.adapter, 0.5)], tmp_path / "sum")
    assert [path.name for path in (tmp_path / "sum").iterdir()] == ["letter.txt"]
