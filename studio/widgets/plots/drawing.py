"""Draws a scene: axes, grid, curves and legend. About two points for each pixel, however many there are."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen, QPolygonF

from studio.look import tokens
from studio.look.theme import look
from studio.widgets.plots import ticks
from studio.widgets.plots.pyramid import Stretch
from studio.widgets.plots.scene import Scene, Series
from studio.widgets.plots.view import Range, fitted

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array

_MOST_MARKS = 120
_DASH, _GAP = 7, 4


@dataclass(frozen=True, slots=True)
class Frame:
    """Where things went: the area of the curves, the ranges it shows, and the legend's entries to click on."""

    area: QRectF
    x: Range
    y: Range
    log: bool
    legend: tuple[tuple[QRectF, str], ...] = ()

    def at_x(self, x: Any) -> Any:
        """Pixels of an x (or an array of them)."""
        return self.area.left() + (x - self.x[0]) * (self.area.width() / (self.x[1] - self.x[0]))

    def at_y(self, y: Any) -> Any:
        """Pixels of a y, which is a logarithm on a log scale."""
        return self.area.bottom() - (y - self.y[0]) * (self.area.height() / (self.y[1] - self.y[0]))

    def x_of(self, pixel: float) -> float:
        """The x at a pixel."""
        return self.x[0] + (pixel - self.area.left()) * ((self.x[1] - self.x[0]) / max(1.0, self.area.width()))

    def y_of(self, pixel: float) -> float:
        """The y at a pixel; a logarithm on a log scale."""
        return self.y[0] + (self.area.bottom() - pixel) * ((self.y[1] - self.y[0]) / max(1.0, self.area.height()))


def small_font() -> QFont:
    """The font of axes and legend."""
    font = QFont()
    font.setPixelSize(look().px(tokens.SMALL - 1))
    return font


def title_font() -> QFont:
    """The font of the title."""
    font = QFont()
    font.setPixelSize(look().px(tokens.SMALL))
    font.setWeight(QFont.Weight.DemiBold)
    return font


def draw(painter: QPainter, box: QRectF, scene: Scene, ratio: float = 1.0) -> Frame:
    """Draws the scene into a box; ``ratio`` is how many device pixels one pixel has."""
    c = look().colors
    small = QFontMetricsF(small_font())
    legend, top = _legend_places(box, scene, small)
    bottom = small.height() + 6
    columns = max(16, int((box.width() - 48) * ratio))
    window = scene.view.window()
    found = [(item, item.points.stretch(*window, columns)) for item in scene.visible()]
    y = scene.view.y or _fit(scene, [stretch for _, stretch in found], window)
    rows = max(2, int((box.height() - top - bottom) / (small.height() * (2.2 if scene.compact else 2.8))))
    y_ticks = _y_ticks(scene, y, rows)
    left = max((small.horizontalAdvance(text) for _, text in y_ticks), default=0.0) + 10
    area = QRectF(box.left() + left, box.top() + top, box.width() - left - 8, box.height() - top - bottom)
    frame = Frame(area, window, y, scene.view.log, tuple((place, item.key) for place, item in legend))
    painter.setFont(small_font())
    _draw_grid(painter, frame, scene, y_ticks, small)
    painter.save()
    painter.setClipRect(area.adjusted(-1, -1, 1, 1))
    for item, stretch in found:
        _draw_curve(painter, frame, item, stretch)
    painter.restore()
    _draw_heading(painter, box, scene, legend, small)
    if not found and scene.empty:
        painter.setPen(QColor(c.muted))
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, scene.empty)
    return frame


def y_value(frame: Frame, y: float) -> float:
    """A value as a place on the y axis; NaN where a log scale has none."""
    if not frame.log:
        return y
    return math.log10(y) if y > 0 else math.nan


# ---------------------------------------------------------------------------------------------------- axes and words


def _fit(scene: Scene, found: list[Stretch], window: Range) -> Range:
    import numpy as np

    low, high = math.inf, -math.inf
    for stretch in found:
        inside = (stretch.xs >= window[0]) & (stretch.xs <= window[1])
        lows, highs = stretch.lows[inside], stretch.highs[inside]
        if scene.view.log:
            lows, highs = lows[lows > 0], highs[highs > 0]
        else:
            lows, highs = lows[np.isfinite(lows)], highs[np.isfinite(highs)]
        if len(lows):
            low = min(low, float(lows.min()))
        if len(highs):
            high = max(high, float(highs.max()))
    if scene.at_least is not None and not scene.view.log and math.isfinite(low):
        low = min(low, scene.at_least)
    if scene.view.log and low > high:
        low = high
    return fitted(low, high, log=scene.view.log)


