"""Every automatic choice: what is taken on which machine, with which number in its reason, and what a spec fixes."""

import dataclasses
import re

import pytest

from core.facts.types import Facts
from core.plan.choices import decide
from core.plan.planner import plan
from core.plan.search import SMALLEST_PASS, longest_row
from tests.core.plan.invented_facts import MACHINES, MODELS, OLD_CPU, data, facts, gpu, lengths, machine, spec


def value_of(name: str, known: Facts, **settings: object) -> object:
    return getattr(plan(spec(**settings), known).choices, name).value


@pytest.mark.parametrize("machine_name", MACHINES)
@pytest.mark.parametrize("model_name", MODELS)
def test_every_reason_is_a_sentence_with_its_number(machine_name: str, model_name: str) -> None:
    choices = plan(spec(), facts(machine_name, model_name)).choices
    for field in dataclasses.fields(choices):
        chosen = getattr(choices, field.name)
        assert not chosen.by_user
        assert chosen.reason[0].isupper() or chosen.reason[0].isdigit()
        assert chosen.reason.endswith(".")
        # In which form layers compute is a matter of kind where nothing is measured; no number was compared.
        assert field.name == "kernels" or re.search(r"\d", chosen.reason), (field.name, chosen.reason)


def test_the_gpu_with_most_free_memory_is_taken() -> None:
    two = machine(gpu("A", (8, 6), 12, 6.0, 0), gpu("B", (8, 9), 8, 0.5, 1))
    assert value_of("device", Facts(two, MODELS["1b"], data())) == "cuda:1"
    assert value_of("device", facts("cpu24")) == "cpu"
    assert value_of("device", facts("rtx3060"), hardware__device="cpu") == "cpu"


def test_a_gpu_that_pytorch_has_no_kernels_for_is_taken_last_and_refused() -> None:
    old, new = gpu("Old", (6, 1), 24, 1.0, 0), gpu("New", (7, 5), 8, 1.0, 1)
    assert value_of("device", Facts(machine(old, new), MODELS["135m"], data())) == "cuda:1"
    alone = plan(spec(), Facts(machine(old), MODELS["135m"], data()))
    (refusal,) = (problem for problem in alone.problems if "no kernels for Old" in problem.message)
    assert refusal.path == "hardware.device"
    assert not alone.can_start
    assert [edit.value for fix in refusal.fixes for edit in fix.edits] == ["cpu"]
    unknown = plan(spec(), Facts(machine(gpu("Silent", (0, 0), 24)), MODELS["135m"], data()))
    assert not any("no kernels" in problem.message for problem in unknown.problems)


@pytest.mark.parametrize(
    ("machine_name", "dtype", "attention"),
    [
        ("rtx3060", "bf16", "flash"),
        ("h100", "bf16", "flash"),
        ("t4", "fp16", "sdpa"),
        ("cpu24", "bf16", "flash"),
    ],
)
def test_number_format_and_attention_follow_the_hardware(machine_name: str, dtype: str, attention: str) -> None:
    choices = plan(spec(), facts(machine_name, "135m")).choices
    assert (choices.compute_dtype.value, choices.attention.value) == (dtype, attention)


def test_an_old_processor_computes_in_32_bits() -> None:
    known = Facts(machine(), MODELS["135m"], data())
    assert value_of("compute_dtype", known) == "fp32"
    amx = Facts(machine(cpu=dataclasses.replace(OLD_CPU, amx_bf16=True)), MODELS["135m"], data())
    assert value_of("compute_dtype", amx) == "bf16"
    slow = plan(spec(model__compute_dtype="bf16"), known)
    assert slow.choices.compute_dtype.value == "bf16"
    assert any("no fast bfloat16" in problem.message for problem in slow.problems)


def test_bfloat16_on_an_old_gpu_is_a_warning_with_a_fix() -> None:
    known = facts("t4", "135m")
    (problem,) = [p for p in plan(spec(model__compute_dtype="bf16"), known).problems if p.path == "model.compute_dtype"]
    assert "7.5" in problem.message
    assert problem.fixes[0].edits[0].value == "fp16"


def test_weights_stay_in_16_bits_where_they_fit() -> None:
    assert value_of("quantization", facts("rtx3060", "1b")) == "none"
    assert value_of("quantization", facts("rtx3060", "8b")) == "nf4"
    assert value_of("quantization", facts("h100", "8b")) == "none"
    assert value_of("quantization", facts("h100", "70b")) == "nf4"
    assert value_of("quantization", facts("rtx3060", "8b"), adapter__method="full") == "none"
    assert value_of("quantization", facts("cpu24", "1b"), model__quantization="int8") == "int8"


def test_checkpointing_takes_the_fewest_layers_that_fit() -> None:
    assert value_of("checkpointed_layers", facts("rtx4090", "1b")) == 0
    decision = decide(spec(), facts("rtx4090", "8b"))
    count, settings = decision.settings.checkpointed_layers, decision.settings
    assert 0 < count < 32
    assert settings.footprint is not None
    allowed = 0.9 * decision.memory.free_bytes
    assert (
        settings.footprint.peak(settings.tokens, count) <= allowed < settings.footprint.peak(settings.tokens, count - 1)
    )


