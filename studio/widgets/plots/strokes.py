"""Draws one curve: by columns where it is dense, as a line with marks where it is not."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from studio.look.theme import look
from studio.widgets.plots.columns import band_columns, line_columns, picture
from studio.widgets.plots.frame import Frame
from studio.widgets.plots.pyramid import Stretch
from studio.widgets.plots.scene import Series

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array

_MOST_MARKS = 120
_MOST_STROKED = 160
_WIDTHS = {"faint": 1.0, "strong": 2.0, "marked": 1.6, "dashed": 1.6}


def series_color(item: Series) -> QColor:
    """The colour of a curve in the present look; the raw one is faint."""
    series = look().colors.series
    color = QColor(series[item.color % len(series)])
    if item.style == "faint":
        color.setAlpha(112)
    return color


def pen_of(item: Series, alpha: int = 255) -> QPen:
    """The pen of a curve."""
    color = series_color(item)
    if alpha != 255:
        color.setAlpha(alpha)
    pen = QPen(color, _WIDTHS[item.style])
    pen.setJoinStyle(Qt.PenJoinStyle.BevelJoin)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if item.style == "dashed":
        pen.setDashPattern([4, 2.5])
    return pen


def draw_mark(painter: QPainter, item: Series, at: QPointF) -> None:
    """A dot with a thin rim."""
    painter.setPen(QPen(QColor(look().colors.panel), 1.2))
    painter.setBrush(series_color(item))
    radius = 3.6 if item.style == "marked" else 2.0
    painter.drawEllipse(at, radius, radius)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def draw_curve(painter: QPainter, frame: Frame, item: Series, ratio: float, *, vector: bool) -> None:
    """Draws what the frame shows of a curve; see `studio.widgets.plots.drawing.draw`."""
    count = int(frame.area.width() * ratio)
    stretch = item.points.stretch(*frame.x, count)
    if not len(stretch.xs):
        return
    xs, tops, bottoms = _places(frame, stretch)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=True)
    if len(xs) <= _MOST_STROKED or (vector and not stretch.merged):
        _stroke(painter, item, xs, tops)
    elif vector:
        _fill(painter, item, xs, tops, bottoms)
    else:
        _paint_columns(painter, frame, item, stretch, (xs, tops, bottoms), ratio)
    if item.style == "marked" and len(xs) <= _MOST_MARKS:
        for x, y in zip(xs.tolist(), tops.tolist(), strict=True):
            if math.isfinite(y):
                draw_mark(painter, item, QPointF(x, y))


def _places(frame: Frame, stretch: Stretch) -> "tuple[Array, Array, Array]":
    """Pixels of x, of the highest and of the lowest values (y runs downwards); NaN in gaps."""
    import numpy as np

    lows, highs = stretch.lows, stretch.highs
    if frame.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            highs = np.where(highs > 0, np.log10(highs), np.nan)
            # a block with values on both sides of zero reaches down to the end of the axis and beyond
            lows = np.where(lows > 0, np.log10(lows), np.where(np.isnan(highs), np.nan, frame.y[0] - 1.0))
            lows = lows if stretch.merged else highs
    # Far outside of the area nothing is seen, and huge coordinates would break the rasteriser.
    air = 4.0 * max(frame.area.height(), 100.0)
    top, bottom = frame.area.top() - air, frame.area.bottom() + air
    tops = np.clip(frame.at_y(highs), top, bottom)
    bottoms = np.clip(frame.at_y(lows), top, bottom) if stretch.merged else tops
    return frame.at_x(stretch.xs), tops, bottoms


def _paint_columns(
    painter: QPainter,
    frame: Frame,
    item: Series,
    stretch: Stretch,
    places: "tuple[Array, Array, Array]",
    ratio: float,
) -> None:
    xs, tops, bottoms = places
    count, rows = int(frame.area.width() * ratio), int(frame.area.height() * ratio)
    across, down = (xs - frame.area.left()) * ratio, (tops - frame.area.top()) * ratio
    if stretch.merged and item.style == "dashed":
        # dashes as high as the noise would hide the curve that they are compared with
        high, low = line_columns(across, (down + (bottoms - frame.area.top()) * ratio) / 2, count)
    elif stretch.merged:
        high, low = band_columns(across, down, (bottoms - frame.area.top()) * ratio, count)
    else:
        high, low = line_columns(across, down, count)
    half = _WIDTHS[item.style] * ratio / 2
    made = picture(high, low, rows, series_color(item), half=half, dashed=ratio if item.style == "dashed" else 0.0)
    if made is not None:
        image, first = made
        image.setDevicePixelRatio(ratio)
        painter.drawImage(QPointF(frame.area.left(), frame.area.top() + first / ratio), image)


def _stroke(painter: QPainter, item: Series, xs: "Array", ys: "Array") -> None:
    import numpy as np

    for part in _runs(np.isfinite(ys)):
        if part.stop - part.start == 1:
            draw_mark(painter, item, QPointF(xs[part.start], ys[part.start]))
        else:
            painter.setPen(pen_of(item))
            painter.drawPolyline(polygon(xs[part], ys[part]))


def _fill(painter: QPainter, item: Series, xs: "Array", tops: "Array", bottoms: "Array") -> None:
    """The area between minima and maxima as outlines: slow on the screen, right in a file."""
    import numpy as np

    half = pen_of(item).widthF() / 2
    for part in _runs(np.isfinite(tops) & np.isfinite(bottoms)):
        upper, lower, x = tops[part], bottoms[part], xs[part]
        if item.style == "dashed":
            painter.setPen(pen_of(item))
            painter.drawPolyline(polygon(x, (upper + lower) / 2))
            continue
        high, low = upper.copy(), lower.copy()
        high[1:] = np.minimum(upper[1:], lower[:-1])
        low[1:] = np.maximum(lower[1:], upper[:-1])
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(series_color(item))
        outline = polygon(np.concatenate((x, x[::-1])), np.concatenate((high - half, low[::-1] + half)))
        painter.drawPolygon(outline)
        painter.setBrush(Qt.BrushStyle.NoBrush)


def _runs(finite: Any) -> Iterator[slice]:
    """Stretches of True."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate(([False], finite, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield slice(start, stop)


def polygon(xs: "Array", ys: "Array") -> QPolygonF:
    """Points as Qt wants them, written into Qt's own memory at once."""
    import numpy as np
    import shiboken6

    made = QPolygonF()
    made.resize(len(xs))
    if len(xs):
        pointer: Any = shiboken6.VoidPtr  # its stubs know one argument only
        memory = pointer(made.data(), 16 * len(xs), True)  # noqa: FBT003 (writeable; takes no names)
        points = np.frombuffer(memory, dtype=np.float64).reshape(-1, 2)
        points[:, 0] = xs
        points[:, 1] = ys
    return made
