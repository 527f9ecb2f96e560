"""Whole runs on a GPU: plan, engine process, saved states, resume to the bit, a real lack of memory, samples."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from core.events.types import (
    CheckpointSaved,
    Completed,
    Evaluated,
    MemoryMeasured,
    Notice,
    Sampled,
    Started,
    Step,
)
from tests.e2e.real_runs import Finished, create, execute, make_spec, run, write_rows

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STEPS = 6
ON_GPU = {"hardware__device": "cuda", "hardware__kernels": "plain", "model__compute_dtype": "bf16"}


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 48)


def warned(finished: Finished) -> list[str]:
    return [f"{one.code}: {one.message}" for one in finished.of(Notice) if one.level == "warning"]


def files(finished: Finished) -> list[bytes]:
    return [
        (finished.folder.adapter / name).read_bytes()
        for name in ("adapter_model.safetensors", "adapter_config.json")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model__quantization": "nf4", "training__optimizer": "paged_adamw_8bit"},
        {"model__quantization": "int8", "training__optimizer": "adamw_8bit"},
        {"model__compute_dtype": "fp16"},
        {"model__compute_dtype": "fp32"},
        {"adapter__method": "full", "training__learning_rate": 1e-4},
        {"adapter__method": "dora", "adapter__dropout": 0.1, "hardware__activation_checkpointing": "all"},
        {"adapter__start": "pissa"},
    ],
    ids=lambda settings: ", ".join(map(str, settings.values())) or "usual",
)
def test_a_run_from_the_plan_to_the_adapter(settings: dict[str, Any], fresh_model: Path, rows: Path) -> None:
    finished = run(
        fresh_model,
        rows,
        **{
            **ON_GPU,
            "training__max_steps": 12,
            "training__evaluate_every": 6,
            "data__validation_share": 0.2,
            "training__sample_prompts": ("What is a cat?",),
            "training__sample_tokens": 4,
            **settings,
        },
    )
    (started,) = finished.of(Started)
    narrow = settings.get("model__compute_dtype") != "fp32"
    assert started.attention == ("flash attention (varlen)" if narrow else started.attention)
    assert len(finished.losses) == 12
    assert finished.losses[-1] < finished.losses[0]
    assert finished.of(Evaluated)
    assert finished.of(Sampled)
    assert finished.of(CheckpointSaved)
    assert isinstance(finished.events[-1].body, Completed)
    measured = finished.of(MemoryMeasured)
    assert measured
    assert all(one.device == torch.cuda.get_device_name() for one in measured)
    assert warned(finished) == []


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_killed_and_resumed_is_bit_for_bit_the_uninterrupted_run(
    quantization: str, fresh_model: Path, rows: Path
) -> None:
    settings = {
        **ON_GPU,
        "model__quantization": quantization,
        "hardware__deterministic": True,
        "training__max_steps": STEPS,
        "adapter__dropout": 0.1,
        "training__checkpoint_minutes": 0.0001,
        "data__validation_share": 0.1,
    }
    whole = run(fresh_model, rows, **settings)
    folder = create(make_spec(fresh_model, rows, **settings))

    def kill_after_three(_: object, event: object) -> None:
        body = getattr(event, "body", None)
        if isinstance(body, Step) and body.step == 3:
            os.kill(json.loads(folder.process.read_text())["pid"], signal.SIGKILL)

    killed = execute(folder, kill_after_three)
    assert killed.outcome is not None
    assert killed.outcome.kind == "crashed"
    resumed = execute(folder)
    assert resumed.outcome is not None
    assert resumed.outcome.kind == "completed", resumed.outcome
    assert resumed.of(Started)[-1].step > 0, "the resumed run started from nothing"
    assert resumed.losses == whole.losses
    assert files(resumed) == files(whole)


def test_two_runs_are_the_same_without_being_asked_to_be(fresh_model: Path, rows: Path) -> None:
    """Not promised without hardware.deterministic, but a GPU that repeats itself to 1e-3 is what people expect."""
    settings = {**ON_GPU, "training__max_steps": STEPS}
    one, other = (run(fresh_model, rows, **settings) for _ in range(2))
    assert one.losses == pytest.approx(other.losses, rel=1e-3)


def test_a_real_lack_of_memory_is_got_by_with_and_learns_the_same(
    fresh_model: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator refuses, as on a full card: what a step needs is taken away from it right before the first."""
    from core.engine import layer_choice, training
    from tests.e2e.real_runs import run_inside

    settings = {
        **ON_GPU,
        "model__compute_dtype": "fp32",
        "training__max_steps": 3,
        "training__effective_batch": 32,
        "training__micro_batch_tokens": 4096,
    }
    usual = run_inside(fresh_model, rows, **settings)
    choose = layer_choice.choose_layers

    def choose_and_fill(session: Any) -> None:
        choose(session)
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 64 * 2**20) / total)

    monkeypatch.setattr(training, "choose_layers", choose_and_fill)
    try:
        short = run_inside(fresh_model, rows, **settings)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    codes = [notice.code for notice in short.of(Notice) if notice.level == "warning"]
    assert codes
    assert set(codes) <= {"smaller_passes", "more_recomputed_layers"}
    assert short.losses == pytest.approx(usual.losses, rel=1e-4)
