"""What earlier runs on a device measured moves a plan's peak, narrows its band, and concerns no other device."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.facts.types import DeviceRecord, Facts
from core.plan.hindsight import measurable_bytes, uncorrected
from core.plan.memory.experience import LARGEST_SHIFT, LEAST_BAND, Experience, experience_of
from core.plan.planner import plan
from core.plan.types import Memory
from core.spec.run_spec import RunSpec
from core.units import GIB
from tests.core.plan.invented_facts import facts, spec

DEVICES = ("rtx4090", "cpu24")


def name_of(known: Facts) -> str:
    gpus = known.hardware.gpus
    return gpus[0].name if gpus else known.hardware.cpu.name


def planned(known: Facts, *residuals: float, device: str = "", outside: tuple[int, ...] = ()) -> Memory:
    record = DeviceRecord(device or name_of(known), residuals, outside)
    memory = plan(ASKED, dataclasses.replace(known, records=(DeviceRecord("another", (0.4,)), record))).memory
    assert memory is not None
    assert sum(part.bytes for part in memory.parts) == memory.peak_bytes
    assert all(part.bytes >= 0 for part in memory.parts)
    return memory


ASKED: RunSpec = spec()


@pytest.mark.parametrize("machine", DEVICES)
def test_records_move_the_peak_and_narrow_the_band(machine: str) -> None:
    known = facts(machine, "1b")
    before = plan(ASKED, known).memory
    after = planned(known, 0.03, 0.05, 0.04)
    assert before is not None
    assert before.measured_runs == 0
    assert after.measured_runs == 3
    assert measurable_bytes(after) == pytest.approx(1.04 * measurable_bytes(before), rel=1e-6)
    assert after.high_bytes - after.low_bytes < 0.7 * (before.high_bytes - before.low_bytes)
    assert after.low_bytes < after.peak_bytes < after.high_bytes


@pytest.mark.parametrize("machine", DEVICES)
def test_less_than_predicted_moves_it_down(machine: str) -> None:
    known = facts(machine, "1b")
    before = plan(ASKED, known).memory
    after = planned(known, -0.05, -0.05)
    assert before is not None
    assert measurable_bytes(after) == pytest.approx(0.95 * measurable_bytes(before), rel=1e-6)


@pytest.mark.parametrize("machine", DEVICES)
def test_another_device_teaches_nothing(machine: str) -> None:
    known = facts(machine, "1b")
    assert planned(known, 0.3, device="some other") == plan(ASKED, known).memory


@pytest.mark.parametrize("machine", DEVICES)
def test_more_runs_that_agree_are_surer_and_scattered_ones_are_not(machine: str) -> None:
    known = facts(machine, "1b")
    widths = [planned(known, *[0.02] * count).high_bytes for count in (1, 2, 4, 8)]
    assert widths == sorted(widths, reverse=True)
    scattered = planned(known, -0.2, 0.0, 0.2)
    assert scattered.high_bytes >= 1.2 * scattered.peak_bytes - 1


def test_a_gpu_shows_what_earlier_runs_showed() -> None:
    known = facts("rtx4090", "1b")
    after = planned(known, 0.0, outside=(2 * GIB, 3 * GIB, 4 * GIB))
    assert after.shown_bytes == measurable_bytes(after) + 3 * GIB


def test_what_a_run_is_held_against_knows_no_records() -> None:
    known = dataclasses.replace(facts("cpu24", "1b"), records=(DeviceRecord(name_of(facts("cpu24", "1b")), (0.2,)),))
    chosen = plan(ASKED, known)
    assert chosen.memory is not None
    again = uncorrected(ASKED, known, chosen.choices, largest_pass=100)
    assert again.memory is not None
    assert again.memory.measured_runs == 0
    assert again.memory.peak_bytes < chosen.memory.peak_bytes
    for name in ("quantization", "checkpointed_layers", "optimizer", "attention", "compute_dtype", "packing"):
        assert getattr(again.choices, name).value == getattr(chosen.choices, name).value


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=25), st.floats(0, 1e12))
def test_no_record_makes_a_peak_absurd(residuals: list[float], unlearned: float) -> None:
    learned = experience_of((DeviceRecord("it", tuple(residuals)),), "it")
    assert -LARGEST_SHIFT <= learned.shift <= LARGEST_SHIFT
    assert learned.runs <= len(residuals)
    assert learned.margin(1000, unlearned) >= (LEAST_BAND * 1000 if learned.runs else 0)


def test_without_runs_the_band_is_what_it_was() -> None:
    assert experience_of((), "it") == Experience()
    assert Experience().margin(1000, 123.0) == 123.0
