"""Times move the right way, agree with what was published and measured, and learn from earlier runs."""

import dataclasses
import math

import pytest

from core.facts.types import DeviceRecord, Facts, GpuFacts, LengthFacts
from core.plan.cards import CARDS, find_cards
from core.plan.parameters import count_parameters, resolve_targets
from core.plan.planner import plan
from core.plan.time.load import load_of
from core.plan.time.rates import rates_of
from core.plan.time.stack import stack_of, trained_part
from core.plan.time.work import Manner, step_work
from core.plan.types import Duration
from core.spec.sections import AdapterSpec
from core.units import GIB
from tests.core.plan.invented_facts import MACHINES, MODELS, NEW_CPU, data, facts, gpu, lengths, llama, machine, spec

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MISTRAL = llama(4096, 14336, 32, 32, 8, 32000)
LLAMA_2_70B = llama(8192, 28672, 80, 64, 8, 32000)


def duration(known: Facts, **settings: object) -> Duration:
    made = plan(spec(**settings), known).duration
    assert made is not None
    return made


def test_more_work_takes_longer() -> None:
    known = facts("rtx4090", "1b")
    base = duration(known)
    assert base.low_seconds < base.seconds < base.high_seconds
    assert duration(known, training__epochs=4.0).seconds > base.seconds
    assert duration(known, hardware__activation_checkpointing="all").seconds > base.seconds
    assert duration(known, adapter__method="full", training__learning_rate=2e-5).seconds > base.seconds
    assert duration(known, adapter__method="dora").seconds > base.seconds
    assert duration(known, adapter__dropout=0.1).seconds > base.seconds
    assert duration(known, adapter__rank=64).seconds > base.seconds
    assert duration(known, adapter__targets=("attention",)).seconds < base.seconds
    assert duration(known, adapter__layers="last 4").seconds < base.seconds
    assert duration(known, model__quantization="nf4").seconds > base.seconds
    assert duration(known, hardware__attention="eager").seconds > base.seconds
    assert duration(known, training__micro_batch_tokens=256).seconds > base.seconds
    assert duration(known, training__evaluate_every=1).seconds > base.seconds
    assert duration(facts("rtx4090", "8b")).seconds > base.seconds
    assert duration(facts("h100", "1b")).seconds < base.seconds


def test_the_parts_sum_to_the_whole() -> None:
    prompts = ("One?", "Two?")
    made = duration(facts("rtx4090", "1b"), training__sample_prompts=prompts, training__checkpoint_minutes=1.0)
    assert set(made.parts) == {"loading", "steps", "evaluation", "sampling", "saving"}
    assert all(seconds > 0 for seconds in made.parts.values())
    assert sum(made.parts.values()) == pytest.approx(made.seconds)
    longer = duration(facts("rtx4090", "1b"), training__sample_prompts=prompts, training__sample_tokens=160)
    assert longer.parts["sampling"] == pytest.approx(2 * made.parts["sampling"])


def test_answers_are_as_fast_as_their_weights_are_read_or_their_kernels_started() -> None:
    def tokens_a_second(machine_name: str, model: str, quantization: str) -> float:
        asked = {"training__sample_prompts": ("One?",), "training__sample_tokens": 100}
        made = duration(facts(machine_name, model), model__quantization=quantization, **asked)
        return 2 * 100 / made.parts["sampling"]

    # 6 to 17 tokens a second were seen from SmolLM2-135M on two cores, by format; 16 cores start kernels no faster.
    assert 10 < tokens_a_second("cpu24", "135m", "none") < 40
    assert tokens_a_second("cpu24", "135m", "nf4") < tokens_a_second("cpu24", "135m", "none")
    # On a GPU a token of an 8 B model takes as long as its kernels; 4 bits are no slower there, because bitsandbytes
    # multiplies single tokens with the packed weights.
    assert 25 < tokens_a_second("rtx4090", "8b", "none") < 60
    assert tokens_a_second("rtx3060", "8b", "nf4") > 20


