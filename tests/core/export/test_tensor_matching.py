"""Names in memory and names in files, headers and shards: the parts of a merge without arithmetic."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.export.matching import file_names, match
from core.export.peft_adapter import LowRank, PeftAdapter, _pattern_key
from core.export.tensor_files import StoredTensor, lay_out, read_model_tensors, size_of, write_files


def tensor(name: str, *shape: int, dtype: str = "F32") -> StoredTensor:
    size = 4
    for length in shape:
        size *= length
    return StoredTensor(name, dtype, shape, Path("base.safetensors"), 0, size)


def adapter(*modules: str) -> PeftAdapter:
    changes = tuple(LowRank(name, tensor("a", 2, 8), tensor("b", 4, 2), None, 1.0) for name in modules)
    return PeftAdapter(Path("adapter"), changes, {}, "", fan_in_fan_out=False, keeps_tie=False)


@pytest.mark.parametrize(
    ("memory", "file"),
    [
        ("model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"),
        ("transformer.h.0.attn.c_attn", "h.0.attn.c_attn"),
        ("gpt_neox.layers.0.mlp.dense", "layers.0.mlp.dense"),
        ("layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"),
        ("model.language_model.layers.0.mlp.up_proj", "language_model.model.layers.0.mlp.up_proj"),
        ("language_model.model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj"),
        ("model.layers.0.mlp.up_proj", "language_model.model.layers.0.mlp.up_proj"),
        ("model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj"),
        ("model.language_model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"),
    ],
)
def test_modules_are_found_under_the_names_of_every_layout(memory: str, file: str) -> None:
    tensors = {f"{file}.weight": tensor(f"{file}.weight", 4, 8), "lm_head.weight": tensor("lm_head.weight", 9, 9)}
    matched = match(adapter(memory), Path("base"), tensors, {})
    changed = [item.name for item in matched.tensors if item.change]
    assert changed == [f"{file}.weight"]


def test_a_vision_tower_is_never_mistaken_for_the_language_model() -> None:
    tensors = {"vision_tower.encoder.layers.0.mlp.up_proj.weight": tensor("x", 4, 8)}
    with pytest.raises(UserError, match="1 of the adapter's 1 parts have no place"):
        match(adapter("model.layers.0.mlp.up_proj"), Path("base"), tensors, {})


def test_two_parts_never_share_a_weight() -> None:
    tensors = {"model.x.weight": tensor("model.x.weight", 4, 8)}
    with pytest.raises(UserError, match="mean the same weights as another"):
        match(adapter("model.x", "x"), Path("base"), tensors, {})


def test_the_likeliest_name_comes_first() -> None:
    assert next(file_names("model.a.weight")) == "model.a.weight"


@pytest.mark.torch
@pytest.mark.parametrize("pattern", ["q_proj", "0.q_proj", r"layers\.1\..*", "^model.layers.1.q_proj", ".*", "proj"])
def test_patterns_are_looked_up_as_peft_does(pattern: str) -> None:
    from peft.utils.other import get_pattern_key

    for module in ("model.layers.0.q_proj", "model.layers.1.q_proj", "q_proj", "model.layers.10.k_proj"):
        assert _pattern_key({"k_proj": 1.0, pattern: 2.0}, module) == get_pattern_key(["k_proj", pattern], module)


@given(st.lists(st.tuples(st.sampled_from(["F32", "BF16", "U8"]), st.integers(0, 50)), min_size=1), st.integers(1, 200))
def test_shards_hold_everything_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[str, int]], limit: int
) -> None:
    width = {"F32": 4, "BF16": 2, "U8": 1}
    tensors = [
        StoredTensor(f"t{index}é", dtype, (length,), Path("x"), 0, length * width[dtype])
        for index, (dtype, length) in enumerate(sizes)
    ]
    layout = lay_out(tensors, limit)
    folder = tmp_path_factory.mktemp("shards")
    write_files(folder, layout, lambda item: [bytes([len(item.name)]) * item.bytes])
    written = sum(path.stat().st_size for path in folder.iterdir())
    assert written == size_of(layout)
    for shard in layout.values():
        assert len(shard) == 1 or sum(item.bytes for item in shard) <= limit
    found = read_model_tensors(folder)
    assert {name: (item.dtype, item.shape, item.bytes) for name, item in found.items()} == {
        item.name: (item.dtype, item.shape, item.bytes) for item in tensors
    }
    assert all(item.offset % width[item.dtype] == 0 for item in found.values())
    if len(layout) > 1:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        assert index["metadata"]["total_size"] == sum(item.bytes for item in tensors)


def test_wrong_content_is_a_programmers_error(tmp_path: Path) -> None:
    layout = lay_out([tensor("a", 2)], 100)
    with pytest.raises(ValueError, match="9 bytes where 8 belong"):
        write_files(tmp_path, layout, lambda item: [b"123456789"])
