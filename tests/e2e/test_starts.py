"""Adapters that begin as a part of the weights, in real runs: the result fits the base, a resumed run is the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.events.types import Body, Started, Step
from core.runs.control import place_request
from core.runs.layout import RunFolder
from tests.e2e.real_runs import create, execute_inside, make_spec, run_inside, write_rows
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
    finished = run_inside(short_starter, rows, adapter__start=kind, **SETTINGS)
    folder = finished.folder
    assert finished.losses[-1] < finished.losses[0]
    merge_adapter(short_starter, folder.adapter, tmp_path / "merged")
    spec = make_spec(short_starter, rows, **SETTINGS)
    held_back = load_dataset(spec.data, spec.training.seed, read_model(short_starter)).validation
    adapted = PeftModel.from_pretrained(load(short_starter), str(folder.adapter)).base_model.model
    for model in (adapted, load(tmp_path / "merged")):
        measured = evaluate(make_loss_head(model), held_back, budget=64, packing=False, device=torch.device("cpu"))
        assert measured.loss == pytest.approx(finished.validation[-1], rel=1e-5)
    assert finished.validation[-1] < finished.validation[0]


@pytest.fixture
def usual_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run may ask for deterministic kernels for all of its process, which other tests share here."""
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.usefixtures("usual_kernels")
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
    """Here in one process, in test_real_runs.py and test_random_kills.py in one of its own for each attempt."""
    import torch

    rows = write_rows(tmp_path / "rows.jsonl", 14)  # six steps of four rows reach into the second epoch
    spec = make_spec(short_starter, rows, training__max_steps=6, hardware__threads=1, **settings)
    straight, halting = create(spec), create(spec.replace("output.name", "halting"))
    whole = execute_inside(straight)

    def pause_at_three(body: Body) -> None:
        if isinstance(body, Step) and body.step == 3:
            place_request(halting, "pause")

    halved = execute_inside(halting, pause_at_three)
    assert len(halved.losses) == 3
    assert not halting.adapter.exists()
    resumed = execute_inside(halting)
    assert [started.step for started in resumed.of(Started)] == [0, 3]
    assert resumed.losses == whole.losses
    assert len(whole.losses) == 6
    one, other = trained(straight), trained(halting)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
