"""The meter tells what each moment took, on the CPU of this machine and on a GPU where there is one."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from core.units import MIB

pytestmark = pytest.mark.torch


def take(mebibytes: int) -> None:
    """Makes this much resident for a moment."""
    block = bytearray(mebibytes * MIB)
    block[::4096] = b"x" * len(block[::4096])
    del block


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of a process")
def test_each_moment_has_a_peak_of_its_own() -> None:
    import torch

    from core.engine.memory import Meter

    meter = Meter(torch.device("cpu"))
    take(300)
    meter.begin("step")
    take(100)
    with meter.during("evaluation"):
        take(200)
    take(100)
    peaks = meter.peaks
    assert set(peaks) == {"loading", "step", "evaluation"}
    assert peaks["step"] + 50 * MIB < peaks["evaluation"] < peaks["loading"] - 50 * MIB
    assert meter.highest == max(peaks.values()) == meter.shown()
    assert meter.reserved == 0


def test_a_peak_that_cannot_be_forgotten_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from core.engine import memory

    resident = iter((10, 30, 40))
    highest = iter((100, 100, 250))
    monkeypatch.setattr(memory, "_forget_peak", lambda: False)
    monkeypatch.setattr(memory, "_peak_bytes", _next(highest))
    monkeypatch.setattr(memory, "_resident_bytes", _next(resident))
    meter = memory.Meter(torch.device("cpu"))
    meter.begin("step")
    meter.begin("evaluation")
    assert meter.peaks == {"loading": 100, "step": 10, "evaluation": 250}
    assert meter.highest == 250


def _next(values: Any) -> Callable[..., int]:
    return lambda *_: next(values, 250)
