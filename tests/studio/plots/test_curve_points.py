"""What a curve is drawn from: minima and maxima of any stretch, smoothing, ticks, and the window onto them."""

import math
import random
from typing import Any

import numpy as np  # noqa: TID253 (a test of what computes with it)
import pytest

from studio.widgets.plots import ticks
from studio.widgets.plots.columns import band_columns, line_columns, picture
from studio.widgets.plots.pyramid import Pyramid
from studio.widgets.plots.smoothing import Smoother
from studio.widgets.plots.view import View, fitted


def noisy(count: int, seed: int = 1) -> Any:
    chance = np.random.default_rng(seed)
    ys = 2.0 + chance.normal(0, 1, count)
    ys[chance.integers(0, count, count // 50)] = np.nan
    ys[count // 2 : count // 2 + count // 20] = np.nan
    return np.arange(1.0, count + 1.0), ys


@pytest.mark.parametrize("count", [1, 7, 100, 1000, 40_000, 150_000])
@pytest.mark.parametrize("pieces", [1, 13])
def test_a_stretch_keeps_every_minimum_and_maximum(count: int, pieces: int) -> None:
    xs, ys = noisy(max(count, 2))
    points = Pyramid()
    for part in np.array_split(np.arange(len(xs)), pieces):
        points.append(xs[part], ys[part])
    assert len(points) == len(xs)
    chance = random.Random(count)
    for _ in range(12):
        left = chance.uniform(0, len(xs))
        right = left + chance.choice([3.0, 50.0, 0.3 * len(xs), 2.0 * len(xs)])
        stretch = points.stretch(left, right, 200)
        assert len(stretch.xs) <= 204
        assert not np.any(np.diff(stretch.xs) <= 0)
        inside = ys[(xs >= left) & (xs <= right)]
        if np.isfinite(inside).any():
            # one point beyond each end belongs to the stretch, so that lines reach the edge
            assert np.nanmin(stretch.lows) <= np.nanmin(inside)
            assert np.nanmax(stretch.highs) >= np.nanmax(inside)
        near = ys[(xs >= left - 2 - (right - left) / 50) & (xs <= right + 2 + (right - left) / 50)]
        if np.isfinite(stretch.lows).any():
            assert np.nanmin(stretch.lows) >= np.nanmin(near)
            assert np.nanmax(stretch.highs) <= np.nanmax(near)


def test_a_long_gap_stays_a_gap_and_infinity_is_one() -> None:
    ys = np.ones(10_000)
    ys[4000:6000] = math.inf
    points = Pyramid()
    points.append(np.arange(10_000.0), ys)
    stretch = points.stretch(0, 9999, 100)
    assert np.isnan(stretch.highs[45:55]).all()
    assert np.nanmax(stretch.highs) == 1.0
    assert points.ys[5000] == math.inf, "what is exported is what was given"


def test_taking_points_away_and_going_on_elsewhere() -> None:
    points = Pyramid()
    points.append(np.arange(5000.0), np.zeros(5000))
    points.first(1234)
    points.append(np.arange(1234.0, 5000.0), np.full(3766, 7.0))
    stretch = points.stretch(0, 5000, 50)
    assert (np.nanmin(stretch.lows), np.nanmax(stretch.highs)) == (0.0, 7.0)
    late = points.stretch(1300, 5000, 50)
    assert np.nanmin(late.lows[1:]) == 7.0, "nothing of what was taken away is left in the blocks"


def test_points_have_to_rise() -> None:
    points = Pyramid()
    points.append([1, 2], [0, 0])
    for xs in ([2, 3], [4, 4]):
        with pytest.raises(ValueError, match="rise"):
            points.append(xs, [0, 0])
    with pytest.raises(ValueError, match="1 x and 2 y"):
        points.append([9], [0, 0])
    assert len(points) == 2
    assert [points.nearest(x) for x in (-5, 1.4, 1.6, 9)] == [0, 0, 1, 1]
    assert Pyramid().nearest(3) == -1


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9, 0.99])
def test_smoothing_is_the_debiased_mean_however_it_is_fed(weight: float) -> None:
    _, ys = noisy(20_000)
    total = weights = 0.0
    expected = []
    for value in ys.tolist():
        known = math.isfinite(value)
        total = weight * total + (1 - weight) * (value if known else 0.0)
        weights = weight * weights + (1 - weight) * known
        expected.append(total / weights if weights > 1e-9 else math.nan)
    whole = Smoother(weight).extend(ys)
    fed = Smoother(weight)
    pieces = np.concatenate([fed.extend(part) for part in np.array_split(ys, 37)])
    np.testing.assert_allclose(whole, expected, rtol=1e-6)
    np.testing.assert_allclose(pieces, expected, rtol=1e-6)


def test_smoothing_begins_with_the_first_value_and_ignores_gaps() -> None:
    smooth = Smoother(0.9).extend([math.nan, 4.0, math.nan, 4.0])
    assert math.isnan(smooth[0])
    np.testing.assert_allclose(smooth[1:], 4.0)
    with pytest.raises(ValueError, match="weight"):
        Smoother(1.0)


def test_columns_cover_a_line_from_point_to_point() -> None:
    lows, highs = line_columns(np.array([0.5, 2.5, 9.5]), np.array([0.0, 10.0, 10.0]), 12)
    assert (lows[0], highs[0]) == (0.0, pytest.approx(2.5))
    assert highs[2] == 10.0
    assert lows[5] == highs[5] == 10.0
    assert np.isnan(lows[11])
    joined_low, joined_high = band_columns(np.array([0.5, 1.5]), np.array([0.0, 5.0]), np.array([1.0, 6.0]), 2)
    assert joined_low[1] <= joined_high[0], "neighbours touch"


def test_a_picture_covers_exactly_its_rows(qapp: Any) -> None:
    from PySide6.QtGui import QColor

    made = picture(np.array([2.0, 4.5]), np.array([5.0, 4.75]), 10, QColor("#102030"), half=0.0)
    assert made is not None
    image, first = made
    alphas = [[image.pixelColor(x, y).alpha() for y in range(image.height())] for x in range(2)]
    assert first == 2
    assert alphas[0] == [255, 255, 255]
    assert alphas[1][0] == alphas[1][1] == 0
    assert 60 <= alphas[1][2] <= 68, "a quarter of a pixel"
    assert picture(np.array([np.nan]), np.array([np.nan]), 10, QColor("red"), half=1.0) is None
    assert picture(np.array([50.0]), np.array([60.0]), 10, QColor("red"), half=1.0) is None, "far below"


def test_ticks_are_round_and_few() -> None:
    assert ticks.linear_ticks(0.3, 4.1, 5) == [1, 2, 3, 4]
    assert ticks.linear_ticks(1, 4, 9, whole=True) == [1, 2, 3, 4]
    assert ticks.log_ticks(0.5, 200, 4) == [1, 10, 100]
    assert len(ticks.log_ticks(1.9, 5.2, 6)) >= 3
    assert ticks.log_ticks(-1, 3, 5) == []
    assert ticks.linear_ticks(3, 3, 5) == []
    assert len(ticks.log_ticks(1e-30, 1e30, 5)) <= 5
    assert [ticks.number(x) for x in (0.0002, 12_400, 2.5, math.nan, 0)] == ["2e-4", "12,400", "2.5", "–", "0"]
    assert [ticks.steady(x) for x in (1.84, 0.0123, 250.0)] == ["1.840", "0.01230", "250.0"]
    assert [ticks.count(x) for x in (800, 12_000, 1_500_000)] == ["800", "12k", "1.5M"]


def test_the_view_follows_until_the_user_goes_elsewhere() -> None:
    view = View(extent=(0.0, 100.0))
    assert view.window() == (0, 100)
    view.extent = (0.0, 200.0)
    assert view.window() == (0, 200), "everything, while nobody has panned"
    view.zoom(0.5, at=200)
    assert view.window() == (100, 200)
    assert view.follows
    view.extent = (0.0, 250.0)
    assert view.window() == (150, 250), "a window at the end moves along"
    view.pan(-0.5)
    assert view.window() == (100, 200)
    view.extent = (0.0, 400.0)
    assert view.window() == (100, 200), "a window elsewhere stays"
    view.pan(-99)
    assert view.window() == (0, 100), "never past the data"
    view.zoom(1e-9)
    left, right = view.window()
    assert right - left == pytest.approx(4.0), "never closer than a few steps"
    view.zoom(1e9)
    assert view.x is None
    assert view.follows


def test_the_range_of_y_has_air_and_never_collapses() -> None:
    for log in (False, True):
        low, high = fitted(2.0, 2.0, log=log)
        assert low < high
    assert fitted(math.inf, -math.inf, log=False) == (0.0, 1.0)
    low, high = fitted(0.0, 0.0, log=False)
    assert low < 0 < high
