"""How long the rows are, as bars, with the limit as a line that can be dragged."""

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from core.data.report.types import Cut, Lengths
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.bars import Bar, axis_of, bars_of
from studio.pages.data.histogram_painting import HistogramPainting, small_font
from studio.words import tr, tr_count

_GRIP = 10
_STEPS = ((256, 8), (1024, 16), (4096, 64))
_COARSEST = 128
_LEAST_LIMIT = 8
_KEYS = {
    Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1,
    Qt.Key.Key_PageDown: -10, Qt.Key.Key_PageUp: 10,
}  # fmt: skip


def _step(limit: float) -> int:
    return next((step for below, step in _STEPS if limit < below), _COARSEST)


def nice_limit(value: float) -> int:
    """A limit that people would write: steps of 8 for short rows, of 128 for long ones."""
    step = _step(value)
    return max(_LEAST_LIMIT, round(value / step) * step)


def enough_for(longest: int) -> int:
    """The lowest such limit that cuts nothing."""
    step = _step(longest)
    return max(_LEAST_LIMIT, -(-longest // step) * step)


class LengthHistogram(QWidget):
    """Bars of row counts by length, and the limit. Mouse and keys move the limit; it is set when they let go.

    Attributes:
        limit_moving: where the limit is now, at every movement, while it is in the hand.
        limit_moved: where it was let go.
    """

    limit_moving = Signal(int)
    limit_moved = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.lengths = Lengths()
        self.limit = self._set_limit = 0
        self._is_pair = False
        self._bars: tuple[Bar, ...] = ()
        self._axis = axis_of((), 0)
        self._dragging = self._hovered = False
        self.setObjectName("length-histogram")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(look().px(200), look().px(170))

    # --- what it shows

    def show_lengths(self, lengths: Lengths, limit: int, *, is_pair: bool = False) -> None:
        """Shows how long rows are, and the limit in tokens; ``is_pair`` says that the lengths are those of answers."""
        self._is_pair = is_pair
        self.lengths, self._bars = lengths, bars_of(lengths)
        self._axis = axis_of(self._bars, limit)
        self.set_limit(limit)

    def set_limit(self, limit: int) -> None:
        """Moves the line without telling anyone; one that is in the hand stays there."""
        if self.is_moving:
            return
        self.limit = self._set_limit = limit
        self._axis = axis_of(self._bars, limit)
        self._describe()
        self.update()

    @property
    def is_dragging(self) -> bool:
        """Whether the line is in the mouse's hand."""
        return self._dragging

    @property
    def is_moving(self) -> bool:
        """Whether the line is in somebody's hand, or not where the spec has it."""
        return self._dragging or self.limit != self._set_limit

    @property
    def cut(self) -> Cut:
        """What the limit cuts off where the line is now."""
        return self.lengths.cut(self.limit)

    def limit_place(self) -> QPointF:
        """Where the line's knob is."""
        painting = self._painting()
        return QPointF(painting.x(self.limit), painting.plot.top())

    def place_of(self, length: float) -> QPointF:
        """Where a length is."""
        painting = self._painting()
        return QPointF(painting.x(length), painting.plot.center().y())

    def _describe(self) -> None:
        rows, longest, cut = self.lengths.total_rows, self.lengths.longest, self.cut
        self.setAccessibleName(
            tr("Limit of the length: {limit} tokens. {rows} answers with their prompts, the longest with {longest}.",
               limit=f"{self.limit:,}", rows=f"{rows:,}", longest=f"{longest:,}")
            if self._is_pair else
            tr("Limit of the length: {limit} tokens. {rows} rows, the longest with {longest}.",
               limit=f"{self.limit:,}", rows=f"{rows:,}", longest=f"{longest:,}")
        )  # fmt: skip
        self.setAccessibleDescription(
            tr("{cut}. Arrow keys move the limit, End sets it so that nothing is cut, Escape puts it back.",
               cut=cut_words(cut, is_pair=self._is_pair))
        )  # fmt: skip

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Wide and low."""
        return QSize(look().px(420), look().px(210))

    # --- painting

    def _painting(self) -> HistogramPainting:
        return HistogramPainting(QRectF(self.rect()), small_font(self.font()), self._bars, self._axis, self.limit)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Axis, bars, line and its words."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._bars:
            painting = self._painting()
            cut = self.cut
            painting.paint_bars(painter, any_cut=cut.rows > 0)
            painting.paint_axis(painter)
            held = self._dragging or self._hovered
            painting.paint_limit(painter, cut_words(cut, is_pair=self._is_pair), any_cut=cut.rows > 0, held=held)
        if self.hasFocus():
            HistogramPainting.paint_ring(painter, QRectF(self.rect()), tokens.RADIUS)
        painter.end()

    def event(self, event: QEvent) -> bool:
        """The tip says what a bar stands for."""
        if event.type() is QEvent.Type.ToolTip and isinstance(event, QHelpEvent) and not self._dragging:
            tip = self._tip(event.pos().x())
            if tip:
                QToolTip.showText(event.globalPos(), tip, self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)

    def _tip(self, x: float) -> str:
        length = self._painting().length(x)
        bar = next((item for item in self._bars if item.low < length <= item.high), None)
        if bar is None:
            return ""
        first, last = int(bar.low) + 1, int(bar.high)
        if self._is_pair:
            return tr_count(bar.rows, "{first} to {last} tokens: one answer", "{first} to {last} tokens: {n} answers",
                            first=f"{first:,}", last=f"{last:,}")  # fmt: skip
        return tr_count(bar.rows, "{first} to {last} tokens: one row", "{first} to {last} tokens: {n} rows",
                        first=f"{first:,}", last=f"{last:,}")  # fmt: skip

    # --- moving the limit

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Takes the line where it is, or brings it to the mouse."""
        if event.button() is Qt.MouseButton.LeftButton and self._bars:
            self._dragging = True
            if abs(event.position().x() - self.limit_place().x()) > _GRIP:
                self._move_to(self._length_at(event.position().x()))
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Drags the line."""
        near = bool(self._bars) and abs(event.position().x() - self.limit_place().x()) <= _GRIP
        self._hover(near=near)
        if self._dragging:
            self._move_to(self._length_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Lets the line go: now the limit is set."""
        if event.button() is Qt.MouseButton.LeftButton and self._dragging:
            self._dragging = False
            self._let_go()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """The mouse is elsewhere."""
        super().leaveEvent(event)
        self._hover(near=False)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Arrow keys move the line by a step, page keys by ten, End to where nothing is cut; Escape puts it back."""
        steps = _KEYS.get(Qt.Key(event.key()))
        if not self._bars:
            super().keyPressEvent(event)
        elif event.key() == Qt.Key.Key_Escape and self.is_moving:
            self._dragging = False
            self._move_to(self._set_limit)
            self.update()
        elif event.key() == Qt.Key.Key_End:
            self._move_to(enough_for(self.lengths.longest))
        elif steps is not None:
            self._move_to(nice_limit(max(_LEAST_LIMIT, self.limit + steps * _step(self.limit))))
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """A key that is let go lets the line go."""
        super().keyReleaseEvent(event)
        if not event.isAutoRepeat() and not self._dragging:
            self._let_go()

    def focusInEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        """Shows the ring."""
        super().focusInEvent(event)  # type: ignore[arg-type]
        self.update()

    def focusOutEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        """Hides the ring; whoever goes away lets go."""
        super().focusOutEvent(event)  # type: ignore[arg-type]
        if not self._dragging:
            self._let_go()
        self.update()

    def _length_at(self, x: float) -> int:
        return nice_limit(self._painting().length(x))

    def _hover(self, *, near: bool) -> None:
        self.setCursor(Qt.CursorShape.SizeHorCursor if near or self._dragging else Qt.CursorShape.ArrowCursor)
        if near != self._hovered:
            self._hovered = near
            self.update()

    def _move_to(self, limit: int) -> None:
        if limit != self.limit:
            self.limit = limit
            self._describe()
            self.update()
            self.limit_moving.emit(limit)

    def _let_go(self) -> None:
        limit = self.limit
        if limit != self._set_limit:
            self._set_limit = limit
            self.limit_moved.emit(limit)
        self.update()


def cut_words(cut: Cut, *, is_pair: bool = False) -> str:
    """What a limit costs, in words."""
    if not cut.rows:
        return tr("nothing is cut")
    lost = tr_count(cut.tokens, "one token lost", "{n} tokens lost")
    if is_pair:
        return tr_count(cut.rows, "one answer cut, {lost}", "{n} answers cut, {lost}", lost=lost)
    return tr_count(cut.rows, "one row cut, {lost}", "{n} rows cut, {lost}", lost=lost)
