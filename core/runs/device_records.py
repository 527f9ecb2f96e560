"""What finished runs measured on each device, so that the next plan knows better; one small file in the data folder."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from core import paths
from core.facts.types import DeviceRecord, HardwareFacts
from core.plan.hindsight import FORMULA
from core.records import RecordError, from_plain, to_plain
from core.runs.file_lock import exclusive

NEWEST = 20
"""How many measurements of each kind are kept for a device."""
MOST_DEVICES = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run found out; see `DeviceRecord` for the meaning. None where the run could not tell."""

    residual: float | None = None
    outside_bytes: int | None = None
    speed: float | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """The records, newest device last; ``problem`` is a sentence when some could not be read."""

    records: tuple[DeviceRecord, ...] = ()
    problem: str = ""


def records_file() -> Path:
    """Where the records lie."""
    return paths.home() / "device-records.json"


def read_records(path: Path | None = None) -> Remembered:
    """All that is remembered; never raises. What cannot be read counts as not there, with a sentence about it.

    What was measured against predictions that are made in another way by now counts as not there as well.
    """
    path = path or records_file()
    try:
        plain = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Remembered()
    except OSError as failure:
        return Remembered(problem=f"What earlier runs measured cannot be read ({path}): {failure.strerror or failure}.")
    except (ValueError, RecursionError):
        return Remembered(problem=_damaged(path))
    devices = plain.get("devices") if isinstance(plain, dict) else None
    if not isinstance(devices, list):
        return Remembered(problem=_damaged(path))
    if plain.get("formula") != FORMULA:
        return Remembered()
    read = [_record(item) for item in devices]
    whole = tuple(record for record in read if record is not None)
    return Remembered(whole, "" if len(whole) == len(read) else _damaged(path))


def known_machine(hardware: HardwareFacts) -> tuple[HardwareFacts, tuple[DeviceRecord, ...]]:
    """A machine's facts with the records of its devices; what is wrong with them joins the machine's problems."""
    remembered = read_records()
    if remembered.problem:
        hardware = replace(hardware, problems=(*hardware.problems, remembered.problem))
    return hardware, remembered.records


def remember(device: str, measured: Measurement, path: Path | None = None) -> None:
    """Adds what a run measured on ``device``; only the newest are kept, and what is damaged is written anew.

    Raises:
        OSError: the file cannot be written.
    """
    path = path or records_file()
    with exclusive(path.with_name(f".{path.name}.lock")):
        known = {record.device: record for record in read_records(path).records}
        old = known.pop(device, DeviceRecord(device))
        known[device] = replace(
            old,
            residuals=_newest(old.residuals, _finite(measured.residual)),
            outside_bytes=_newest(old.outside_bytes, measured.outside_bytes),
            speeds=_newest(old.speeds, _finite(measured.speed)),
        )
        newest = list(known.values())[-MOST_DEVICES:]
        paths.write_json(path, {"formula": FORMULA, "devices": to_plain(newest)})


def _newest(values: tuple[T, ...], value: T | None) -> tuple[T, ...]:
    """The newest values, the given one last."""
    return (values if value is None else (*values, value))[-NEWEST:]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _record(plain: Any) -> DeviceRecord | None:
    try:
        record = from_plain(DeviceRecord, plain)
    except RecordError:
        return None
    numbers = (*record.residuals, *record.outside_bytes, *record.speeds)
    if not all(math.isfinite(number) for number in numbers) or any(speed <= 0 for speed in record.speeds):
        return None
    return record


def _damaged(path: Path) -> str:
    return (
        f"Some of what earlier runs measured is damaged and counts as not there ({path}). The next run writes it anew."
    )