def test_evaluations_are_counted_as_the_engine_makes_them() -> None:
    rows = data(lengths(rows=160))  # 10 steps of 16 rows
    known = Facts(MACHINES["rtx4090"], MODELS["1b"], rows)
    once = duration(known, training__max_steps=10, training__evaluate_every=100).parts["evaluation"] / 2
    assert duration(known, training__max_steps=10, training__evaluate_every=5).parts["evaluation"] == pytest.approx(
        3 * once  # at the start, after step 5, and at the end; step 10 is the end
    )
    none = data(validation=lengths(0))
    assert duration(Facts(MACHINES["rtx4090"], MODELS["1b"], none)).parts["evaluation"] == 0


def test_small_models_wait_for_kernels() -> None:
    # A 135 M model does not get faster on a faster GPU: its kernels are over before the next ones are launched.
    slow, fast = (duration(facts(name, "135m")) for name in ("rtx4090", "h100"))
    assert fast.tokens_per_second == pytest.approx(slow.tokens_per_second, rel=0.1)
    assert duration(facts("h100", "8b")).tokens_per_second > 2 * duration(facts("rtx4090", "8b")).tokens_per_second


PUBLISHED = (
    # fms-acceleration, scripts/benchmarks/refs: transformers' Trainer, rank 16 on the attention's projections, rows
    # packed to 4096 tokens, all layers checkpointed. (card, model, method, 4 bits, rows a pass, tokens a second)
    ("A100 SXM 80 GB", MISTRAL, "full", False, 4, 2775.2),
    ("A100 SXM 80 GB", MISTRAL, "full", False, 8, 3048.6),
    ("A100 SXM 80 GB", MISTRAL, "lora", False, 4, 3597.6),
    ("A100 SXM 80 GB", MISTRAL, "lora", False, 8, 3632.4),
    ("A100 SXM 80 GB", MISTRAL, "lora", True, 4, 3428.6),
    ("A100 SXM 80 GB", MISTRAL, "lora", True, 8, 3514.4),
    ("A100 SXM 80 GB", LLAMA_2_70B, "lora", True, 4, 457.1),
    ("L40", MISTRAL, "lora", False, 4, 2724.3),
    ("L40", MISTRAL, "lora", False, 8, 2715.7),
    ("L40", MISTRAL, "lora", True, 4, 2517.0),
    ("L40", MISTRAL, "lora", True, 8, 2521.8),
)


def counted_speed(
    card: str,
    model: object,
    method: str,
    *,
    quantized: bool,
    length: int,
    rows: int,
    targets: tuple[str, ...] = ATTENTION,
    rank: int = 16,
) -> float:
    """Tokens a second of a step that packs full rows and recomputes all layers."""
    shape = model if isinstance(model, type(MISTRAL)) else MISTRAL
    adapter = AdapterSpec(method=method, rank=rank, targets=targets)  # type: ignore[arg-type]
    chosen = resolve_targets(adapter, shape)
    trained = trained_part(adapter, shape, chosen, count_parameters(adapter, chosen, shape).trainable)
    tokens = float(length * rows)
    even = LengthFacts(rows, length * rows, length * rows, length, length, length, 0, 0, {})
    load = load_of(even, tokens, tokens, 1.0)
    manner = Manner(width=2, stored_width=2, unpacked=quantized, varlen=True, scores=False)
    (found,) = find_cards(card)
    device = GpuFacts(0, found.driver, found.capability, found.memory_bytes, found.memory_bytes)
    work = step_work(stack_of(shape), trained, manner, load, shape.num_layers)
    return tokens / rates_of(device, NEW_CPU, "bf16", 1).seconds(work)


@pytest.mark.parametrize(("card", "model", "method", "quantized", "rows", "measured"), PUBLISHED)
def test_published_speeds_come_out(
    card: str, model: object, method: str, quantized: bool, rows: int, measured: float
) -> None:
    counted = counted_speed(card, model, method, quantized=quantized, length=4096, rows=rows)
    assert counted == pytest.approx(measured, rel=0.10)


