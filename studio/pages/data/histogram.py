"""How long the rows are, as bars, with the limit as a line that can be dragged."""

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.words import tr, tr_count

_GRIP = 8
_STEPS = ((256, 8), (1024, 16), (4096, 64))
_COARSEST = 128
_FARTHEST, _FARTHEST_CUT = 1.25, 1.6
_LEAST_LIMIT = 8


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of more than ``low`` and at most ``high`` tokens."""

    low: int
    high: int
    rows: int


def bins_of(histogram: Mapping[str, int]) -> tuple[Bin, ...]:
    """The bins of a `core.facts.types.LengthFacts.histogram`, in order."""
    edges = sorted((int(edge), rows) for edge, rows in histogram.items())
    lows = [0, *(edge for edge, _ in edges)]
    return tuple(Bin(low, high, rows) for low, (high, rows) in zip(lows, edges, strict=False))


def rows_beyond(bins: tuple[Bin, ...], limit: int) -> int:
    """About how many rows have more tokens than ``limit``: rows lie evenly within their bin."""
    beyond = 0.0
    for item in bins:
        if item.low >= limit:
            beyond += item.rows
        elif item.high > limit:
            beyond += item.rows * (item.high - limit) / (item.high - item.low)
    return round(beyond)


def nice_limit(value: float) -> int:
    """A limit that people would write: steps of 8 for short rows, of 128 for long ones."""
    step = next((step for below, step in _STEPS if value < below), _COARSEST)
    return max(_LEAST_LIMIT, round(value / step) * step)


class LengthHistogram(QWidget):
    """Bars of row counts by length, and the limit. Mouse and arrow keys move the limit.

    Attributes:
        limit_moved: the new limit in tokens, at every movement.
    """

    limit_moved = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._bins: tuple[Bin, ...] = ()
        self._limit = self._counted_limit = 0
        self._cut = 0
        self._dragging = False
        self.setObjectName("length-histogram")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(look().px(160), look().px(150))

    # --- what it shows

    def show_lengths(self, histogram: Mapping[str, int], cut: int, limit: int) -> None:
        """Shows counts.

        Args:
            histogram: upper edge of a bin -> rows in it.
            cut: how many rows of the last bin were cut there by the limit, so that nobody knows how long they are.
            limit: the limit in tokens.
        """
        self._bins, self._cut, self._limit, self._counted_limit = bins_of(histogram), cut, limit, limit
        self._describe()
        self.update()

    def set_limit(self, limit: int) -> None:
        """Moves the line without telling anyone."""
        self._limit = limit
        self._describe()
        self.update()

    @property
    def is_dragging(self) -> bool:
        """Whether the line is in the user's hand."""
        return self._dragging

    @property
    def beyond(self) -> int:
        """About how many of the rows shown are longer than the limit; 0 where that cannot be known."""
        if self._cut and self._limit > self._counted_limit:
            return 0
        return self._cut if self._cut and self._limit == self._counted_limit else rows_beyond(self._bins, self._limit)

    def limit_place(self) -> QPointF:
        """Where the line's grip is."""
        plot = self._plot()
        return QPointF(self._x(min(self._limit, self._span())), plot.top())

    def _describe(self) -> None:
        rows = sum(item.rows for item in self._bins)
        longest = self._bins[-1].high if self._bins else 0
        self.setAccessibleName(
            tr("Lengths of {rows} rows, the longest under {longest} tokens", rows=rows, longest=longest)
        )
        self.setAccessibleDescription(
            tr("The limit is {limit} tokens; arrow keys move it. About {cut} rows are longer.",
               limit=self._limit, cut=self.beyond)
        )  # fmt: skip

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Wide and low."""
        return QSize(look().px(420), look().px(190))

    # --- geometry

    def _font(self) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(look().px(tokens.SMALL - 1))
        return font

    def _plot(self) -> QRectF:
        line = QFontMetrics(self._font()).height()
        return QRectF(4, line + 12, self.width() - 12, max(20, self.height() - 2 * line - 24))

    def _span(self) -> float:
        """Tokens at the right edge."""
        last = float(self._bins[-1].high) if self._bins else 1.0
        if last < self._limit <= last * 2:
            return self._limit * 1.06
        return last * (_FARTHEST_CUT if self._cut else _FARTHEST)

    def _x(self, length: float) -> float:
        plot = self._plot()
        return plot.left() + plot.width() * length / self._span()

    def _length_at(self, x: float) -> int:
        plot = self._plot()
        share = min(1.0, max(0.0, (x - plot.left()) / plot.width()))
        return nice_limit(share * self._span())

    # --- painting

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Axis, bars, line and its words."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._font())
        if self._bins:
            self._paint_bars(painter)
            self._paint_axis(painter)
            self._paint_limit(painter)
        if self.hasFocus():
            painter.setPen(QPen(QColor(look().colors.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), tokens.RADIUS, tokens.RADIUS)
        painter.end()

    def _paint_bars(self, painter: QPainter) -> None:
        c = look().colors
        plot = self._plot()
        most = max(1, *(item.rows for item in self._bins))
        for item in self._bins:
            if not item.rows:
                continue
            left, right = self._x(item.low), self._x(item.high)
            height = max(2.0, plot.height() * item.rows / most)
            bar = QRectF(left + 1, plot.bottom() - height, max(1.0, right - left - 2), height)
            if self._cut and item is self._bins[-1]:
                self._paint_cut(painter, bar)
                continue
            painter.fillRect(bar, QColor(c.warn if item.low >= self._limit else c.series[0]))
            if item.low < self._limit < item.high:
                bar.setLeft(max(bar.left(), self._x(self._limit)))
                painter.fillRect(bar, QColor(c.warn))

    def _paint_cut(self, painter: QPainter, bar: QRectF) -> None:
        """The last bar: what the limit has cut there stands on what ends there by itself."""
        c = look().colors
        share = min(1.0, self._cut / self._bins[-1].rows)
        painter.fillRect(bar, QColor(c.series[0]))
        painter.fillRect(QRectF(bar.left(), bar.top(), bar.width(), bar.height() * share), QColor(c.warn))

    def _paint_axis(self, painter: QPainter) -> None:
        c = look().colors
        plot = self._plot()
        painter.setPen(QPen(QColor(c.line_strong), 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.setPen(QColor(c.muted))
        metrics = QFontMetrics(self._font())
        word = tr("{n} tokens", n=f"{self._bins[-1].high:,}")
        step = max(1, len(self._bins) // 5)
        free_from = -1.0
        last = self._x(self._bins[-1].high)
        for item in self._bins[step - 1 :: step]:
            text = f"{item.high:,}"
            width = metrics.horizontalAdvance(text)
            at = self._x(item.high)
            end = last + metrics.horizontalAdvance(word) / 2
            is_last = item.high == self._bins[-1].high
            if at - width / 2 < free_from or is_last or at + width / 2 > end - metrics.horizontalAdvance(word) - 8:
                continue
            self._write(painter, text, at, plot.bottom() + 4)
            free_from = at + width / 2 + 12
        self._write(painter, word, last, plot.bottom() + 4)

    def _write(self, painter: QPainter, text: str, at: float, top: float) -> None:
        metrics = QFontMetrics(self._font())
        width = metrics.horizontalAdvance(text)
        left = min(max(2.0, at - width / 2), self.width() - width - 2.0)
        painter.drawText(QPointF(left, top + metrics.ascent()), text)

    def _paint_limit(self, painter: QPainter) -> None:
        c = look().colors
        plot = self._plot()
        away = self._limit > self._span()
        at = self._x(min(self._limit, self._span()))
        color = QColor(c.accent)
        painter.setPen(QPen(color, 2, Qt.PenStyle.DashLine if away else Qt.PenStyle.SolidLine))
        painter.drawLine(QPointF(at, plot.top() - 4), QPointF(at, plot.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        grip = [QPointF(at - 5, plot.top() - 8), QPointF(at + 5, plot.top() - 8), QPointF(at, plot.top())]
        painter.drawPolygon(QPolygonF(grip))
        painter.setPen(QColor(c.text))
        limit, beyond = f"{self._limit:,}", self.beyond
        words = tr("Limit {limit} tokens", limit=limit)
        if beyond:
            words = tr_count(
                beyond,
                "Limit {limit} tokens: one row is longer",
                "Limit {limit} tokens: {n} rows are longer",
                limit=limit,
            )
        self._write(painter, words, at, 2)

    # --- moving the limit

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Takes the line where it is, or brings it to the mouse."""
        if event.button() is Qt.MouseButton.LeftButton and self._bins:
            self._dragging = True
            if abs(event.position().x() - self.limit_place().x()) > _GRIP:
                self._move_to(self._length_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Drags the line."""
        near = abs(event.position().x() - self.limit_place().x()) <= _GRIP
        self.setCursor(Qt.CursorShape.SizeHorCursor if near or self._dragging else Qt.CursorShape.ArrowCursor)
        if self._dragging:
            self._move_to(self._length_at(event.position().x()))

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Lets the line go."""
        self._dragging = False
        self._describe()
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Arrow keys move the line by a step, page keys by ten."""
        keys = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1,
            Qt.Key.Key_PageDown: -10, Qt.Key.Key_PageUp: 10,
        }  # fmt: skip
        steps = keys.get(Qt.Key(event.key()))
        if steps is None or not self._bins:
            super().keyPressEvent(event)
            return
        step = next((step for below, step in _STEPS if self._limit < below), _COARSEST)
        self._move_to(nice_limit(max(_LEAST_LIMIT, self._limit + steps * step)))

    def focusInEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        """Shows the ring."""
        super().focusInEvent(event)  # type: ignore[arg-type]
        self.update()

    def _move_to(self, limit: int) -> None:
        if limit != self._limit:
            self._limit = limit
            self._describe()
            self.update()
            self.limit_moved.emit(limit)
