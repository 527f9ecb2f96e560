"""The stacked bar of memory: what each component takes, up to what the device has."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from core.plan.types import Memory
from core.units import format_bytes, format_share
from studio.look.theme import look
from studio.look.tokens import component_color

_TICK = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One component: stable name, title for people, bytes, and what it consists of."""

    name: str
    title: str
    bytes: int
    detail: str = ""


class MemoryBar(QWidget):
    """Components side by side on a track that is as long as the limit; beyond the limit the track is red.

    A mark shows what of the device is free now, and a bracket below the bar between which sizes the peak will lie.
    The tip under the mouse has the whole breakdown, the component under it in bold.
    """

    def __init__(self, height: int = 14) -> None:
        super().__init__()
        self._parts: tuple[Part, ...] = ()
        self._limit = self._free = 0
        self._band = (0, 0)
        self._height = height
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def show_memory(self, parts: Sequence[Part], memory: Memory) -> None:
        """Shows a plan's memory, its band included."""
        self._band = (memory.low_bytes, memory.high_bytes) if parts else (0, 0)
        self.show_parts(parts, memory.limit_bytes, memory.free_bytes)

    def show_parts(self, parts: Sequence[Part], limit: int, free: int) -> None:
        """Shows other numbers, in bytes."""
        self._parts, self._limit, self._free = tuple(parts), limit, free
        total = sum(part.bytes for part in parts)
        if not total:
            self._band = (0, 0)
        words = ", ".join(f"{part.title} {format_bytes(part.bytes)}" for part in parts)
        self.setAccessibleName(f"{format_bytes(total)} / {format_bytes(limit)}: {words}")
        self.update()

    def breakdown(self, marked: Part | None = None) -> str:
        """All components as a small table in rich text; what ``marked`` consists of stands below it."""
        total = sum(part.bytes for part in self._parts)
        rows = []
        for part in self._parts:
            weight = "600" if part == marked else "400"
            cells = (part.title, format_bytes(part.bytes), format_share(part.bytes / total))
            aligned = (
                f'<td align="{"left" if column == 0 else "right"}" style="font-weight:{weight};padding-right:12px">'
                f"{html.escape(cell)}</td>"
                for column, cell in enumerate(cells)
            )
            rows.append(f"<tr>{''.join(aligned)}</tr>")
        below = f"<p>{html.escape(marked.title)}: {html.escape(marked.detail)}</p>" if marked and marked.detail else ""
        return f"<table>{''.join(rows)}</table>{below}"

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A low, wide bar with room for the bracket below it."""
        return QSize(200, self._height + 4 + _TICK)

    def event(self, event: object) -> bool:
        """The tip under the mouse is the breakdown."""
        if isinstance(event, QHelpEvent) and self._parts:
            at = event.pos().x()
            marked = next((part for part, box in self._boxes() if box.left() <= at <= box.right()), None)
            QToolTip.showText(event.globalPos(), self.breakdown(marked), self)
            return True
        return super().event(event)  # type: ignore[arg-type]

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Track, components, the mark of what is free, and the bracket of the band."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_components(painter)
        c, span, width = look().colors, self._span(), self.width()
        painter.setPen(QPen(QColor(c.text), 2))
        if 0 < self._free < span:
            at = width * self._free / span
            painter.drawLine(round(at), 0, round(at), self._height + 4)
        low, high = self._band
        if high > low:
            left, right = (min(width - 1.0, width * size / span) for size in (low, high))
            bottom = self._height + 3 + _TICK
            painter.setPen(QPen(QColor(c.muted), 1))
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
            painter.drawLine(round(left), bottom - 1, round(right), bottom - 1)
            for end in (left, right):
                painter.drawLine(round(end), bottom - _TICK + 1, round(end), bottom - 1)
        painter.end()

    def _paint_components(self, painter: QPainter) -> None:
        c = look().colors
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

    def _span(self) -> int:
        return max(self._limit, sum(part.bytes for part in self._parts), self._band[1], 1)

    def _boxes(self) -> list[tuple[Part, QRectF]]:
        boxes, left, span = [], 0.0, self._span()
        for part in self._parts:
            width = self.width() * part.bytes / span
            boxes.append((part, QRectF(left, 2, width, self._height)))
            left += width
        return boxes