@pytest.mark.parametrize(("quantized", "measured"), [(False, 3083.0), (True, 2413.0)])
def test_a_compiled_trainer_is_faster_than_ours_is_counted(quantized: bool, measured: float) -> None:
    """torchtune's README, Llama-3.1-8B on an RTX 4090, with torch.compile, which the engine does not use."""
    everywhere = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
    counted = counted_speed(
        "RTX 4090", MODELS["8b"], "lora", quantized=quantized, length=2048, rows=2, targets=everywhere, rank=8
    )
    assert 0.70 * measured < counted < 0.95 * measured


def test_the_basis_names_the_source() -> None:
    assert "165 TFLOP/s, 1,008 GB/s" in duration(facts("rtx4090")).basis
    unknown = Facts(machine(gpu("Mystery", (8, 6), 24)), MODELS["1b"], data())
    assert "compute capability 8.6" in duration(unknown).basis
    ancient = Facts(machine(gpu("Ancient", (6, 1), 24)), MODELS["1b"], data())
    assert duration(ancient).seconds > duration(unknown).seconds
    assert "16 cores" in duration(facts("cpu24", "135m")).basis


def test_a_listed_card_has_a_narrower_band_than_an_unknown_one() -> None:
    known = duration(facts("rtx4090", "1b"))
    unknown = duration(Facts(machine(gpu("Mystery", (8, 9), 24)), MODELS["1b"], data()))
    assert known.high_seconds / known.low_seconds < unknown.high_seconds / unknown.low_seconds


# --- energy


def test_energy_is_power_over_time_and_unknown_where_the_power_is() -> None:
    made = duration(facts("rtx4090", "8b"))
    hours = made.seconds / 3600
    assert 0.3 * 450 * hours < made.watt_hours < 450 * hours
    assert duration(facts("cpu24", "135m")).watt_hours == 0
    assert duration(Facts(machine(gpu("Mystery", (8, 9), 24)), MODELS["1b"], data())).watt_hours == 0
    assert duration(facts("rtx4090", "8b"), training__epochs=4.0).watt_hours > 1.5 * made.watt_hours


def test_a_waiting_card_draws_less() -> None:
    small, large = (duration(facts("h100", name), training__epochs=100.0) for name in ("135m", "8b"))
    assert small.watt_hours / small.seconds < 0.75 * large.watt_hours / large.seconds


# --- what earlier runs taught


def with_speeds(known: Facts, *speeds: float, device: str = "") -> Facts:
    name = device or (known.hardware.gpus[0].name if known.hardware.gpus else known.hardware.cpu.name)
    return dataclasses.replace(
        known, records=(DeviceRecord("another", speeds=(9.0,)), DeviceRecord(name, speeds=speeds))
    )


@pytest.mark.parametrize("name", ["rtx4090", "cpu24"])
def test_earlier_runs_move_the_centre_to_their_median(name: str) -> None:
    known = facts(name, "135m")
    counted, learned = duration(known), duration(with_speeds(known, 1.4, 1.5, 5.0))
    assert learned.measured_runs == 3
    assert learned.tokens_per_second == pytest.approx(counted.tokens_per_second / 1.5)
    assert learned.raw_step_seconds == counted.raw_step_seconds
    assert learned.parts["loading"] == counted.parts["loading"]
    assert learned.parts["evaluation"] == pytest.approx(1.5 * counted.parts["evaluation"])
    assert "3 runs" in learned.basis
    assert "1.50" in learned.basis


def test_the_band_narrows_with_runs_that_agree_but_never_below_a_floor() -> None:
    known = facts("rtx4090", "8b")
    widths = []
    for count in (0, 1, 2, 5, 20, 200):
        made = duration(with_speeds(known, *([1.1] * count)) if count else known)
        widths.append(made.high_seconds / made.low_seconds)
        assert made.low_seconds < made.seconds < made.high_seconds
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == widths[-2] > 1.15