def _y_ticks(scene: Scene, y: Range, most: int) -> list[tuple[float, str]]:
    if scene.view.log:
        low, high = 10.0 ** max(-300.0, y[0]), 10.0 ** min(300.0, y[1])
        return [(math.log10(value), scene.write(value)) for value in ticks.log_ticks(low, high, most)]
    return [(value, scene.write(value if abs(value) > 1e-12 * abs(y[1] - y[0]) else 0.0)) for value in
            ticks.linear_ticks(*y, most)]  # fmt: skip


def _draw_grid(
    painter: QPainter, frame: Frame, scene: Scene, y_ticks: list[tuple[float, str]], small: QFontMetricsF
) -> None:
    c = look().colors
    area = frame.area
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
    for value, text in y_ticks:
        at = round(frame.at_y(value))
        painter.setPen(QColor(c.line))
        painter.drawLine(QPointF(area.left(), at), QPointF(area.right(), at))
        painter.setPen(QColor(c.muted))
        place = QRectF(0, at - small.height() / 2, area.left() - 6, small.height())
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
    title_width = 0.0 if scene.compact else small.horizontalAdvance(scene.x_title) + 16
    label_top = area.bottom() + 5
    widest = small.horizontalAdvance("000,000")
    for value in ticks.linear_ticks(*frame.x, max(1, int(area.width() / (widest * 1.8))), whole=True):
        at = round(frame.at_x(value))
        painter.setPen(QColor(c.line))
        painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
        text = ticks.count(value)
        half = small.horizontalAdvance(text) / 2
        if at + half > area.right() + 8 - title_width:
            continue
        painter.setPen(QColor(c.muted))
        painter.drawText(QRectF(at - widest, label_top, 2 * widest, small.height()), Qt.AlignmentFlag.AlignHCenter, text)
    painter.setPen(QColor(c.line_strong))
    painter.drawLine(QPointF(area.left(), area.bottom()), QPointF(area.right(), area.bottom()))
    if title_width:
        painter.setPen(QColor(c.muted))
        place = QRectF(area.right() - title_width, label_top, title_width + 8, small.height())
        painter.drawText(place, Qt.AlignmentFlag.AlignRight, scene.x_title)


def _legend_places(box: QRectF, scene: Scene, small: QFontMetricsF) -> tuple[list[tuple[QRectF, Series]], float]:
    """Where each entry goes, and how high everything above the curves is."""
    line = small.height() + 8
    title = QFontMetricsF(title_font()).horizontalAdvance(scene.title) + 16 if scene.title else 0.0
    if scene.compact:
        return [], line
    x, y, places = box.left() + title, box.top(), []
    for item in scene.named():
        width = 22 + small.horizontalAdvance(item.label) + 14
        if x + width > box.right() and x > box.left():
            x, y = box.left(), y + line
        places.append((QRectF(x, y, width, line), item))
        x += width
    return places, y - box.top() + line + 4


