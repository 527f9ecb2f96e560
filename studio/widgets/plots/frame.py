"""Where a plot's curves are on the screen."""

import math
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QRectF

from studio.widgets.plots.view import Range


@dataclass(frozen=True, slots=True)
class Frame:
    """Where things went: the area of the curves, the ranges it shows, and the legend's entries to click on."""

    area: QRectF
    x: Range
    y: Range
    log: bool
    legend: tuple[tuple[QRectF, str], ...] = ()

    def at_x(self, x: Any) -> Any:
        """Pixels of an x (or an array of them)."""
        return self.area.left() + (x - self.x[0]) * (self.area.width() / (self.x[1] - self.x[0]))

    def at_y(self, y: Any) -> Any:
        """Pixels of a place on the y axis, which is a logarithm on a log scale."""
        return self.area.bottom() - (y - self.y[0]) * (self.area.height() / (self.y[1] - self.y[0]))

    def x_of(self, pixel: float) -> float:
        """The x at a pixel."""
        return self.x[0] + (pixel - self.area.left()) * ((self.x[1] - self.x[0]) / max(1.0, self.area.width()))

    def y_of(self, pixel: float) -> float:
        """The place on the y axis at a pixel."""
        return self.y[0] + (self.area.bottom() - pixel) * ((self.y[1] - self.y[0]) / max(1.0, self.area.height()))

    def y_place(self, value: float) -> float:
        """A value as a place on the y axis; NaN where a log scale has none."""
        if not self.log:
            return value
        return math.log10(value) if value > 0 else math.nan
