"""The memory estimate: known sums, and what must never be otherwise whatever the settings."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.plan.choices import training_of
from core.plan.memory import Footprint, Setup, footprint, memory_of, state_bytes, verdict_of
from core.units import GIB
from tests.core.plan.invented_facts import MODELS, gpt2, llama, spec

QUANTIZATIONS = ("none", "nf4", "int8")
models = st.sampled_from([*MODELS.values(), gpt2(), llama(64, 160, 4, 4, 2, 300)])
methods = st.sampled_from(["lora", "rslora", "dora", "full"])
targets = st.sampled_from([("all-linear",), ("attention",), ("mlp",), ("lm_head",)])
layers = st.sampled_from(["all", "last 1", "first 1", "0"])
setups = st.builds(
    Setup,
    kind=st.sampled_from(["cuda", "cpu"]),
    quantization=st.sampled_from(QUANTIZATIONS),
    dtype_bytes=st.sampled_from([2, 4]),
    varlen=st.booleans(),
    scores=st.booleans(),
    longest=st.integers(16, 8192),
    optimizer=st.sampled_from(["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]),
    double_quant=st.booleans(),
)
CUDA = Setup("cuda", "none", 2, varlen=True, scores=False, longest=2048, optimizer="adamw", double_quant=True)


def made(setup: Setup, model, **adapter: object) -> Footprint:
    chosen = spec(**{f"adapter__{name}": value for name, value in adapter.items()})
    return footprint(setup, training_of(chosen, model).trained, model)


@st.composite
def footprints(draw: st.DrawFn) -> tuple[Footprint, int]:
    model = draw(models)
    dropout = draw(st.sampled_from([0.0, 0.1]))
    saved = draw(st.sampled_from([(), ("lm_head",)]))
    chosen = draw(targets)
    if chosen == ("lm_head",):
        saved = ()
    adapter = {"method": draw(methods), "targets": chosen, "layers": draw(layers), "dropout": dropout}
    return made(draw(setups), model, modules_to_save=saved, **adapter), model.num_layers


@settings(deadline=None)
@given(footprints(), st.integers(1, 16384), st.data())
def test_parts_sum_to_the_peak(drawn: tuple[Footprint, int], tokens: int, data: st.DataObject) -> None:
    memory, layers_there = drawn
    count = data.draw(st.integers(0, layers_there))
    parts = memory.parts(tokens, count)
    assert sum(part.bytes for part in parts) == memory.peak(tokens, count)
    assert all(part.bytes >= 0 for part in parts)
    assert len({part.name for part in parts}) == len(parts)
    assert all(part.title for part in parts)


@settings(deadline=None)
@given(footprints(), st.integers(1, 16384), st.integers(1, 4096), st.data())
def test_more_tokens_never_need_less(drawn: tuple[Footprint, int], tokens: int, more: int, data: st.DataObject) -> None:
    memory, layers_there = drawn
    count = data.draw(st.integers(0, layers_there))
    assert memory.peak(tokens, count) <= memory.peak(tokens + more, count)


@settings(deadline=None)
@given(footprints(), st.integers(1, 16384))
def test_checkpointing_never_raises_the_peak(drawn: tuple[Footprint, int], tokens: int) -> None:
    memory, layers_there = drawn
    peaks = [memory.peak(tokens, count) for count in range(layers_there + 1)]
    assert peaks == sorted(peaks, reverse=True)


@settings(deadline=None)
@given(models, setups, st.integers(1, 16384), st.data())
def test_nf4_never_raises_the_peak(model, setup: Setup, tokens: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, model.num_layers))
    peaks = [made(dataclasses.replace(setup, quantization=name), model).peak(tokens, count) for name in ("none", "nf4")]
    assert peaks[1] <= peaks[0]


@given(models, setups, st.integers(1, 512), st.integers(1, 64), st.integers(1, 8192))
@settings(deadline=None, max_examples=50)
def test_more_rank_never_needs_less(model, setup: Setup, rank: int, more: int, tokens: int) -> None:
    assert made(setup, model, rank=rank).peak(tokens, 0) <= made(setup, model, rank=rank + more).peak(tokens, 0)


@settings(deadline=None)
@given(models, setups, st.integers(1, 8192))
def test_longer_rows_never_need_less(model, setup: Setup, tokens: int) -> None:
    longer = dataclasses.replace(setup, longest=setup.longest * 2)
    assert made(setup, model).peak(tokens, 0) <= made(longer, model).peak(tokens, 0)


def test_double_quantization_and_eight_bits_lie_in_between() -> None:
    sizes = [
        made(dataclasses.replace(CUDA, quantization=name, double_quant=double), MODELS["8b"]).base
        for name, double in (("nf4", True), ("nf4", False), ("int8", True), ("none", True))
    ]
    assert sizes == sorted(sizes)
    blocks = sum(item.in_features * item.out_features for item in MODELS["8b"].linears if item.layer is not None)
    rest = 2 * (MODELS["8b"].parameters - blocks)
    # 0.5 bytes, one byte for 64 weights and four for 256 of those bytes; without double quantization four for 64.
    assert sizes[0] == pytest.approx(rest + blocks * (0.5 + 1 / 64 + 4 / 64 / 256))
    assert sizes[1] == pytest.approx(rest + blocks * 0.5625)


def test_the_layer_sums_of_the_literature() -> None:
    """12h + 8m + 4q + 4k + 4a + 14r bytes a token and layer with bf16 adapters everywhere, 16h + … trained in full."""
    model = MODELS["8b"]
    h, m, q, k, a, r = 4096, 14336, 4096, 1024, 32, 16
    memory = made(CUDA, model)
    assert memory.kept_above[0] == 32 * (12 * h + 8 * m + 4 * q + 4 * k + 4 * a + 14 * r)
    assert memory.stored_input == 2 * h
    full = made(CUDA, model, method="full")
    assert full.kept_above[0] == 32 * (16 * h + 8 * m + 4 * q + 4 * k + 4 * a)
    dropped = made(CUDA, model, dropout=0.1)
    assert dropped.kept_above[0] == 32 * (23 * h + 9 * m + 7 * q + 4 * k + 4 * a + 14 * r)
    few = made(CUDA, model, targets=("q_proj", "v_proj"))
    assert few.kept_above[0] == 32 * (10 * h + 6 * m + 4 * q + 4 * k + 4 * a + 4 * r)


def test_layers_below_the_first_adapter_keep_nothing() -> None:
    memory = made(CUDA, MODELS["8b"], layers="last 4")
    assert memory.first == 28
    assert memory.peak(2048, 28) == memory.peak(2048, 0)
    assert memory.peak(2048, 32) < memory.peak(2048, 28)
    # Embeddings that learn need the gradient of everything above them.
    saving = made(CUDA, MODELS["8b"], layers="last 4", modules_to_save=("embed_tokens",))
    assert saving.first == 0
    head_only = made(CUDA, MODELS["8b"], targets=(), modules_to_save=("lm_head",))
    assert head_only.first == 32
    assert head_only.kept_above[0] == 0


def test_training_state_bytes() -> None:
    trained = MODELS["1b"].parameters
    half = made(CUDA, MODELS["1b"], method="full")
    assert (half.base, half.masters, half.gradients, half.optimizer) == (
        2 * trained,
        4 * trained,
        4 * trained,
        8 * trained,
    )
    whole = made(dataclasses.replace(CUDA, dtype_bytes=4), MODELS["1b"], method="full")
    assert (whole.base, whole.masters, whole.gradients) == (4 * trained, 0, 4 * trained)
    adapter = made(CUDA, MODELS["135m"])
    assert (adapter.masters, adapter.gradients, adapter.optimizer) == (6 * 4884480, 4 * 4884480, 8 * 4884480)
    assert state_bytes("adamw_8bit", 256_000, "cuda") == 2 * 256_000 + 8 * 1000
    assert state_bytes("paged_adamw", 256_000, "cuda") == 0
    assert state_bytes("paged_adamw", 256_000, "cpu") == 8 * 256_000


def test_an_adapter_on_the_head_costs_all_its_scores() -> None:
    plain, wrapped = made(CUDA, MODELS["1b"]), made(CUDA, MODELS["1b"], targets=("all-linear", "lm_head"))
    assert plain.head_rows * 4 * 128256 <= 128 * 1024**2
    assert wrapped.peak(4096, 16) - plain.peak(4096, 16) > 4096 * 128256 * 10


def test_verdicts_and_band() -> None:
    assert verdict_of(90, 100) == "fits"
    assert verdict_of(91, 100) == "tight"
    assert verdict_of(100, 100) == "tight"
    assert verdict_of(101, 100) == "does_not_fit"
    memory = made(CUDA, MODELS["1b"])
    known = memory_of(memory, MODELS["1b"], 2048, 0, device="cuda:0", limit=12 * GIB, free=11 * GIB)
    assert known.low_bytes < known.peak_bytes < known.high_bytes
    assert known.peak_bytes == sum(part.bytes for part in known.parts)
    guessed_model = dataclasses.replace(MODELS["1b"], assumptions=("The norms were guessed.",))
    guessed = memory_of(memory, guessed_model, 2048, 0, device="cuda:0", limit=12 * GIB, free=11 * GIB)
    assert guessed.high_bytes > known.high_bytes