def _draw_heading(
    painter: QPainter, box: QRectF, scene: Scene, legend: list[tuple[QRectF, Series]], small: QFontMetricsF
) -> None:
    c = look().colors
    line = small.height() + 8
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=True)
    painter.setFont(title_font())
    painter.setPen(QColor(c.text))
    painter.drawText(QRectF(box.left(), box.top(), box.width(), line), Qt.AlignmentFlag.AlignVCenter, scene.title)
    painter.setFont(small_font())
    newest = scene.named()
    if scene.compact and newest:
        text = scene.write(float(newest[0].points.ys[-1]))
        painter.setPen(QColor(c.muted))
        place = QRectF(box.left(), box.top(), box.width() - 8, line)
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
    for place, item in legend:
        painter.setPen(pen_of(item, alpha=70 if item.hidden else 255))
        middle = place.center().y()
        painter.drawLine(QPointF(place.left(), middle), QPointF(place.left() + 16, middle))
        if item.style == "marked":
            _draw_mark(painter, item, QPointF(place.left() + 8, middle))
        painter.setPen(QColor(c.faint if item.hidden else c.muted))
        painter.drawText(place.adjusted(22, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, item.label)


# ------------------------------------------------------------------------------------------------------------ curves


def series_color(item: Series) -> QColor:
    """The colour of a curve in the present look; the raw one is faint."""
    series = look().colors.series
    color = QColor(series[item.color % len(series)])
    if item.style == "faint":
        color.setAlpha(96)
    return color


def pen_of(item: Series, alpha: int = 255) -> QPen:
    """The pen of a curve."""
    color = series_color(item)
    color.setAlpha(min(alpha, color.alpha()))
    pen = QPen(color, {"faint": 1.0, "strong": 2.0, "marked": 1.6, "dashed": 1.6}[item.style])
    pen.setJoinStyle(Qt.PenJoinStyle.BevelJoin)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if item.style == "dashed":
        pen.setDashPattern([4, 2.5])
    return pen


def _draw_curve(painter: QPainter, frame: Frame, item: Series, stretch: Stretch) -> None:
    import numpy as np

    lows, highs = stretch.lows, stretch.highs
    if frame.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            highs = np.where(highs > 0, np.log10(highs), np.nan)
            lows = np.where(lows > 0, np.log10(lows), np.where(np.isnan(highs), np.nan, frame.y[0] - 1.0))
            lows = lows if stretch.merged else highs
    if not len(stretch.xs):
        return
    # Far outside of the area nothing is seen, and huge coordinates would break the rasteriser.
    limit = 4.0 * max(frame.area.height(), 100.0)
    xs = frame.at_x(stretch.xs)
    tops = np.clip(frame.at_y(highs), frame.area.top() - limit, frame.area.bottom() + limit)
    bottoms = np.clip(frame.at_y(lows), frame.area.top() - limit, frame.area.bottom() + limit)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=True)
    for part in _runs(np.isfinite(tops) & np.isfinite(bottoms)):
        if stretch.merged:
            _draw_band(painter, item, xs[part], tops[part], bottoms[part])
        elif part.stop - part.start == 1:
            _draw_mark(painter, item, QPointF(xs[part.start], tops[part.start]))
        else:
            painter.setPen(pen_of(item))
            painter.drawPolyline(polygon(xs[part], tops[part]))
    if item.style == "marked" and not stretch.merged and len(xs) <= _MOST_MARKS:
        for x, y in zip(xs.tolist(), tops.tolist(), strict=True):
            if math.isfinite(y):
                _draw_mark(painter, item, QPointF(x, y))


def _draw_band(painter: QPainter, item: Series, xs: "Array", tops: "Array", bottoms: "Array") -> None:
    """The area between minima and maxima as one polygon: far quicker than stroking, and looks like the line."""
    import numpy as np

    half = pen_of(item).widthF() / 2
    upper, lower = tops.copy(), bottoms.copy()
    upper[1:] = np.minimum(tops[1:], bottoms[:-1])
    lower[1:] = np.maximum(bottoms[1:], tops[:-1])
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(series_color(item))
    for part in _dashes(len(xs)) if item.style == "dashed" else (slice(0, len(xs)),):
        x = xs[part]
        outline = polygon(np.concatenate((x, x[::-1])), np.concatenate((upper[part] - half, lower[part][::-1] + half)))
        painter.drawPolygon(outline)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def _dashes(length: int) -> Iterator[slice]:
    for start in range(0, length, _DASH + _GAP):
        yield slice(start, min(length, start + _DASH))


def _draw_mark(painter: QPainter, item: Series, at: QPointF) -> None:
    c = look().colors
    painter.setPen(QPen(QColor(c.panel), 1.2))
    painter.setBrush(series_color(item))
    radius = 3.6 if item.style == "marked" else 2.0
    painter.drawEllipse(at, radius, radius)
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
        memory = shiboken6.VoidPtr(made.data(), 16 * len(xs), True)  # noqa: FBT003 (writeable; takes no names)
        points = np.frombuffer(memory, dtype=np.float64).reshape(-1, 2)  # type: ignore[call-overload]  # a buffer
        points[:, 0] = xs
        points[:, 1] = ys
    return made