def test_runs_that_disagree_keep_the_band_as_wide_as_they_are() -> None:
    made = duration(with_speeds(facts("rtx4090", "8b"), *([1.0] * 30), 2.0))
    steps = made.parts["steps"]
    assert made.high_seconds - made.seconds > 0.9 * steps
    assert made.seconds - made.low_seconds < 0.2 * made.seconds


def test_speeds_of_other_devices_and_broken_ones_teach_nothing() -> None:
    known = facts("rtx4090", "1b")
    assert duration(with_speeds(known, 3.0, device="NVIDIA T4")) == duration(known)
    broken = with_speeds(known, math.nan, math.inf, -1.0, 0.0)
    assert duration(broken) == duration(known)


# --- what is counted


def test_attention_is_counted_by_row() -> None:
    """The same tokens in longer rows cost more attention, and a histogram tells more than a mean."""
    short, long = lengths(rows=4000, mean=100, longest=400), lengths(rows=400, mean=1000, longest=4000)
    assert load_of(long, 1e5, 0, 1).squares > 5 * load_of(short, 1e5, 0, 1).squares
    even = dataclasses.replace(short, histogram={"100": 0, "200": 4000})
    mixed = dataclasses.replace(short, histogram={"50": 3000, "100": 0, "400": 1000})
    assert load_of(mixed, 1e5, 0, 1).squares > 1.5 * load_of(even, 1e5, 0, 1).squares


def test_a_histogram_gives_the_squares_of_its_lengths() -> None:
    true = [30, 40, 45, 90, 160, 310, 305, 20]
    bins = {str(edge): sum(edge - 50 < length <= edge for length in true) for edge in range(50, 351, 50)}
    facts_of = LengthFacts(len(true), sum(true), 0, max(true), 45, 310, 0, 0, bins)
    found = load_of(facts_of, sum(true), 0, 1).squares
    assert found == pytest.approx(sum(length * length for length in true), rel=0.15)


def test_a_window_bounds_what_attention_sees() -> None:
    rows = lengths(rows=10, mean=8000, longest=8000)
    assert load_of(rows, 8e4, 0, 1, window=1024).squares < load_of(rows, 8e4, 0, 1).squares / 3


def test_no_gradient_flows_below_the_first_trained_layer() -> None:
    model = MODELS["1b"]
    adapter = AdapterSpec(layers="last 4")
    targets = resolve_targets(adapter, model)
    trained = trained_part(adapter, model, targets, count_parameters(adapter, targets, model).trainable)
    assert trained.first == 12
    manner = Manner(width=2, stored_width=2, unpacked=False, varlen=True, scores=False)
    load = load_of(lengths(), 4096, 0, 1)
    stack = stack_of(model)
    work = step_work(stack, trained, manner, load, 0)
    layer = stack.up_to[1]
    inlets = 2048 * (2048 + 2 * 512)
    assert work.products == 2 * 4096 * (16 * layer + 4 * layer - inlets)
    # Layers below it keep nothing, so checkpointing them computes nothing again.
    assert step_work(stack, trained, manner, load, 12) == work
    assert step_work(stack, trained, manner, load, 13).products == work.products + 2 * 4096 * layer


def test_full_training_takes_six_operations_a_weight_and_token() -> None:
    model, adapter = MODELS["1b"], AdapterSpec(method="full")
    trained = trained_part(adapter, model, resolve_targets(adapter, model), model.parameters)
    manner = Manner(width=2, stored_width=2, unpacked=False, varlen=True, scores=False)
    stack = stack_of(model)
    work = step_work(stack, trained, manner, load_of(lengths(), 1000, 500, 1), 0)
    assert work.products == 6 * 1000 * stack.up_to[-1] + 6 * 500 * stack.head


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_card_gives_a_time_and_an_energy(card: object) -> None:
    assert isinstance(card, type(CARDS[0]))
    device = GpuFacts(0, card.driver, card.capability, card.memory_bytes, card.memory_bytes - GIB)
    made = duration(Facts(machine(device), MODELS["135m"], data()))
    assert 0 < made.low_seconds < made.seconds < made.high_seconds < 1e6
    assert made.watt_hours > 0
