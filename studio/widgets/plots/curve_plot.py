"""The plot of curves over steps: a million points, panned and zoomed with mouse or keys, read with a crosshair."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.widgets.plots import curve_files
from studio.widgets.plots.drawing import draw
from studio.widgets.plots.frame import Frame
from studio.widgets.plots.readout import draw_crosshair, in_words, readings, snapped
from studio.widgets.plots.ready import is_ready, when_ready
from studio.widgets.plots.scene import Scene, Series, Style
from studio.widgets.plots.ticks import Write
from studio.widgets.plots.view import Range
from studio.words import tr

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Numbers

_CLICK_PIXELS = 4
_PAN_STEP = 0.1
_ZOOM_STEP = 0.8


class CurvePlot(QWidget):
    """Several curves over steps.

    The plot shows everything and grows with it until the user pans or zooms; a window that ends at the newest point
    moves along with it. Mouse: drag pans, the wheel zooms (with Ctrl along y) once the plot has the focus, a double
    click shows everything, a click on the legend hides a curve. Keys: arrows pan, + and - zoom (with Ctrl along y),
    Home shows everything, End follows the newest, Shift with the arrows moves the crosshair, L turns the log scale.

    Attributes:
        scene: what is shown; change it through the methods.
        view_changed: the user went elsewhere: the window (left, right), None for everything.
        cursor_changed: the crosshair's x, None without one.
        log_changed: the scale of y changed by key or menu.
        menu_asked: where (global) a context menu is wanted.
    """

    view_changed = Signal(object)
    cursor_changed = Signal(object)
    log_changed = Signal(bool)
    menu_asked = Signal(QPoint)

    def __init__(
        self,
        title: str,
        *,
        compact: bool = False,
        x_title: str = "",
        write: Write | None = None,
        empty: str = "",
        at_least: float | None = None,
    ) -> None:
        """``write`` writes y values, on the axis too; ``at_least`` is a value that the y range always reaches."""
        super().__init__()
        self.scene = Scene(title, x_title or tr("Step"), empty, compact, at_least=at_least)
        if write is not None:
            self.scene.write = self.scene.write_tick = write
        self.frame: Frame | None = None
        self.cursor_x: float | None = None
        self._layer: QPixmap | None = None
        self._waiting: list[Callable[[], None]] = []
        self._pressed: QPointF | None = None
        self._dragging = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(look().px(120), look().px(84 if compact else 150))
        self._name()

    # --- data

    def set_series(self, key: str, label: str, color: int, style: Style = "strong") -> None:
        """Makes a curve, or gives one another name or look; ``color`` is a place in `Colors.series`."""
        known = self.scene.series.get(key)
        if known is None:
            self.scene.series[key] = Series(key, label, color, style)
        else:
            known.label, known.color, known.style = label, color, style
        self._changed()

    def set_data(self, key: str, xs: "Numbers", ys: "Numbers") -> None:
        """Gives a curve all its points anew; x rises.

        Raises:
            ValueError: lengths differ or x does not rise.
            KeyError: no such curve was made.
        """
        self._soon(lambda: self._put(key, 0, xs, ys))

    def reserve(self, key: str, length: int) -> None:
        """Makes room for as many points as a curve will have."""
        self._soon(lambda: self.scene.series[key].points.reserve(length))

    def append(self, key: str, xs: "Numbers", ys: "Numbers", keep: int | None = None) -> None:
        """Adds points behind the last one, after throwing away all but the first ``keep`` points."""
        self._soon(lambda: self._put(key, keep, xs, ys))

    def remove_series(self, key: str) -> None:
        """Takes a curve away, if it is there."""
        self._soon(lambda: self._remove(key))

    def clear(self) -> None:
        """Takes all points away; the curves, the scale and what is hidden stay."""
        for key in self.scene.series:
            self._soon(lambda key=key: self._put(key, 0, (), ()))  # type: ignore[misc]  # bound early
        self.scene.view.show_all()

    def count(self, key: str) -> int:
        """How many points a curve has."""
        return len(self.scene.series[key].points)

    def _soon(self, change: Callable[[], None]) -> None:
        """Does it now, or as soon as numpy has been loaded in the background."""
        if is_ready() and not self._waiting:
            change()
            return
        self._waiting.append(change)
        if len(self._waiting) == 1:
            when_ready(self._catch_up, self)

    def _catch_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            change()

    def _put(self, key: str, keep: int | None, xs: "Numbers", ys: "Numbers") -> None:
        points = self.scene.series[key].points
        if keep is not None:
            points.first(keep)
        points.append(xs, ys)
        self.scene.fit()
        self._changed()

    def _remove(self, key: str) -> None:
        self.scene.series.pop(key, None)
        self.scene.fit()
        self._changed()

    def _changed(self) -> None:
        self._layer = None
        self._name()
        self.update()

    def _name(self) -> None:
        newest = self.scene.newest()
        title = self.scene.title
        extent = self.scene.view.extent
        if newest and extent is not None:
            step = f"{self.scene.x_title} {extent[1]:,.0f}"
            self.setAccessibleName(f"{title}: {step}: {newest}")
        else:
            self.setAccessibleName(f"{title}: {self.scene.empty}" if self.scene.empty else title)

    # --- what is seen

    def set_log(self, log: bool) -> None:
        """Turns the log scale of y on or off."""
        if log != self.scene.view.log:
            self.scene.view.set_log(log)
            self._redraw()
            self.log_changed.emit(log)

    def set_hidden(self, key: str, hidden: bool) -> None:
        """Hides a curve or shows it again."""
        self.scene.series[key].hidden = hidden
        self._redraw()

    def show_all(self) -> None:
        """Shows everything, and goes on doing so while data comes."""
        self.scene.view.show_all()
        self._went()

    def follow(self) -> None:
        """Keeps the width of the window and moves along with the newest point."""
        self.scene.view.follow()
        self._went()

    def pan(self, share: float) -> None:
        """Moves the window by a share of its width."""
        self.scene.view.pan(share)
        self._went()

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Narrows (below 1) or widens the window around an x."""
        self.scene.view.zoom(factor, at)
        self._went()

    def set_window(self, window: Range | None, *, follows: bool = True) -> None:
        """Shows a stretch along x, or everything; tells nobody, so that plots may move together."""
        self.scene.view.x, self.scene.view.follows = window, follows or window is None
        self._redraw()

    def set_cursor(self, x: float | None) -> None:
        """Puts the crosshair at an x, or takes it away; tells nobody."""
        if x != self.cursor_x:
            self.cursor_x = x
            self.update()

    def _went(self) -> None:
        self._redraw()
        self.view_changed.emit(self.scene.view.x)

    def _redraw(self) -> None:
        self._layer = None
        self.update()

    # --- files

    def export_png(self, path: Path) -> None:
        """Writes what is seen as a picture. Raises OSError where it cannot be written."""
        curve_files.write_png(self.scene, path, self._file_size())

    def export_svg(self, path: Path) -> None:
        """Writes what is seen as a drawing. Raises OSError where it cannot be written."""
        curve_files.write_svg(self.scene, path, self._file_size())

    def export_csv(self, path: Path) -> None:
        """Writes all points of all curves as a table. Raises OSError where it cannot be written."""
        curve_files.write_csv(curve_files.table_of(self.scene), path)

    def _file_size(self) -> QSize:
        return self.size().expandedTo(QSize(640, 360))

    # --- painting

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Wide and not high."""
        return QSize(look().px(220), look().px(112)) if self.scene.compact else QSize(look().px(520), look().px(260))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The curves, kept as a picture until they change; the crosshair and the ring of the focus on top."""
        ratio = self.devicePixelRatioF()
        if self._layer is None or self._layer.devicePixelRatioF() != ratio:
            self._layer = self._drawn(ratio)
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._layer)
        if self.cursor_x is not None and self.frame is not None and not self._dragging and self.scene.visible():
            draw_crosshair(painter, self.scene, self.frame, self.cursor_x)
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(look().colors.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), tokens.RADIUS, tokens.RADIUS)
        painter.end()

    def _drawn(self, ratio: float) -> QPixmap:
        picture = QPixmap(self.size() * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(QColor(look().colors.panel))
        painter = QPainter(picture)
        self.frame = draw(painter, QRectF(self.rect()).adjusted(6, 4, -4, -4), self.scene, ratio)
        painter.end()
        return picture

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Draws anew."""
        self._layer = None
        super().resizeEvent(event)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Draws anew in other colours and fonts."""
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._redraw()
        super().changeEvent(event)

    # --- mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Begins to pan."""
        if event.button() is Qt.MouseButton.LeftButton:
            self._pressed, self._dragging = event.position(), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Pans, or moves the crosshair."""
        if self.frame is None:
            return
        at = event.position()
        if self._pressed is None or not event.buttons() & Qt.MouseButton.LeftButton:
            inside = self.frame.area.contains(at) and bool(self.scene.visible())
            self._point(snapped(self.scene, self.frame, self.frame.x_of(at.x())) if inside else None)
            return
        moved = at - self._pressed
        if not self._dragging and moved.manhattanLength() < _CLICK_PIXELS:
            return
        self._dragging = True
        self._pressed = at
        self.setCursor(Qt.CursorShape.ClosedHandCursor)
        if self.scene.view.y is not None:
            self.scene.view.pan_y(moved.y() / max(1.0, self.frame.area.height()), self.frame.y)
        self.pan(-moved.x() / max(1.0, self.frame.area.width()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Ends to pan; a click on the legend hides a curve or shows it again."""
        clicked = self._pressed is not None and not self._dragging
        self._pressed, self._dragging = None, False
        self.unsetCursor()
        self.update()
        if clicked and self.frame is not None:
            for place, key in self.frame.legend:
                if place.contains(event.position()):
                    self.set_hidden(key, hidden=not self.scene.series[key].hidden)

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Shows everything."""
        self.show_all()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        """Zooms around the pointer; without the focus the page scrolls instead."""
        if not self.hasFocus() or self.frame is None or not event.angleDelta().y():
            event.ignore()
            return
        factor = _ZOOM_STEP ** (event.angleDelta().y() / 120)
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom_y(factor, self.frame.y_of(event.position().y()))
        else:
            self.zoom(factor, self.frame.x_of(event.position().x()))
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Takes the crosshair away."""
        self._point(None)
        super().leaveEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 (Qt's name)
        """Shows the ring."""
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 (Qt's name)
        """Takes the ring away."""
        super().focusOutEvent(event)
        self.update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802 (Qt's name)
        """Asks for the menu, by mouse or key."""
        self.menu_asked.emit(event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """See the class."""
        key, held = event.key(), event.modifiers()
        along_y = bool(held & Qt.KeyboardModifier.ControlModifier)
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            sign = 1 if key == Qt.Key.Key_Right else -1
            if held & Qt.KeyboardModifier.ShiftModifier:
                self._step_cursor(sign)
            else:
                self.pan(sign * _PAN_STEP)
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self.frame is not None:
            self.scene.view.pan_y(_PAN_STEP if key == Qt.Key.Key_Up else -_PAN_STEP, self.frame.y)
            self._redraw()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus, Qt.Key.Key_Underscore):
            factor = _ZOOM_STEP if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal) else 1 / _ZOOM_STEP
            if along_y:
                self._zoom_y(factor)
            else:
                self.zoom(factor, self.cursor_x)
        elif key == Qt.Key.Key_Home:
            self.show_all()
        elif key == Qt.Key.Key_End:
            self.follow()
        elif key == Qt.Key.Key_L and not along_y:
            self.set_log(not self.scene.view.log)
        elif key == Qt.Key.Key_Escape and self.cursor_x is not None:
            self._point(None)
        else:
            super().keyPressEvent(event)

    def _zoom_y(self, factor: float, at: float | None = None) -> None:
        if self.frame is not None:
            self.scene.view.zoom_y(factor, self.frame.y, at)
            self._redraw()

    def _step_cursor(self, sign: int) -> None:
        shown = self.scene.visible()
        if not shown or self.frame is None:
            return
        points = max((item.points for item in shown), key=len)
        if self.cursor_x is None:
            place = points.nearest(self.frame.x[1] if sign < 0 else self.frame.x[0])
        else:
            place = max(0, min(len(points) - 1, points.nearest(self.cursor_x) + sign))
        self._point(float(points.xs[place]))

    def _point(self, x: float | None) -> None:
        if x == self.cursor_x:
            return
        self.set_cursor(x)
        if x is not None and self.frame is not None:
            self.setAccessibleDescription(in_words(self.scene, x, readings(self.scene, self.frame, x)))
        self.cursor_changed.emit(x)
