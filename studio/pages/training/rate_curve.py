"""A picture of the learning rate over the run, with its warm-up, epochs and evaluations."""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from core.plan.schedule import curve_of, curve_points, learning_rate
from core.plan.types import Curve, Plan
from core.spec.run_spec import RunSpec
from studio.look import tokens
from studio.look.theme import look
from studio.widgets.plots.ticks import count, number
from studio.words import tr

_SHAPE_STEPS = 200
_MOST_EPOCHS = 40
_MOST_MARKS = 60


class RateCurve(QWidget):
    """The learning rate by step. Without a plan it shows the shape alone, over steps that nobody has counted yet."""

    def __init__(self) -> None:
        super().__init__()
        self.curve: Curve | None = None
        self.known = False
        self.every = 0
        self.per_epoch = 0
        self.setObjectName("rate-curve")
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(look().px(180), look().px(150))

    def show_plan(self, spec: RunSpec, plan: Plan | None) -> None:
        """Shows what a spec and its plan mean for the learning rate."""
        planned = plan.curve if plan is not None else None
        self.known = planned is not None and planned.steps > 0
        steps = spec.training.max_steps or _SHAPE_STEPS
        self.curve = planned if self.known else curve_of(spec.training, steps)
        self.every = plan.choices.evaluate_every.value if plan is not None and self.known else 0
        self.per_epoch = plan.batch.steps_per_epoch if plan is not None and plan.batch is not None else 0
        self.setAccessibleName(self.words())
        self.update()

    def evaluations(self) -> list[int]:
        """The steps after which the validation loss is measured; none without validation rows."""
        curve = self.curve
        if curve is None or not self.every:
            return []
        found = [0, *range(self.every, curve.steps + 1, self.every)]
        return found if found[-1] == curve.steps else [*found, curve.steps]

    def words(self) -> str:
        """The picture in a sentence."""
        curve = self.curve
        if curve is None:
            return tr("Learning rate")
        peak = number(curve.peak)
        kinds = {
            "cosine": tr("then falls along a cosine"),
            "linear": tr("then falls along a line"),
            "constant": tr("then stays"),
            "cosine_restarts": tr("then falls along a cosine {n} times", n=f"{curve.cycles:,}"),
            "warmup_stable_decay": tr("then stays, and falls in the last {n} steps", n=f"{curve.decay_steps:,}"),
        }
        values = {"peak": peak, "kind": kinds[curve.kind], "warmup": f"{curve.warmup_steps:,}"}
        if not self.known:
            return tr("The learning rate rises to {peak}, {kind}", peak=peak, kind=kinds[curve.kind])
        if curve.start:
            start = f"{curve.start:,}"
            return tr("From step {start} on the learning rate is {peak}, {kind}", start=start, **values)
        return tr(
            "The learning rate rises to {peak} in {warmup} of {steps} steps, {kind}", steps=f"{curve.steps:,}", **values
        )

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A small picture."""
        return QSize(look().px(280), look().px(180))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Axes, epochs, the area below the curve, the curve, and a dot at each evaluation."""
        curve = self.curve
        if curve is None or curve.steps <= 0:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(_font())
        area = self._area()
        self._paint_axes(painter, area, curve)
        c = look().colors
        points = [self._at(area, curve, step, rate) for step, rate in curve_points(curve, 240)]
        outline = QPolygonF([QPointF(points[0].x(), area.bottom()), *points, QPointF(points[-1].x(), area.bottom())])
        fill = QColor(c.series[0])
        fill.setAlpha(36)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawPolygon(outline)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        pen = QPen(QColor(c.series[0]), 2)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        if not self.known:
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF(points))
        self._paint_evaluations(painter, area, curve)
        painter.end()

    def _paint_axes(self, painter: QPainter, area: QRectF, curve: Curve) -> None:
        c = look().colors
        metrics = QFontMetricsF(_font())
        painter.setPen(QColor(c.line))
        painter.drawLine(area.topLeft(), area.topRight())
        whole = curve.steps / self.per_epoch if self.per_epoch else 0
        if self.known and 1 < whole <= _MOST_EPOCHS:
            for epoch in range(1, int(whole) + 1):
                x = area.left() + area.width() * min(1.0, epoch * self.per_epoch / curve.steps)
                painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setPen(QColor(c.line_strong))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.setPen(QColor(c.muted))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        height = metrics.height()
        left = QRectF(0, area.top() - height / 2, area.left() - 6, height)
        painter.drawText(left, right, number(curve.highest))
        painter.drawText(left.translated(0, area.height()), right, "0")
        below = QRectF(area.left(), area.bottom() + 4, area.width(), height)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        if self.known:
            painter.drawText(below, Qt.AlignmentFlag.AlignRight, tr("{n} steps", n=count(curve.steps)))
        else:
            painter.drawText(below, Qt.AlignmentFlag.AlignRight, tr("end of the run"))
        if curve.warmup_steps > 1 and self.known and not curve.start:
            x = area.left() + area.width() * (curve.warmup_steps - 1) / max(1, curve.steps - 1)
            text = count(curve.warmup_steps)
            if x - area.left() > metrics.horizontalAdvance("00") + metrics.horizontalAdvance(text) / 2:
                painter.drawText(QRectF(x - 60, below.top(), 120, height), Qt.AlignmentFlag.AlignHCenter, text)
                painter.setPen(QPen(QColor(c.line_strong), 1, Qt.PenStyle.DashLine))
                painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _paint_evaluations(self, painter: QPainter, area: QRectF, curve: Curve) -> None:
        marks = self.evaluations()
        if not marks or len(marks) > _MOST_MARKS:
            return
        c = look().colors
        painter.setPen(QPen(QColor(c.panel), 1.2))
        painter.setBrush(QColor(c.series[1]))
        for step in marks:
            at = max(0, min(curve.steps - 1, step - 1))
            painter.drawEllipse(self._at(area, curve, at, learning_rate(curve, at)), 3.4, 3.4)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """The rate at the step under the pointer, as a tip."""
        curve, area = self.curve, self._area()
        if curve is None or not self.known or not area.contains(event.position()):
            QToolTip.hideText()
            return
        step = round((event.position().x() - area.left()) / area.width() * (curve.steps - 1))
        rate = number(learning_rate(curve, step))
        QToolTip.showText(
            event.globalPosition().toPoint(), tr("Step {step}: {rate}", step=f"{step + 1:,}", rate=rate), self
        )

    def _area(self) -> QRectF:
        metrics = QFontMetricsF(_font())
        left = metrics.horizontalAdvance("2.55e-5") + 10
        return QRectF(left, 10, max(20.0, self.width() - left - 10), max(20.0, self.height() - 18 - metrics.height()))

    @staticmethod
    def _at(area: QRectF, curve: Curve, step: int, rate: float) -> QPointF:
        x = area.left() + area.width() * step / max(1, curve.steps - 1)
        return QPointF(x, area.bottom() - area.height() * rate / (curve.highest or 1.0))


def _font() -> QFont:
    font = QFont()
    font.setPixelSize(look().px(tokens.SMALL - 1))
    return font
