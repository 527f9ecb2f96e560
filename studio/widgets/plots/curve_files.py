"""Curves as files: a picture, a drawing, or all points as a table."""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QIODevice, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtSvg import QSvgGenerator

from core.paths import write_atomic
from studio.look.theme import look
from studio.widgets.plots.drawing import draw
from studio.widgets.plots.scene import Scene

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array

_MARGIN = 16
_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Table:
    """All points of all curves, apart from the plot, so that they can be written in another thread."""

    x_title: str
    columns: tuple[tuple[str, "Array", "Array"], ...]


def table_of(scene: Scene) -> Table:
    """A copy of every point of the scene, hidden curves included."""
    named = scene.named()
    return Table(scene.x_title, tuple((item.label, item.points.xs.copy(), item.points.ys.copy()) for item in named))


def write_png(scene: Scene, path: Path, size: QSize, scale: float = 2.0) -> None:
    """A picture of what the plot shows, at twice the pixels of the screen.

    Raises:
        OSError: it cannot be written.
    """
    image = QImage(size * scale, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(scale)
    image.fill(QColor(look().colors.panel))
    painter = QPainter(image)
    draw(painter, _inside(size), scene, scale)
    painter.end()
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not image.save(buffer, "PNG"):  # type: ignore[call-overload]  # the stubs want bytes, Qt takes a text
        raise OSError(f"{path}: the picture could not be made")
    write_atomic(path, bytes(buffer.data().data()))


def write_svg(scene: Scene, path: Path, size: QSize) -> None:
    """A drawing of what the plot shows, to be enlarged at will.

    Raises:
        OSError: it cannot be written.
    """
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(size)
    generator.setViewBox(QRectF(0, 0, size.width(), size.height()))
    generator.setTitle(scene.title)
    painter = QPainter(generator)
    painter.fillRect(0, 0, size.width(), size.height(), QColor(look().colors.panel))
    painter.setPen(Qt.PenStyle.NoPen)
    draw(painter, _inside(size), scene, vector=True)
    painter.end()
    write_atomic(path, bytes(buffer.data().data()))


def write_csv(table: Table, path: Path, check: Callable[[], None] = lambda: None) -> None:
    """Every point of every curve: one row for each x, an empty cell where a curve has none.

    ``check`` is called now and then and may raise to end the work; nothing is left behind then.

    Raises:
        OSError: it cannot be written.
    """
    import numpy as np

    everything = [xs for _, xs, _ in table.columns]
    union = np.unique(np.concatenate(everything)) if everything else np.empty(0)
    places = [np.searchsorted(union, xs) for _, xs, _ in table.columns]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([table.x_title, *(label for label, _, _ in table.columns)])
    for start in range(0, len(union), _ROWS):
        check()
        rows = union[start : start + _ROWS]
        cells: list[list[str]] = [[_x(value) for value in rows.tolist()]]
        for (_, _, ys), place in zip(table.columns, places, strict=True):
            column = [""] * len(rows)
            first, last = np.searchsorted(place, [start, start + len(rows)])
            for index, value in zip(place[first:last].tolist(), ys[first:last].tolist(), strict=True):
                column[index - start] = repr(value) if math.isfinite(value) else str(value)
            cells.append(column)
        writer.writerows(zip(*cells, strict=True))
    write_atomic(path, text.getvalue().encode())


def _x(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _inside(size: QSize) -> QRectF:
    return QRectF(_MARGIN, _MARGIN, size.width() - 2 * _MARGIN, size.height() - 2 * _MARGIN)
