"""What `show` says of a run's memory: planned, measured, and the difference; and the same for programs."""

import io
from pathlib import Path

import pytest

from core.cli.console import Console
from core.cli.run_report import print_memory, run_record
from core.events.run_state import RunState
from core.events.types import MemoryMeasured
from core.runs.layout import RunFolder
from core.units import GIB


def said(memory: MemoryMeasured | None) -> str:
    out = io.StringIO()
    print_memory(Console(out=out), RunState(memory=memory))
    return out.getvalue()


@pytest.mark.parametrize(("measured", "words"), [(11, "10.0% more"), (9, "10.0% less"), (10, "0.0% more")])
def test_planned_and_measured(measured: int, words: str) -> None:
    text = said(MemoryMeasured(9, "AMD EPYC", 10 * GIB, measured * GIB, {"loading": GIB, "step": measured * GIB}))
    assert f"10 GiB planned, {measured} GiB measured ({words})" in text.replace(".0 GiB", " GiB")
    assert "loading" in text
    assert "GPU" not in text


def test_a_run_of_small_passes_is_held_against_those() -> None:
    text = said(MemoryMeasured(9, "RTX 4090", 4 * GIB, GIB, {"step": GIB}, pass_tokens=1431, counted_bytes=GIB))
    assert "1.0 GiB measured, 1.0 GiB counted for its largest pass of 1,431 tokens (0.0% more)" in text
    assert "planned        4.0 GiB at most" in text


def test_a_gpu_tells_what_its_driver_showed() -> None:
    text = said(MemoryMeasured(9, "RTX 4090", GIB, GIB, {"step": GIB}, 2 * GIB, 3 * GIB))
    assert "2.0 GiB held by the allocator, 3.0 GiB shown by its driver" in text


def test_without_a_prediction_or_a_measurement() -> None:
    assert "no prediction" in said(MemoryMeasured(3, "AMD EPYC", 0, GIB, {"step": GIB}))
    assert said(None) == ""


def test_programs_get_the_same(tmp_path: Path) -> None:
    measured = MemoryMeasured(9, "AMD EPYC", 1000, 1100, {"step": 1100})
    record = run_record(RunFolder(tmp_path), RunState(memory=measured), None)["memory"]
    assert (record["predicted_bytes"], record["peak_bytes"], record["peaks"]) == (1000, 1100, {"step": 1100})
    assert record["residual"] == pytest.approx(0.1)
    assert run_record(RunFolder(tmp_path), RunState(), None)["memory"] is None
