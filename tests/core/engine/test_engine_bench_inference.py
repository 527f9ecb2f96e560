"""Answers measured: a real model, its adapter apart and merged, in 16 and in 4 bits."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine.bench_inference import bench_inference  # noqa: E402
from core.engine.context import JobContext  # noqa: E402
from core.events.tail import EventTail  # noqa: E402
from core.events.types import Body, Completed, Stopped  # noqa: E402
from core.export.merge import merge_adapter  # noqa: E402
from core.records import from_plain  # noqa: E402
from core.runs.control import place_request  # noqa: E402
from core.runs.inference_bench import InferenceCell  # noqa: E402
from core.runs.layout import RunFolder  # noqa: E402
from tests.core.export.gguf.llama_models import make_model, tune  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path | None]]:
    """Model and adapter of each state."""
    folder = tmp_path_factory.mktemp("bench")
    tuned = tune(make_model(folder / "base", "llama"), folder / "adapter")
    merge_adapter(tuned.base, tuned.adapter, folder / "merged")
    return {"base": (tuned.base, None), "apart": (tuned.base, tuned.adapter), "merged": (folder / "merged", None)}


def work(folder: Path, model: Path, adapter: Path | None, *, stop: bool = False, **others: Any) -> Body:
    """The job in this process; its last word."""
    run = RunFolder(folder)
    run.control.mkdir(parents=True)
    if stop:
        place_request(run, "stop")
    context = JobContext(run)
    arguments = {
        "model": str(model), "adapter": str(adapter) if adapter else None, "device": "cpu", "threads": 1,
        "compute_dtype": "bf16", "prompt": 40, "generated": 6, **others,
    }  # fmt: skip
    try:
        bench_inference(context, arguments)
    finally:
        context.close()
    return [event.body for event in EventTail(run.events()).read()][-1]


@pytest.mark.parametrize("state", ["base", "apart", "merged"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_each_state_is_measured_in_16_and_in_4_bits(
    state: str, quantization: str, models: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    done = work(tmp_path / "job", *models[state], state=state, quantization=quantization)
    assert isinstance(done, Completed)
    cell = from_plain(InferenceCell, done.result["cell"])
    assert (cell.state, cell.prompt, cell.generated) == (state, 40, 6)
    assert cell.weights == ("bf16" if quantization == "none" else "nf4")
    assert min(cell.prefill, cell.generation) > 0
    assert 0 < cell.weight_bytes < cell.loaded_bytes
    assert cell.peak_bytes > cell.weight_bytes


def test_four_bits_and_a_merge_take_less(models: dict[str, tuple[Path, Path | None]], tmp_path: Path) -> None:
    sizes = {}
    for state, quantization in (("apart", "none"), ("merged", "none"), ("merged", "nf4")):
        done = work(tmp_path / state / quantization, *models[state], state=state, quantization=quantization)
        assert isinstance(done, Completed)
        sizes[state, quantization] = from_plain(InferenceCell, done.result["cell"]).weight_bytes
    assert sizes["merged", "nf4"] < sizes["merged", "none"] < sizes["apart", "none"]


def test_a_bench_that_is_stopped_ends_without_a_cell(
    models: dict[str, tuple[Path, Path | None]], tmp_path: Path
) -> None:
    done = work(tmp_path / "job", *models["base"], state="base", stop=True)
    assert done == Stopped(0, "stop", resumable=False)
