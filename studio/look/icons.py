"""Icons from the bundled outlines (Lucide, ISC licence), drawn in the colours of the present look."""

import functools

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QImage, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from core.paths import resource
from studio.look.theme import colors

_SCALES = (1, 2, 3)


def icon(name: str, color: str = "", size: int = 18, gap: int = 0) -> QIcon:
    """The icon called ``name`` (a file under ``resources/icons``).

    Args:
        name: the file's name without its ending.
        color: a field of `studio.look.tokens.Colors`, by default "text"; the icon is faint where it is disabled.
        size: edge in pixels.
        gap: empty pixels at its right, because Qt leaves hardly any between an icon and the text of a button.
    """
    c = colors()
    return _icon(name, getattr(c, color or "text"), c.faint, size, gap)


def pixmap(name: str, color: str = "", size: int = 18, ratio: float = 1.0) -> QPixmap:
    """The icon as a picture for painting; ``ratio`` is the device's pixel ratio."""
    return _pixmap(name, getattr(colors(), color or "text"), size, max(1, round(ratio)), 0)


@functools.lru_cache(maxsize=512)
def _icon(name: str, color: str, disabled: str, size: int, gap: int) -> QIcon:
    made = QIcon()
    for scale in _SCALES:
        made.addPixmap(_pixmap(name, color, size, scale, gap), QIcon.Mode.Normal)
        made.addPixmap(_pixmap(name, disabled, size, scale, gap), QIcon.Mode.Disabled)
    return made


@functools.lru_cache(maxsize=1024)
def _pixmap(name: str, color: str, size: int, scale: int, gap: int) -> QPixmap:
    source = _source(name).replace("currentColor", color)
    image = QImage((size + gap) * scale, size * scale, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(source.encode())).render(painter, QRectF(0, 0, size * scale, size * scale))
    painter.end()
    picture = QPixmap.fromImage(image)
    picture.setDevicePixelRatio(scale)
    return picture


@functools.cache
def _source(name: str) -> str:
    return resource("icons", f"{name}.svg").read_text("utf-8")
