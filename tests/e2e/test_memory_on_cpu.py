"""The planned peak RAM of real runs is what they take; more settings are in benchmarks/memory_on_cpu.py."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory_on_cpu import SETTINGS, USUAL
from core.plan.hindsight import measurable_bytes
from core.runs.device_records import read_records
from core.runs.store import load_facts, load_plan
from tests.e2e.real_runs import run

pytestmark = [pytest.mark.torch, pytest.mark.slow]

FEWER_ROWS: dict[str, Any] = {"training__effective_batch": 8}
"""Two passes or three a step: as much memory as twice as many, in half of the time."""


@pytest.mark.parametrize("name", ["usual", "recomputed", "NF4", "8-bit AdamW"])
def test_a_run_takes_what_was_planned(
    starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LOWRANK_HOME", str(tmp_path))
    finished = run(starter, output__folder=str(tmp_path / "runs"), **{**USUAL, **SETTINGS[name], **FEWER_ROWS})
    planned, measured = load_plan(finished.folder).memory, finished.state.memory
    assert planned is not None
    assert measured is not None
    assert measured.peak_bytes == pytest.approx(planned.peak_bytes, rel=0.1)
    assert planned.low_bytes <= measured.peak_bytes <= planned.high_bytes
    assert measured.predicted_bytes == measurable_bytes(planned)
    assert {"loading", "step", "saving"} <= set(measured.peaks)
    assert measured.peaks["step"] == measured.peak_bytes
    (record,) = read_records().records
    assert record.device == load_facts(finished.folder).hardware.cpu.name
    assert record.residuals == pytest.approx([measured.residual], abs=0.01)