@pytest.mark.parametrize(
    ("mode", "layers", "count"), [("off", 0, 0), ("all", 0, 16), ("layers", 5, 5), ("layers", 99, 16)]
)
def test_checkpointing_as_asked(mode: str, layers: int, count: int) -> None:
    asked = {"hardware__activation_checkpointing": mode, "hardware__checkpointed_layers": layers}
    chosen = plan(spec(**asked), facts("rtx3060", "1b")).choices.checkpointed_layers
    assert (chosen.value, chosen.by_user) == (count, True)


def test_pass_sizes() -> None:
    assert value_of("micro_batch_tokens", facts("h100", "1b")) == 4096
    assert value_of("micro_batch_tokens", facts("cpu24", "135m")) == 2048
    long_rows = data(lengths(longest=7000))
    known = Facts(MACHINES["h100"], MODELS["1b"], long_rows)
    assert value_of("micro_batch_tokens", known, data__max_length=8192) == 7000
    assert value_of("micro_batch_tokens", known, data__max_length=1024) == 4096
    assert value_of("micro_batch_tokens", facts("h100", "1b"), training__micro_batch_tokens=640) == 640


@pytest.mark.parametrize("longest", [40, 300, 1100, 5000])
@pytest.mark.parametrize("machine_name", MACHINES)
def test_an_automatic_pass_always_holds_the_longest_row(machine_name: str, longest: int) -> None:
    known = Facts(MACHINES[machine_name], MODELS["8b"], data(lengths(mean=30, longest=longest)))
    chosen = value_of("micro_batch_tokens", known, data__max_length=8192)
    assert isinstance(chosen, int)
    assert chosen >= max(longest, SMALLEST_PASS)


def test_the_longest_row_is_the_one_that_is_there() -> None:
    assert longest_row(spec(data__max_length=4096), facts()) == 1100
    assert longest_row(spec(data__max_length=512), facts()) == 512
    assert longest_row(spec(data__max_length=512), dataclasses.replace(facts(), data=None)) == 512
    # The files were read with a lower limit: what lies beyond it is not known.
    cut = dataclasses.replace(facts(), data=data(lengths(longest=1024, truncated=5, lost=900)))
    assert longest_row(spec(data__max_length=4096), cut) == 4096
    assert longest_row(spec(data__max_length=1024), cut) == 1024


def test_a_step_of_few_rows_bounds_the_pass() -> None:
    known = Facts(MACHINES["rtx3060"], MODELS["1b"], data(lengths(mean=50, longest=100)))
    small = plan(spec(training__effective_batch=2), known).memory
    large = plan(spec(training__effective_batch=64), known).memory
    assert small is not None
    assert large is not None
    assert small.peak_bytes < large.peak_bytes
    assert "200 tokens" in next(part.detail for part in small.parts if part.name == "activations")


def test_packing_is_off_where_state_would_leak() -> None:
    leaking = dataclasses.replace(MODELS["1b"], state_leaks=True, architecture="MambaForCausalLM")
    known = Facts(MACHINES["rtx3060"], leaking, data())
    chosen = plan(spec(), known).choices.packing
    assert not chosen.value
    assert "MambaForCausalLM" in chosen.reason
    forced = plan(spec(data__packing="on"), known)
    assert not forced.choices.packing.value
    assert not forced.can_start
    assert forced.batch is not None
    assert forced.batch.passes_per_step == 16


def test_optimizers() -> None:
    assert value_of("optimizer", facts("rtx3060", "8b")) == "adamw"
    assert value_of("optimizer", facts("h100", "1b"), adapter__method="full") == "adamw"
    assert value_of("optimizer", facts("rtx4090", "1b"), adapter__method="full") == "paged_adamw_8bit"
    assert value_of("optimizer", facts("cpu24", "135m"), adapter__method="full") == "adamw"
    asked = plan(spec(training__optimizer="adamw_8bit"), facts("rtx3060", "1b")).choices.optimizer
    assert (asked.value, asked.by_user) == ("adamw_8bit", True)


def test_paging_needs_a_gpu() -> None:
    made = plan(spec(training__optimizer="paged_adamw_8bit"), facts("cpu24", "135m"))
    assert made.choices.optimizer.value == "adamw_8bit"
    assert not made.choices.optimizer.by_user
    (problem,) = [problem for problem in made.problems if problem.path == "training.optimizer"]
    assert problem.fixes[0].edits[0].value == "adamw_8bit"


def test_flash_where_it_cannot_run() -> None:
    refused = plan(spec(hardware__attention="flash"), facts("t4", "1b"))
    assert refused.choices.attention.value == "sdpa"
    assert not refused.can_start
    wide = dataclasses.replace(MODELS["1b"], head_dim=512)
    assert value_of("attention", Facts(MACHINES["h100"], wide, data())) == "sdpa"
    assert value_of("attention", facts("h100", "1b"), model__compute_dtype="fp32") == "sdpa"
    assert value_of("attention", facts("h100", "1b"), hardware__attention="eager") == "eager"


