"""The memory estimate: known sums, and what must never be otherwise whatever the settings."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.facts.types import Facts
from core.plan.choices import training_of
from core.plan.memory import Footprint, Setup, footprint, memory_of, state_bytes, verdict_of
from core.plan.memory.outside import CPU_NF4
from core.plan.planner import plan
from core.units import GIB
from tests.core.plan.invented_facts import MACHINES, MODELS, gpt2, llama, spec

QUANTIZATIONS = ("none", "nf4", "int8")
SHAPES = {**MODELS, "gpt2": gpt2(), "small": llama(64, 160, 4, 4, 2, 300)}
models = st.sampled_from(list(SHAPES))  # names: a failure prints its arguments, and facts are thousands of lines
methods = st.sampled_from(["lora", "rslora", "dora", "full"])
targets = st.sampled_from([("all-linear",), ("attention",), ("mlp",), ("lm_head",)])
layers = st.sampled_from(["all", "last 1", "first 1", "0"])
setups = st.builds(
    Setup,
    kind=st.sampled_from(["cuda", "cpu"]),
    quantization=st.sampled_from(QUANTIZATIONS),
    number=st.sampled_from(["bf16", "fp16", "fp32"]),
    kernel=st.sampled_from(["varlen", "flash", "sdpa", "eager"]),
    longest=st.integers(16, 8192),
    optimizer=st.sampled_from(["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]),
    double_quant=st.booleans(),
    rows=st.integers(1, 64),
)
CUDA = Setup("cuda", "none", "bf16", "varlen", longest=2048, optimizer="adamw")


def made(setup: Setup, model, **adapter: object) -> Footprint:
    chosen = spec(**{f"adapter__{name}": value for name, value in adapter.items()})
    return footprint(setup, training_of(chosen, model).trained, model)


@st.composite
def footprints(draw: st.DrawFn) -> tuple[Footprint, int]:
    model = SHAPES[draw(models)]
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
def test_nf4_never_raises_the_peak(name: str, setup: Setup, tokens: int, data: st.DataObject) -> None:
    model = SHAPES[name]
    count = data.draw(st.integers(0, model.num_layers))
    setups = [dataclasses.replace(setup, quantization=quantization) for quantization in ("none", "nf4")]
    peaks = [made(each, model).peak(tokens, count) for each in setups]
    left_behind = CPU_NF4 if setup.kind == "cpu" else 0  # by making the weights, which counts with tiny models
    assert peaks[1] <= peaks[0] + left_behind


@given(models, setups, st.integers(1, 512), st.integers(1, 64), st.integers(1, 8192))
@settings(deadline=None, max_examples=50)
def test_more_rank_never_needs_less(name: str, setup: Setup, rank: int, more: int, tokens: int) -> None:
    # Without paging and 8-bit states: those begin at a size, so a matrix that grows over it takes less of the device.
    model, setup = SHAPES[name], dataclasses.replace(setup, optimizer="adamw")
    assert made(setup, model, rank=rank).peak(tokens, 0) <= made(setup, model, rank=rank + more).peak(tokens, 0)


@settings(deadline=None)
@given(st.sampled_from(list(MODELS)), setups, st.integers(1, 8192))
def test_longer_rows_never_need_less(name: str, setup: Setup, tokens: int) -> None:
    model = MODELS[name]
    # As many rows in both, because each is padded; two rows are joined, which a single one is not.
    setup = dataclasses.replace(setup, rows=tokens)
    longer = dataclasses.replace(setup, longest=setup.longest * 2)
    assert made(setup, model).peak(tokens, 0) <= 1.0001 * made(longer, model).peak(tokens, 0)


def test_double_quantization_and_eight_bits_lie_in_between() -> None:
    sizes = [
        made(dataclasses.replace(CUDA, quantization=name, double_quant=double), MODELS["8b"]).base
        for name, double in (("nf4", True), ("nf4", False), ("int8", True), ("none", True))
    ]
    assert sizes == sorted(sizes)
    blocks = sum(item.in_features * item.out_features for item in MODELS["8b"].linears if item.layer is not None)
    rest = 2 * (MODELS["8b"].parameters - blocks)
    # 0.5 bytes, one byte for 64 weights and four for 256 of those bytes; without double quantization four for 64.
    assert sizes[0] == pytest.approx(rest + blocks * (0.5 + 1 / 64 + 4 / 64 / 256), rel=2e-4)
    assert sizes[1] == pytest.approx(rest + blocks * 0.5625, rel=2e-4)


def test_the_layer_sums_of_the_literature() -> None:
    """12h + 8m + 4q + 4k + 4a + 14r bytes a token and layer with bf16 adapters everywhere, 16h + … trained in full."""
    model = MODELS["8b"]
    h, m, q, k, a, r = 4096, 14336, 4096, 1024, 32, 16
    assert each_layer(made(CUDA, model)) == 12 * h + 8 * m + 4 * q + 4 * k + 4 * a + 14 * r + NORMS
    assert each_layer(made(CUDA, model, method="full")) == 16 * h + 8 * m + 4 * q + 4 * k + 4 * a + NORMS
    dropped = made(CUDA, model, dropout=0.1)
    assert each_layer(dropped) == 23 * h + 9 * m + 7 * q + 4 * k + 4 * a + 14 * r + NORMS
    few = made(CUDA, model, targets=("q_proj", "v_proj"))
    assert each_layer(few) == 10 * h + 6 * m + 4 * q + 4 * k + 4 * a + 4 * r + NORMS


NORMS = 2 * 4  # two roots a token, in fp32
TOKENS = 2048


def each_layer(memory: Footprint) -> float:
    """Bytes a token that one more layer keeps for the backward pass, beside a state of 16 bytes for each."""
    size = memory.setup.worst(TOKENS)
    layer = memory._step.of(size).runs[-1].layer.plain
    return (layer.kept - 512) / TOKENS  # the kernel's random state


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
    assert head_only.peak(2048, 0) == head_only.peak(2048, 32)


def test_training_state_bytes() -> None:
    trained = MODELS["1b"].parameters  # every tensor ends on a multiple of 512 bytes
    half = made(CUDA, MODELS["1b"], method="full")
    assert (half.base, half.masters) == (pytest.approx(2 * trained, rel=0.001), pytest.approx(4 * trained, rel=0.001))
    assert half.gradients == pytest.approx(4 * trained, rel=0.001)
    assert half.optimizer == pytest.approx(8 * trained, rel=0.001)
    whole = made(dataclasses.replace(CUDA, number="fp32"), MODELS["1b"], method="full")
    assert (whole.base, whole.masters) == (pytest.approx(4 * trained, rel=0.001), 0)
    adapter = made(CUDA, MODELS["135m"])
    assert adapter.masters == pytest.approx(6 * 4884480, rel=0.01)
    assert adapter.gradients == pytest.approx(4 * 4884480, rel=0.01)
    assert adapter.optimizer == pytest.approx(8 * 4884480, rel=0.02)
    assert state_bytes("adamw_8bit", 256_000, "cuda") == 2 * 256_000 + 8 * 1000
    assert state_bytes("paged_adamw", 256_000, "cuda") == 0
    assert state_bytes("paged_adamw", 256_000, "cpu") == 8 * 256_000


def test_an_adapter_on_the_head_costs_all_its_scores() -> None:
    plain, wrapped = made(CUDA, MODELS["1b"]), made(CUDA, MODELS["1b"], targets=("all-linear", "lm_head"))
    assert wrapped.peak(4096, 16) - plain.peak(4096, 16) > 4096 * 128256 * 10
    assert plain.peak(4096, 16) - plain.peak(2048, 16) < 2048 * 128256 * 4


def test_gradients_of_an_earlier_pass_are_there_where_a_step_can_have_several() -> None:
    alone = made(dataclasses.replace(CUDA, several=False), MODELS["1b"], method="full")
    several = made(CUDA, MODELS["1b"], method="full")
    assert alone.peak(512, 16) < several.peak(512, 16)


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


def test_a_family_without_a_block_has_a_wider_band_and_says_so() -> None:
    known = MODELS["8b"]
    unknown = dataclasses.replace(known, family="nobody_knows")
    plans = [plan(spec(), Facts(MACHINES["h100"], model)) for model in (known, unknown)]
    widths = [made.memory.high_bytes - made.memory.low_bytes for made in plans if made.memory]
    assert widths[1] > 2 * widths[0]
    assert "nobody_knows" in plans[1].notes["memory"]
    assert "nobody_knows" not in plans[0].notes["memory"]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["1b", "8b", "70b"]), setups, st.integers(1, 8192), st.sampled_from(["lora", "full"]))
def test_smaller_optimizer_states_never_raise_the_peak(name: str, setup: Setup, tokens: int, method: str) -> None:
    plain = dataclasses.replace(setup, quantization="none", optimizer="adamw")
    peaks = [
        made(dataclasses.replace(plain, optimizer=optimizer), MODELS[name], method=method).peak(tokens, 0)
        for optimizer in ("adamw", "adamw_8bit", "paged_adamw_8bit")
    ]
    assert peaks == sorted(peaks, reverse=True)
