"""The loss curve: a PNG of the promised size with the promised colours, whatever the numbers are."""

import math
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events.run_state import fold
from core.events.types import Evaluated, Event, Step
from core.export.curve import HEIGHT, WIDTH, draw_loss_curve, draw_run_curve, smooth

BLUE, ORANGE = (0x3B, 0x5B, 0xDB), (0xD5, 0x5E, 0x00)
RANDOM = random.Random(3)
TRAIN = [(step, 1.1 + 2 * math.exp(-step / 60) + RANDOM.gauss(0, 0.1)) for step in range(1, 301)]
VALIDATION = [(step, 1.2 + 2 * math.exp(-step / 60)) for step in range(0, 301, 50)]


def pixels(path: Path) -> Any:
    from matplotlib.image import imread

    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (WIDTH, HEIGHT) == (1200, 700)
    return (imread(path)[:, :, :3] * 255).round().astype(int)


def count(image: Any, colour: tuple[int, int, int]) -> int:
    return int((abs(image - list(colour)).sum(axis=2) <= 3).sum())


def test_both_curves_are_drawn(tmp_path: Path) -> None:
    draw_loss_curve(TRAIN, VALIDATION, tmp_path / "curve.png", title="A run, $5_{ spent")
    image = pixels(tmp_path / "curve.png")
    assert image[5, 5].tolist() == [255, 255, 255]
    assert count(image, BLUE) > 1000
    assert count(image, ORANGE) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ([(1, 2.0)], []),
        ([], [(0, 2.0)]),
        ([(1, 0.0), (2, 0.0)], [(2, 0.0)]),
        ([(step, 1e-9) for step in range(100)], []),
        ([(step, 1e6 / (step + 1)) for step in range(100)], [(0, -1.0)]),
        ([(1, math.nan), (2, 3.0), (3, math.inf)], [(3, math.nan)]),
        ([(10**7 + step, 2.0 + step % 3) for step in range(30)], []),
    ],
)
def test_odd_runs_are_drawn_too(train: Any, validation: Any, tmp_path: Path) -> None:
    draw_loss_curve(train, validation, tmp_path / "curve.png")
    image = pixels(tmp_path / "curve.png")
    assert count(image, BLUE if train else ORANGE) > 20


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no loss to draw"):
        draw_loss_curve([(1, math.nan)], [], tmp_path / "curve.png")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_drawn_from_its_state(tmp_path: Path) -> None:
    bodies = [Evaluated(0, 2.5, 1, 1.0)] + [
        Step(step, 0.1, loss, 1e-4, 1.0, 10, 5, 0.1, 0) for step, loss in TRAIN[:40]
    ]
    state = fold(Event(index, 1.0 + index, 0, body) for index, body in enumerate(bodies))
    draw_run_curve(state, tmp_path / "curve.png", title="Run")
    draw_loss_curve(TRAIN[:40], [(0, 2.5)], tmp_path / "same.png", title="Run")
    assert (tmp_path / "curve.png").read_bytes() == (tmp_path / "same.png").read_bytes()


@given(st.integers(2, 3000), st.floats(-5, 5), st.floats(-0.01, 0.01))
@settings(max_examples=20, deadline=None)
def test_smoothing_keeps_straight_lines(length: int, start: float, slope: float) -> None:
    line = [(step, start + slope * step) for step in range(1, length + 1)]
    smoothed = smooth(line)
    assert len(smoothed) == min(length, 1000)
    assert all(value == pytest.approx(start + slope * step, abs=1e-6) for step, value in smoothed)


def test_smoothing_takes_the_noise_away() -> None:
    truth = [1.1 + 2 * math.exp(-step / 60) for step, _ in TRAIN]
    apart = [abs(value - true) for (_, value), true in zip(smooth(TRAIN), truth, strict=True)]
    assert sum(apart) / len(apart) < 0.035
