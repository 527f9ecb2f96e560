"""What runs measured is kept, bounded and shared by processes; a damaged file costs a sentence and never a run."""

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.facts.types import DeviceRecord
from core.plan.hindsight import FORMULA
from core.runs.device_records import MOST_DEVICES, NEWEST, Measurement, Remembered, read_records, records_file, remember

GPU = "NVIDIA GeForce RTX 4090"


def test_nothing_is_known_at_first() -> None:
    assert read_records().records == ()
    assert read_records().problem == ""
    assert not records_file().exists()


def test_each_device_has_a_record_and_the_newest_value_is_last() -> None:
    remember(GPU, Measurement(0.02, 500, 1.5))
    remember("AMD EPYC", Measurement(-0.01, None, 0.9))
    remember(GPU, Measurement(None, 700, None))
    assert read_records().records == (
        DeviceRecord("AMD EPYC", (-0.01,), (), (0.9,)),
        DeviceRecord(GPU, (0.02,), (500, 700), (1.5,)),
    )


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    for number in range(NEWEST + 5):
        remember(GPU, Measurement(number / 100, number, 1.0 + number), path)
    (record,) = read_records(path).records
    assert record.outside_bytes == tuple(range(5, NEWEST + 5))
    assert len(record.residuals) == len(record.speeds) == NEWEST
    for number in range(MOST_DEVICES):
        remember(f"card {number}", Measurement(0.0), path)
    assert [item.device for item in read_records(path).records] == [f"card {number}" for number in range(MOST_DEVICES)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_left_out(tmp_path: Path, value: float) -> None:
    remember(GPU, Measurement(value, 1, value), tmp_path / "records.json")
    assert read_records(tmp_path / "records.json").records == (DeviceRecord(GPU, (), (1,), ()),)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"devices": {}}', "[" * 100_000, "\x00\x01",
        *(f'{{"formula": {FORMULA}, "devices": [{device}]}}' for device in (
            "3", '{"residuals": [0.1]}', '{"device": "x", "residuals": ["a"]}', '{"device": "x", "speeds": [-1.0]}',
            '{"device": "x", "residuals": ["nan"]}',
        )),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_and_written_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(text, encoding="utf-8")
    read = read_records(path)
    assert read.records == ()
    assert "damaged" in read.problem
    assert str(path) in read.problem
    remember(GPU, Measurement(0.1), path)
    assert read_records(path).records == (DeviceRecord(GPU, (0.1,)),)
    assert read_records(path).problem == ""


def test_what_is_whole_beside_a_damaged_record_stays(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    remember(GPU, Measurement(0.1), path)
    plain = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**plain, "devices": [7, *plain["devices"]]}), encoding="utf-8")
    read = read_records(path)
    assert read.records == (DeviceRecord(GPU, (0.1,)),)
    assert read.problem


def test_what_was_measured_against_another_formula_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    remember(GPU, Measurement(0.1), path)
    old = {**json.loads(path.read_text("utf-8")), "formula": FORMULA - 1}
    path.write_text(json.dumps(old), encoding="utf-8")
    assert read_records(path) == Remembered()
    remember(GPU, Measurement(0.2), path)
    assert read_records(path).records == (DeviceRecord(GPU, (0.2,)),)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    read = read_records(tmp_path)  # a folder
    assert read.records == ()
    assert "cannot be read" in read.problem


@given(data=st.binary(max_size=200))
def test_no_bytes_at_all_make_reading_fail(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-records.json"
    path.write_bytes(data)
    assert read_records(path).records == ()


def _remember_many(path: Path, start: int) -> None:
    for number in range(start, start + 5):
        remember(GPU, Measurement(outside_bytes=number), path)


def test_processes_that_end_together_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_remember_many, args=(path, 5 * index)) for index in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    (record,) = read_records(path).records
    assert sorted(record.outside_bytes) == list(range(15))
