"""Sizes on the disk: of the run exactly, and of GGUF files as llama.cpp's own quantizer makes them."""

import dataclasses

import pytest

from core.facts.types import Facts, ModelFacts
from core.plan.choices import training_of
from core.plan.disk import COMPANIONS, TOKEN_BYTES, checkpoint_bytes, disk_of, needed_with
from core.plan.gguf_sizes import BLOCKS, TYPES, gguf_sizes
from core.plan.planner import plan
from core.plan.types import Disk
from core.units import MIB
from tests.core.plan.invented_facts import MACHINES, MODELS, facts, gpt2, llama, spec

# Bytes of whole files that llama.cpp made of SmolLM2-135M-Instruct, whose shape MODELS["135m"] has, and of the tensors
# of Llama 3.1 8B and 70B, as `llama_model_quantize` (build 8233) counts them in a dry run.
SMOL = {
    "F32": 539_845_696,
    "F16": 270_885_952,
    "BF16": 270_885_952,
    "Q8_0": 144_811_072,
    "Q6_K": 138_382_912,
    "Q5_K_M": 112_103_488,
    "Q4_K_M": 105_454_144,
    "Q4_0": 91_726_912,
}
EIGHT = {"F16": 16_061_059_564, "Q8_0": 8_532_934_001, "Q6_K": 6_588_171_551, "Q5_K_M": 5_725_151_560}
EIGHT |= {"Q4_K_M": 4_912_893_133, "Q4_0": 4_653_370_573}
SEVENTY = {"F16": 141_110_049_505, "Q8_0": 74_967_186_145, "Q6_K": 57_880_283_709, "Q5_K_M": 49_941_955_215}
SEVENTY |= {"Q4_K_M": 42_512_532_111, "Q4_0": 39_961_870_991}


def sized(model: ModelFacts, **settings: object) -> Disk:
    asked = spec(**settings)
    training = training_of(asked, model)
    return disk_of(asked, model, training.targets, training.trained, "adamw", 7)


def test_sizes_of_an_adapter_run() -> None:
    model = MODELS["8b"]
    disk = sized(model, training__keep_checkpoints=3)
    assert disk.adapter_bytes == 4 * 41_943_040
    assert 0 < disk.checkpoint_bytes - 12 * 41_943_040 < MIB  # 2 x 7 tensors in each of 32 layers, and their states
    assert disk.merged_bytes == 2 * model.parameters + COMPANIONS + TOKEN_BYTES * model.vocab_size
    assert disk.run_bytes > 4 * disk.checkpoint_bytes + disk.adapter_bytes
    assert needed_with(disk, 3, 1) == disk.run_bytes - 2 * disk.checkpoint_bytes
    assert disk.free_bytes == 7


def test_sizes_of_a_full_run() -> None:
    model = MODELS["1b"]
    training = training_of(spec(adapter__method="full"), model)
    plain, paged = (checkpoint_bytes(training.trained, name) for name in ("adamw", "paged_adamw_8bit"))
    assert plain > 12 * model.parameters > paged > 6 * model.parameters
    assert checkpoint_bytes(training.trained, "paged_adamw") == pytest.approx(plain, rel=1e-4)
    full = sized(model, adapter__method="full")
    assert full.adapter_bytes == full.merged_bytes > 2 * model.parameters
    single = dataclasses.replace(model, dtype="F32")
    assert sized(single, adapter__method="full").merged_bytes > 4 * model.parameters


def test_a_merge_keeps_the_formats_of_the_files() -> None:
    model = MODELS["1b"]
    mixed = dataclasses.replace(model, bytes_on_disk=model.bytes_on_disk + 12_345)  # norms in 32 bits, say
    assert sized(mixed).merged_bytes == sized(model).merged_bytes + 12_345
    packed = dataclasses.replace(model, bytes_on_disk=7, prequantized="bitsandbytes 4-bit")
    assert sized(packed).merged_bytes == sized(model).merged_bytes


def test_modules_trained_in_full_and_separated_embeddings() -> None:
    model = MODELS["1b"]
    matrix = 128_256 * 2048
    usual, saved = sized(model), sized(model, adapter__modules_to_save=("lm_head",))
    assert saved.adapter_bytes == usual.adapter_bytes + 4 * matrix
    assert saved.merged_bytes == usual.merged_bytes + 2 * matrix
    assert saved.gguf_bytes["F16"] == usual.gguf_bytes["F16"] + 2 * matrix
    assert sized(model, adapter__targets=("q_proj", "lm_head")).merged_bytes == saved.merged_bytes
    apart = MODELS["8b"]
    assert sized(apart, adapter__modules_to_save=("lm_head",)).merged_bytes == sized(apart).merged_bytes


def test_a_base_that_is_not_here_has_to_be_downloaded() -> None:
    assert sized(MODELS["1b"]).download_bytes == 0
    away = dataclasses.replace(MODELS["1b"], here=False)
    planned = plan(spec(), Facts(MACHINES["rtx4090"], away)).disk
    assert planned is not None
    assert planned.download_bytes == away.bytes_on_disk > 2e9


@pytest.mark.parametrize("name", SMOL)
def test_gguf_files_of_the_starter_model(name: str) -> None:
    assert gguf_sizes(MODELS["135m"])[name] == pytest.approx(SMOL[name], rel=1e-4)


@pytest.mark.parametrize(("model", "real"), [("8b", EIGHT), ("70b", SEVENTY)], ids=["8b", "70b"])
def test_gguf_files_of_large_models(model: str, real: dict[str, int]) -> None:
    found = gguf_sizes(MODELS[model])
    for name, size in real.items():
        assert found[name] == pytest.approx(size, rel=2e-3), name  # names of tokens and tensors come on top
        assert found[name] > size


def test_blocks_are_the_gguf_librarys_own() -> None:
    gguf = pytest.importorskip("gguf")
    for form, block in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[form]] == block
    assert set(TYPES.values()) <= set(BLOCKS)


def test_every_model_has_a_size_of_every_type_in_order() -> None:
    odd = llama(100, 300, 3, 4, 2, 1000)  # no row is a multiple of 32
    for model in (*MODELS.values(), gpt2(), odd):
        sizes = gguf_sizes(model)
        assert list(sizes) == list(TYPES)
        ordered = [sizes[name] for name in ("F32", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0")]
        assert ordered == sorted(ordered, reverse=True)
        assert 4 * model.parameters < sizes["F32"] < 4 * model.parameters + 64 * (model.vocab_size + 8000)
    assert gguf_sizes(odd)["Q8_0"] == gguf_sizes(odd)["F16"]


def test_experts_are_counted_although_they_are_no_linear_layers() -> None:
    dense = MODELS["1b"]
    experts = dataclasses.replace(dense, parameters=dense.parameters + 10**9)
    for name, bits in (("Q8_0", 8.5), ("Q6_K", 6.5625), ("Q4_K_M", 4.5 + 2.0625 / 6)):
        extra = gguf_sizes(experts)[name] - gguf_sizes(dense)[name]
        assert extra == pytest.approx(1e9 * bits / 8, rel=0.01)


def test_sizes_are_remembered_for_one_model_only() -> None:
    model = MODELS["8b"]
    assert gguf_sizes(model) is gguf_sizes(model)
    assert gguf_sizes(dataclasses.replace(model, num_layers=31))["F16"] < gguf_sizes(model)["F16"]


def test_the_plan_says_them() -> None:
    disk = plan(spec(), facts("rtx4090", "8b")).disk
    assert disk is not None
    assert disk.gguf_bytes["Q4_K_M"] < disk.gguf_bytes["Q8_0"] < disk.merged_bytes
