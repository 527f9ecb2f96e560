"""The stacked bar of memory: what each component takes, up to what the device has."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from core.units import format_bytes
from studio.look.theme import look
from studio.look.tokens import component_color


@dataclass(frozen=True, slots=True)
class Part:
    """One component: stable name, title for people, bytes."""

    name: str
    title: str
    bytes: int


class MemoryBar(QWidget):
    """Components side by side on a track that is as long as the limit; beyond the limit the track is red.

    The mark shows what of the device is free now.
    """

    def __init__(self, height: int = 14) -> None:
        super().__init__()
        self._parts: tuple[Part, ...] = ()
        self._limit = self._free = 0
        self._height = height
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def show_parts(self, parts: Sequence[Part], limit: int, free: int) -> None:
        """Shows other numbers, in bytes."""
        self._parts, self._limit, self._free = tuple(parts), limit, free
        total = sum(part.bytes for part in parts)
        words = ", ".join(f"{part.title} {format_bytes(part.bytes)}" for part in parts)
        self.setAccessibleName(f"{format_bytes(total)} / {format_bytes(limit)}: {words}")
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A low, wide bar."""
        return QSize(200, self._height + 4)

    def event(self, event: object) -> bool:
        """The tip under the mouse names the component."""
        if isinstance(event, QHelpEvent):
            at = event.pos().x()
            for part, box in self._boxes():
                if box.left() <= at <= box.right():
                    QToolTip.showText(event.globalPos(), f"{part.title}: {format_bytes(part.bytes)}", self)
                    return True
        return super().event(event)  # type: ignore[arg-type]

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Track, components, and the mark of what is free."""
        c = look().colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(0, 2, self.width(), self._height)
        path = QPainterPath()
        path.addRoundedRect(track, 4, 4)
        painter.fillPath(path, QColor(c.line))
        painter.setClipPath(path)
        for part, box in self._boxes():
            painter.fillRect(box, QColor(component_color(part.name, c)))
            if box.width() > 3:
                painter.fillRect(QRectF(box.right() - 1, box.top(), 1, box.height()), QColor(c.panel))
        span = self._span()
        if span > self._limit > 0:
            over = QRectF(track.width() * self._limit / span, track.top(), track.width(), track.height())
            painter.fillRect(over, QColor(c.bad))
        painter.setClipping(False)
        if 0 < self._free < span:
            at = track.width() * self._free / span
            painter.setPen(QPen(QColor(c.text), 2))
            painter.drawLine(round(at), 0, round(at), self._height + 4)
        painter.end()

    def _span(self) -> int:
        return max(self._limit, sum(part.bytes for part in self._parts), 1)

    def _boxes(self) -> list[tuple[Part, QRectF]]:
        boxes, left, span = [], 0.0, self._span()
        for part in self._parts:
            width = self.width() * part.bytes / span
            boxes.append((part, QRectF(left, 2, width, self._height)))
            left += width
        return boxes
