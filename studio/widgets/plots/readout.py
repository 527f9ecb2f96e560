"""The crosshair and the small label beside it: every curve's value where the pointer is."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen

from studio.look.theme import look
from studio.widgets.plots.drawing import small_font
from studio.widgets.plots.frame import Frame
from studio.widgets.plots.scene import Scene, Series
from studio.widgets.plots.strokes import series_color
from studio.words import tr

_NEAR_PIXELS = 40.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of one curve nearest to the crosshair."""

    series: Series
    x: float
    y: float


def snapped(scene: Scene, frame: Frame, x: float) -> float:
    """The x of the nearest point of any curve that is seen; ``x`` itself where nothing is near."""
    best = x
    distance = float("inf")
    for item in scene.visible():
        at = float(item.points.xs[item.points.nearest(x)])
        away = abs(frame.at_x(at) - frame.at_x(x))
        if away < min(distance, _NEAR_PIXELS):
            best, distance = at, away
    return best


def readings(scene: Scene, frame: Frame, x: float) -> list[Reading]:
    """Each visible curve's nearest point, those too far away left out."""
    found = []
    for item in scene.series.values():
        if item.hidden or not len(item.points):
            continue
        place = item.points.nearest(x)
        at = float(item.points.xs[place])
        if abs(frame.at_x(at) - frame.at_x(x)) <= _NEAR_PIXELS:
            found.append(Reading(item, at, float(item.points.ys[place])))
    return found


def in_words(scene: Scene, x: float, found: list[Reading]) -> str:
    """The readout as one line, for those who hear it."""
    values = ", ".join(f"{item.series.label} {scene.write(item.y)}" for item in found)
    return f"{scene.x_title} {x:,.0f}: {values}"


def draw_crosshair(painter: QPainter, scene: Scene, frame: Frame, x: float) -> None:
    """A line at an x, a dot on each curve, and the label."""
    c = look().colors
    area = frame.area
    at = float(frame.at_x(x))
    if not area.left() - 1 <= at <= area.right() + 1:
        return
    found = readings(scene, frame, x)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=True)
    painter.setPen(QPen(QColor(c.faint), 1, Qt.PenStyle.DashLine))
    painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
    for item in found:
        y = float(frame.at_y(frame.y_place(item.y)))
        if area.top() - 2 <= y <= area.bottom() + 2:
            painter.setPen(QPen(QColor(c.panel), 1.5))
            color = series_color(item.series)
            color.setAlpha(255)
            painter.setBrush(color)
            painter.drawEllipse(QPointF(float(frame.at_x(item.x)), y), 4, 4)
    _draw_label(painter, scene, frame, at, x, found)


def _draw_label(painter: QPainter, scene: Scene, frame: Frame, at: float, x: float, found: list[Reading]) -> None:
    c = look().colors
    font = small_font()
    metrics = QFontMetricsF(font)
    heading = f"{scene.x_title} {x:,.0f}"
    rows = [(item, _label(item, x), scene.write(item.y)) for item in found]
    names = max((metrics.horizontalAdvance(text) for _, text, _ in rows), default=0.0)
    values = max((metrics.horizontalAdvance(text) for _, _, text in rows), default=0.0)
    width = max(metrics.horizontalAdvance(heading), 14 + names + 12 + values) + 16
    line = metrics.height() + 2
    height = line * (len(rows) + 1) + 10
    left = at + 12 if at + 12 + width <= frame.area.right() else at - 12 - width
    box = QRectF(max(frame.area.left() + 2, left), frame.area.top() + 6, width, height)
    painter.setPen(QPen(QColor(c.line_strong), 1))
    painter.setBrush(QColor(c.raised))
    painter.drawRoundedRect(box, 6, 6)
    painter.setFont(font)
    painter.setPen(QColor(c.muted))
    top = box.top() + 5
    painter.drawText(QRectF(box.left() + 8, top, width, line), Qt.AlignmentFlag.AlignVCenter, heading)
    for item, name, value in rows:
        top += line
        color = series_color(item.series)
        color.setAlpha(255)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        painter.drawEllipse(QPointF(box.left() + 12, top + line / 2), 3.5, 3.5)
        painter.setPen(QColor(c.text))
        place = QRectF(box.left() + 22, top, width - 30, line)
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, name)
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, value)


def _label(item: Reading, x: float) -> str:
    if item.x == x:
        return item.series.label
    return tr("{name} (at {x})", name=item.series.label, x=f"{item.x:,.0f}")
