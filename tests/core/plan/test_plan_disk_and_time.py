"""Disk sizes exactly, and times that move the right way."""

import dataclasses

import pytest

from core.facts.types import Facts
from core.plan.disk import disk_of
from core.plan.parameters import count_parameters, resolve_targets
from core.plan.planner import plan
from core.plan.types import Duration
from core.units import MIB
from tests.core.plan.invented_facts import MACHINES, MODELS, NEW_CPU, data, facts, gpu, lengths, machine, spec


def duration(known: Facts, **settings: object) -> Duration:
    made = plan(spec(**settings), known).duration
    assert made is not None
    return made


def test_sizes_of_an_adapter_run() -> None:
    model, asked = MODELS["8b"], spec(training__keep_checkpoints=3)
    counted = count_parameters(asked.adapter, resolve_targets(asked.adapter, model), model)
    disk = disk_of(asked, model, counted, "adamw", 7)
    assert disk.adapter_bytes == 4 * 41_943_040
    assert disk.checkpoint_bytes == 12 * 41_943_040 + MIB
    assert disk.merged_bytes - 2 * model.parameters < 16 * MIB
    assert disk.run_bytes > 4 * disk.checkpoint_bytes + disk.adapter_bytes
    assert disk.free_bytes == 7


def test_sizes_of_a_full_run() -> None:
    model, asked = MODELS["1b"], spec(adapter__method="full")
    counted = count_parameters(asked.adapter, (), model)
    plain, paged = (disk_of(asked, model, counted, name, 0) for name in ("adamw", "paged_adamw_8bit"))
    assert plain.checkpoint_bytes > 12 * model.parameters > paged.checkpoint_bytes > 6 * model.parameters
    assert plain.adapter_bytes == plain.merged_bytes > 2 * model.parameters
    single = dataclasses.replace(model, dtype="F32")
    assert disk_of(asked, single, counted, "adamw", 0).merged_bytes > 4 * model.parameters


def test_more_work_takes_longer() -> None:
    known = facts("rtx4090", "1b")
    base = duration(known)
    assert base.low_seconds < base.seconds < base.high_seconds
    assert duration(known, training__epochs=4.0).seconds > base.seconds
    assert duration(known, hardware__activation_checkpointing="all").seconds > base.seconds
    assert duration(known, adapter__method="full", training__learning_rate=2e-5).seconds > base.seconds
    assert duration(facts("rtx4090", "8b")).seconds > base.seconds
    assert duration(facts("h100", "1b")).seconds < base.seconds
    assert duration(known, training__evaluate_every=1).seconds > base.seconds


def test_small_models_wait_for_kernels() -> None:
    # A 135 M model does not get faster on a faster GPU: its kernels are over before the next ones are launched.
    assert duration(facts("h100", "135m")).tokens_per_second == pytest.approx(
        duration(facts("rtx4090", "135m")).tokens_per_second
    )


def test_the_basis_says_that_it_is_rough() -> None:
    assert "rough" in duration(facts("rtx4090")).basis
    assert "165 TFLOP/s" in duration(facts("rtx4090")).basis
    unknown = Facts(machine(gpu("Mystery", (8, 6), 24)), MODELS["1b"], data())
    assert "compute capability 8.6" in duration(unknown).basis
    ancient = Facts(machine(gpu("Ancient", (6, 1), 24)), MODELS["1b"], data())
    assert duration(ancient).seconds > duration(unknown).seconds
    assert "16 cores" in duration(facts("cpu24", "135m")).basis


def test_two_cores_reach_what_was_measured_there() -> None:
    """A plain loop learned 311 tokens a second from SmolLM2-135M on 2 cores with AVX512-BF16."""
    two = machine(cpu=dataclasses.replace(NEW_CPU, physical_cores=2))
    rows = data(lengths(rows=999, mean=150, longest=529, supervised=0.75))
    assert duration(Facts(two, MODELS["135m"], rows)).tokens_per_second == pytest.approx(311, rel=0.15)


def test_processors_without_16_bits_are_slower() -> None:
    fast = Facts(MACHINES["cpu24"], MODELS["135m"], data())
    plain = dataclasses.replace(NEW_CPU, avx512_bf16=False)
    slow = dataclasses.replace(fast, hardware=dataclasses.replace(fast.hardware, cpu=plain))
    emulated = duration(slow, model__compute_dtype="bf16")
    assert duration(fast).seconds < duration(slow).seconds < emulated.seconds
