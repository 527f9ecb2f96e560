"""How the length histogram is drawn: bars, axis, and the limit with its words."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen

from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.bars import Axis, Bar
from studio.words import tr

_SIDE = 10.0
_GAP = 4.0
_KNOB = 6.0
_TICK_WIDTH = 56.0


def small_font(font: QFont) -> QFont:
    """The font of all words in the histogram."""
    made = QFont(font)
    made.setPixelSize(look().px(tokens.SMALL - 1))
    return made


@dataclass(frozen=True, slots=True)
class HistogramPainting:
    """One picture of the histogram: where everything is, and the strokes."""

    area: QRectF
    font: QFont
    bars: tuple[Bar, ...]
    axis: Axis
    limit: int

    @property
    def plot(self) -> QRectF:
        """Where the bars are: below two lines of words, above one."""
        line = QFontMetricsF(self.font).height()
        top = 2 * line + 2 * _GAP + 2 * _KNOB
        return QRectF(_SIDE, top, self.area.width() - 2 * _SIDE, max(20.0, self.area.height() - top - line - 2 * _GAP))

    def x(self, length: float) -> float:
        """Where a length is; at an edge if it is beyond."""
        plot = self.plot
        return plot.left() + plot.width() * min(1.0, max(0.0, self.axis.share(length)))

    def length(self, x: float) -> float:
        """The length at a place."""
        plot = self.plot
        return self.axis.length((x - plot.left()) / plot.width())

    def paint_bars(self, painter: QPainter, *, any_cut: bool) -> None:
        """The bars; behind the limit in another colour, on a tint."""
        c = look().colors
        plot, at = self.plot, self.x(self.limit)
        if any_cut:
            painter.fillRect(QRectF(QPointF(at, plot.top()), plot.bottomRight()), QColor(c.warn_soft))
        most = max(bar.rows for bar in self.bars)
        for bar in self.bars:
            left, right = self.x(bar.low) + 0.5, self.x(bar.high) - 0.5
            height = max(2.0, plot.height() * bar.rows / most)
            box = QRectF(left, plot.bottom() - height, max(1.0, right - left), height)
            for color, part in (
                (c.series[0], QRectF(box.topLeft(), QPointF(min(right, at), box.bottom()))),
                (c.warn, QRectF(QPointF(max(left, at), box.top()), box.bottomRight())),
            ):
                if part.width() > 0:
                    painter.fillRect(part, QColor(color))

    def paint_axis(self, painter: QPainter) -> None:
        """The line below the bars, with lengths at even places of the scale."""
        c = look().colors
        plot = self.plot
        painter.setFont(self.font)
        painter.setPen(QPen(QColor(c.line_strong), 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        ticks = self.axis.ticks(int(plot.width() / look().px(_TICK_WIDTH)))
        word = tr("{n} tokens", n=f"{ticks[-1]:,}") if ticks else ""
        metrics = QFontMetricsF(self.font)
        for tick in ticks:
            at = self.x(tick)
            painter.setPen(QPen(QColor(c.line_strong), 1))
            painter.drawLine(QPointF(at, plot.bottom()), QPointF(at, plot.bottom() + 3))
            painter.setPen(QColor(c.muted))
            text = word if tick == ticks[-1] else f"{tick:,}"
            # the number stands below its place, and the word behind it
            width = metrics.horizontalAdvance(f"{tick:,}")
            left = min(at - width / 2, self.area.width() - metrics.horizontalAdvance(text) - 2)
            painter.drawText(QPointF(max(2.0, left), plot.bottom() + _GAP + metrics.ascent()), text)

    def paint_limit(self, painter: QPainter, words: str, *, any_cut: bool, held: bool) -> None:
        """The line with its knob, what it is and what it costs; dashed where the limit is beyond the plot."""
        c = look().colors
        plot, at = self.plot, self.x(self.limit)
        away = not 0 <= self.axis.share(self.limit) <= 1
        color = QColor(c.accent_hover if held else c.accent)
        painter.setPen(QPen(color, 3 if held else 2, Qt.PenStyle.DashLine if away else Qt.PenStyle.SolidLine))
        painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()))
        painter.setPen(QPen(color, 2))
        painter.setBrush(color if held else QColor(c.panel))
        painter.drawEllipse(QPointF(at, plot.top() - _KNOB + 1), _KNOB, _KNOB)
        bold = QFont(self.font)
        bold.setWeight(QFont.Weight.DemiBold)
        painter.setFont(bold)
        painter.setPen(QColor(c.text))
        height = QFontMetricsF(self.font).height()
        self._write(painter, bold, tr("Limit {limit} tokens", limit=f"{self.limit:,}"), at, 0)
        painter.setFont(self.font)
        painter.setPen(QColor(c.warn if any_cut else c.muted))
        self._write(painter, self.font, words, at, height)

    def _write(self, painter: QPainter, font: QFont, text: str, at: float, top: float) -> None:
        metrics = QFontMetricsF(font)
        width = metrics.horizontalAdvance(text)
        left = max(2.0, min(at - width / 2, self.area.width() - width - 2.0))
        painter.drawText(QPointF(left, top + _GAP + metrics.ascent()), text)

    @staticmethod
    def paint_ring(painter: QPainter, area: QRectF, radius: int) -> None:
        """The ring of the focus."""
        painter.setPen(QPen(QColor(look().colors.accent), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area.adjusted(1, 1, -1, -1), radius, radius)