def test_threads_and_evaluations() -> None:
    known = facts("cpu24", "135m")
    assert value_of("threads", known) == 16
    assert value_of("threads", known, hardware__threads=3) == 3
    # 2 epochs of 2,000 rows, 16 a step: 250 steps.
    assert value_of("evaluate_every", known) == 25
    assert value_of("evaluate_every", known, training__max_steps=3) == 1
    assert value_of("evaluate_every", known, training__evaluate_every=7) == 7
    none = dataclasses.replace(known, data=data(validation=lengths(0, 0, 0)))
    assert value_of("evaluate_every", none) == 0


def test_settings_that_do_not_matter_change_nothing() -> None:
    known = facts("rtx4090", "1b")
    pairs = (
        (
            {"adapter__method": "full"},
            {"adapter__rank": 7, "adapter__targets": ("q_proj",), "adapter__layers": "last 2"},
        ),
        ({"training__max_steps": 50}, {"training__epochs": 9.0}),
        ({"model__quantization": "none"}, {"model__double_quant": False}),
        ({"hardware__activation_checkpointing": "off"}, {"hardware__checkpointed_layers": 9}),
        ({"adapter__method": "full"}, {"adapter__modules_to_save": ("lm_head",), "adapter__dropout": 0.5}),
    )
    for base, hidden in pairs:
        assert plan(spec(**base), known) == plan(spec(**base, **hidden), known), hidden


@pytest.mark.parametrize(
    ("settings", "validation", "value", "reason"),
    [
        ({}, 5, "last", "learned from 100 %"),
        ({"training__early_stopping": 3}, 5, "best", "The last 3 evaluations"),
        ({"training__early_stopping": 3}, 0, "last", "0 validation rows"),
        ({"training__early_stopping": 3, "training__keep_best": False}, 5, "last", "not to keep"),
        ({"training__early_stopping": 3, "training__result": "last"}, 5, "last", "You chose the last"),
        ({"training__result": "best"}, 5, "best", "You chose the best"),
    ],
)
def test_which_state_the_finished_model_is_made_of(
    settings: dict[str, object], validation: int, value: str, reason: str
) -> None:
    known = Facts(MACHINES["rtx4090"], MODELS["1b"], data(lengths(rows=100), lengths(validation)))
    chosen = plan(spec(**settings), known).choices.result
    assert chosen.value == value
    assert reason in chosen.reason


def test_a_state_that_is_kept_takes_disk_and_time() -> None:
    kept, not_kept = (plan(spec(training__keep_best=keep), facts("h100", "8b")) for keep in (True, False))
    assert kept.disk is not None
    assert not_kept.disk is not None
    assert kept.disk.run_bytes == not_kept.disk.run_bytes + kept.disk.checkpoint_bytes
    assert kept.duration is not None
    assert not_kept.duration is not None
    assert kept.duration.parts["saving"] > not_kept.duration.parts["saving"]


def test_a_base_is_shared_where_a_whole_one_for_each_process_does_not_fit() -> None:
    two = machine(gpu("A", (8, 9), 16, 1.0, 0), gpu("B", (8, 9), 16, 1.0, 1), ram_gib=256, free_gib=240)
    known = Facts(two, MODELS["8b"], data())
    made = plan(spec(hardware__processes=2), known)
    sharding = made.choices.sharding
    assert (sharding.value, made.choices.quantization.value) == ("base", "none")
    assert "A whole base model in each process would take at least" in sharding.reason
    assert "shared among 2 processes" in sharding.reason
    assert made.memory is not None
    assert made.memory.verdict == "fits"
    weights = next(part for part in made.memory.parts if part.name == "weights")
    model = MODELS["8b"]
    layer = sum(one.in_features * one.out_features for one in model.linears if one.layer == 0)
    blocks = layer * model.num_layers
    # half of the layers, embeddings and head whole, and three gathered layers
    expected = 2 * (blocks // 2 + (model.parameters - blocks) + 3 * layer)
    assert weights.bytes == pytest.approx(expected, rel=1e-5)
    assert "shared by 2 processes" in weights.detail


def test_a_base_is_shared_only_where_that_helps_and_can_be() -> None:
    two = machine(gpu("A", (8, 9), 16, 1.0, 0), gpu("B", (8, 9), 16, 1.0, 1), ram_gib=256, free_gib=240)
    small, large = Facts(two, MODELS["1b"], data()), Facts(two, MODELS["8b"], data())
    assert value_of("sharding", small, hardware__processes=2) == "off"
    assert value_of("sharding", small, hardware__processes=2, hardware__sharding="base") == "base"
    assert value_of("sharding", large) == "off"
    for settings in ({"hardware__sharding": "off"}, {"model__quantization": "nf4"}, {"adapter__method": "full"}):
        assert value_of("sharding", large, hardware__processes=2, **settings) == "off"
    assert value_of("quantization", large, hardware__processes=2, hardware__sharding="off") == "nf4"
    huge = Facts(two, MODELS["70b"], data())
    made = plan(spec(hardware__processes=2), huge)
    assert made.choices.quantization.value == "nf4"
    assert made.choices.sharding.value == "off"
    assert not made.can_start
