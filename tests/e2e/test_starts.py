"""Adapters that begin as a part of the weights, in real runs: the result fits the base, a resumed run is the same."""

from pathlib import Path

import pytest

from core.runs.layout import RunFolder
from tests.e2e.real_runs import create, execute, make_spec, write_rows
from tests.short_models import load

pytestmark = [pytest.mark.torch, pytest.mark.slow]

SETTINGS = {"training__max_steps": 6, "data__validation_share": 0.2, "training__evaluate_every": 6}


def trained(folder: RunFolder) -> dict:
    from safetensors.torch import load_file

    return load_file(folder.adapter / "adapter_model.safetensors")


@pytest.mark.parametrize("kind", ["pissa", "olora"])
def test_plain_peft_on_the_base_measures_the_loss_that_the_run_measured(
    kind: str, short_starter: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel

    from core.data.dataset import load_dataset
    from core.engine.evaluation import evaluate
    from core.engine.loss import make_loss_head
    from core.export.merge import merge_adapter
    from core.facts.model_files import read_model

    rows = write_rows(tmp_path / "rows.jsonl", 30)
    folder = create(make_spec(short_starter, rows, adapter__start=kind, **SETTINGS))
    finished = execute(folder)
    assert finished.outcome.kind == "completed", finished.outcome
    assert finished.losses[-1] < finished.losses[0]
    merge_adapter(short_starter, folder.adapter, tmp_path / "merged")
    spec = make_spec(short_starter, rows, **SETTINGS)
    held_back = load_dataset(spec.data, spec.training.seed, read_model(short_starter)).validation
    adapted = PeftModel.from_pretrained(load(short_starter), str(folder.adapter)).base_model.model
    for model in (adapted, load(tmp_path / "merged")):
        measured = evaluate(make_loss_head(model), held_back, budget=64, packing=False, device=torch.device("cpu"))
        assert measured.loss == pytest.approx(finished.validation[-1], rel=1e-5)
    assert finished.validation[-1] < finished.validation[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter__start": "pissa", "adapter__dropout": 0.1},
        {"adapter__b_rate_ratio": 8.0, "training__optimizer": "lion"},
        {"training__optimizer": "muon", "training__schedule": "cosine_restarts"},
        {"training__optimizer": "adafactor", "training__embedding_noise": 5.0},
        {"hardware__deterministic": True, "adapter__dropout": 0.1},
    ],
    ids=lambda settings: ", ".join(f"{key.partition('__')[2]}={value}" for key, value in settings.items()),
)
def test_a_run_that_was_stopped_on_the_way_ends_with_the_same_bits(
    settings: dict, short_starter: Path, tmp_path: Path
) -> None:
    import torch

    rows = write_rows(tmp_path / "rows.jsonl", 14)  # six steps of four rows reach into the second epoch
    spec = make_spec(short_starter, rows, training__max_steps=6, hardware__threads=1, **settings)
    straight, halting = create(spec), create(spec.replace("output.name", "halting"))
    whole = execute(straight)
    assert whole.outcome.kind == "completed", whole.outcome
    halting.control.mkdir(exist_ok=True)

    def pause_at_three(_supervisor: object, event: object) -> None:
        if getattr(event.body, "step", 0) == 3:  # type: ignore[attr-defined]
            halting.request("pause").touch()

    halved = execute(halting, pause_at_three)
    assert 0 < len(halved.losses) < 6
    resumed = execute(halting)
    assert resumed.outcome.kind == "completed", resumed.outcome
    assert resumed.losses == whole.losses
    one, other = trained(straight), trained(halting)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
