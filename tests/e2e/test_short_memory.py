"""The memory runs out in the middle of a step: the step is taken again with less at once, and learns the same."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.engine import training
from core.events.types import Notice
from core.runs.saved_states import list_checkpoints, read_manifest
from tests.e2e.real_runs import create, make_spec, run_folder, run_inside, write_rows
from tests.short_models import FEWEST_LAYERS

pytestmark = [pytest.mark.torch, pytest.mark.slow]

BUDGET = 256


def gpu_is_full() -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory.")


def ram_is_full() -> None:
    raise MemoryError


def allocator_refuses() -> None:
    """A real refusal of the allocator for the processor."""
    import torch

    torch.empty(1 << 60, dtype=torch.uint8)


def short_of_memory(
    monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None], is_short: Callable[[Any, int], bool]
) -> None:
    """Lets the second pass of a step fail, after the first one has left its gradients, while ``is_short`` says so."""
    usual = training.accumulate
    steps = [0]

    def accumulate(session: Any, rows: Any, passes: Any, *more: Any, **named: Any) -> Any:
        steps[0] += 1

        def failing() -> Iterator[Any]:
            for index, one in enumerate(passes):
                if index == 1 and is_short(session, steps[0]):
                    fail()
                yield one

        return usual(session, rows, failing(), *more, **named)

    monkeypatch.setattr(training, "accumulate", accumulate)


@pytest.mark.parametrize("fail", [gpu_is_full, ram_is_full, allocator_refuses])
def test_a_step_that_does_not_fit_is_taken_again_in_smaller_passes(
    fail: Callable[[], None], short_starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    settings = {"training__max_steps": 4, "training__micro_batch_tokens": BUDGET, "training__effective_batch": 8}
    usual = run_inside(short_starter, rows, **settings)
    short_of_memory(monkeypatch, fail, lambda session, step: session.counters.micro_batch_tokens == BUDGET and step > 1)
    short = run_inside(short_starter, rows, **settings)
    assert [notice.code for notice in short.of(Notice) if notice.level == "warning"] == ["smaller_passes"]
    assert short.losses == pytest.approx(usual.losses, rel=1e-5)
    assert len(short.losses) == 4
    counters = read_manifest(list_checkpoints(short.folder.checkpoints)[-1]).counters
    assert counters.micro_batch_tokens == BUDGET // 2


def test_where_one_row_alone_is_too_much_all_layers_are_recomputed_and_stay_so(
    short_starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    settings = {"training__max_steps": 4, "training__micro_batch_tokens": 8, "data__packing": "off"}
    usual = run_inside(short_starter, rows, **settings)
    with monkeypatch.context() as patch:
        short_of_memory(patch, gpu_is_full, lambda session, step: session.counters.recomputed_layers == 0 and step > 1)
        short = run_inside(short_starter, rows, **settings)
    assert [notice.code for notice in short.of(Notice) if notice.level == "warning"] == ["more_recomputed_layers"]
    assert short.losses == usual.losses
    counters = read_manifest(list_checkpoints(short.folder.checkpoints)[-1]).counters
    assert counters.recomputed_layers == FEWEST_LAYERS


def test_memory_that_is_short_for_good_ends_the_run_with_the_reason(
    short_starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    short_of_memory(monkeypatch, gpu_is_full, lambda session, step: True)
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    folder = create(make_spec(short_starter, rows, training__micro_batch_tokens=8, data__packing="off"))
    with pytest.raises(torch.OutOfMemoryError):
        run_folder(folder)


def test_an_evaluation_that_does_not_fit_is_taken_again(
    short_starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    settings = {
        "training__max_steps": 2, "training__micro_batch_tokens": BUDGET, "data__validation_share": 0.3,
    }  # fmt: skip
    usual = run_inside(short_starter, rows, **settings)
    evaluate = training.evaluate

    def failing(*given: Any, budget: int, **more: Any) -> Any:
        if budget == BUDGET:
            gpu_is_full()
        return evaluate(*given, budget=budget, **more)

    monkeypatch.setattr(training, "evaluate", failing)
    short = run_inside(short_starter, rows, **settings)
    assert short.validation == pytest.approx(usual.validation, rel=1e-5)
    assert len(short.validation) == 3
