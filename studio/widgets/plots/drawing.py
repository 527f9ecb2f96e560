"""Draws a scene: axes, grid, curves and legend. About two points for each pixel, however many there are."""

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter

from studio.look import tokens
from studio.look.theme import look
from studio.widgets.plots import ticks
from studio.widgets.plots.frame import Frame
from studio.widgets.plots.pyramid import Stretch
from studio.widgets.plots.scene import Scene, Series
from studio.widgets.plots.strokes import draw_curve, draw_mark, pen_of
from studio.widgets.plots.view import Range, fitted

_FIT_COLUMNS = 128


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


def draw(painter: QPainter, box: QRectF, scene: Scene, ratio: float = 1.0, *, vector: bool = False) -> Frame:
    """Draws the scene into a box.

    ``ratio`` is how many device pixels one pixel has; ``vector`` draws lines only, for files that are enlarged.
    """
    small = QFontMetricsF(small_font())
    legend, top = _legend_places(box, scene, small)
    bottom = small.height() + 6
    window = scene.view.window()
    shown = scene.visible()
    y = scene.view.y or _fit(scene, [item.points.stretch(*window, _FIT_COLUMNS) for item in shown], window)
    rows = max(2, int((box.height() - top - bottom) / (small.height() * (2.2 if scene.compact else 2.8))))
    y_ticks = _y_ticks(scene, y, rows)
    left = math.ceil(max((small.horizontalAdvance(text) for _, text in y_ticks), default=0.0) + 10)
    width, height = int(box.width()) - left - 8, int(box.height() - top - bottom)
    area = QRectF(int(box.left()) + left, int(box.top() + top), max(8, width), max(8, height))
    frame = Frame(area, window, y, scene.view.log, tuple((place, item.key) for place, item in legend))
    painter.setFont(small_font())
    _draw_grid(painter, frame, scene, y_ticks, small)
    painter.save()
    painter.setClipRect(area.adjusted(-1, -1, 1, 1))
    for item in shown:
        draw_curve(painter, frame, item, ratio, vector=vector)
    painter.restore()
    _draw_heading(painter, box, scene, legend, small)
    if not shown and scene.empty:
        painter.setPen(QColor(look().colors.muted))
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, scene.empty)
    return frame


# ---------------------------------------------------------------------------------------------------- axes and words


def _fit(scene: Scene, found: list[Stretch], window: Range) -> Range:
    if not found:
        return (0.0, 1.0)  # without numpy, which may still be on its way
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
        return [(math.log10(value), scene.write_tick(value)) for value in ticks.log_ticks(low, high, most)]
    nothing = 1e-9 * abs(y[1] - y[0])
    found = ticks.linear_ticks(*y, most)
    return [(value, scene.write_tick(value if abs(value) > nothing else 0.0)) for value in found]


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
        place = QRectF(area.left() - 206, at - small.height() / 2, 200, small.height())
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
        painter.drawText(
            QRectF(at - widest, label_top, 2 * widest, small.height()), Qt.AlignmentFlag.AlignHCenter, text
        )
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
        painter.setPen(pen_of(item, alpha=70 if item.hidden else 200))
        middle = place.center().y()
        painter.drawLine(QPointF(place.left(), middle), QPointF(place.left() + 16, middle))
        if item.style == "marked":
            draw_mark(painter, item, QPointF(place.left() + 8, middle))
        painter.setPen(QColor(c.faint if item.hidden else c.muted))
        painter.drawText(place.adjusted(22, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, item.label)
