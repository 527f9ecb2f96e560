"""What an export takes of the disk, as a bar and in words."""

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from core.units import format_bytes
from studio.look import tokens
from studio.look.theme import look
from studio.widgets.basics import label
from studio.words import tr

_HEIGHT = 6


class SpaceBar(QWidget):
    """“Takes 257.7 MiB of 12.3 GiB free”, and the same as a bar; red where it does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = _Bar()
        self._words = label("", "muted", wrap=True)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_1)
        box.addWidget(self._bar)
        box.addWidget(self._words)

    def show_space(self, needed: int, free: int) -> None:
        """Shows other numbers, in bytes."""
        self._bar.show_share(needed / free if free > 0 else float(needed > 0), fits=needed <= free)
        words = tr("Takes {needed} of {free} free.", needed=format_bytes(needed), free=format_bytes(free))
        self._words.setText(words)
        self.setAccessibleName(words)


class _Bar(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._share, self._fits = 0.0, True
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_share(self, share: float, *, fits: bool) -> None:
        self._share, self._fits = min(1.0, max(0.0, share)), fits
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        return QSize(200, _HEIGHT)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        c = look().colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(0, 0, self.width(), _HEIGHT)
        path = QPainterPath()
        path.addRoundedRect(track, _HEIGHT / 2, _HEIGHT / 2)
        painter.fillPath(path, QColor(c.line))
        painter.setClipPath(path)
        if self._share > 0:
            filled = QRectF(0, 0, max(_HEIGHT / 2, self.width() * self._share), _HEIGHT)
            painter.fillRect(filled, QColor(c.accent if self._fits else c.bad))
        painter.end()
