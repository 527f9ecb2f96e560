"""Which part of the curves is seen: everything, the newest stretch, or wherever the user has gone."""

import math
from dataclasses import dataclass

LEAST_STEPS = 4.0

Range = tuple[float, float]


@dataclass
class View:
    """The window onto the data along x, and the range of y.

    Attributes:
        extent: first and last x of all data; None without any.
        x: the window; None shows everything and goes on doing so while data comes.
        follows: the window moves along with the newest data.
        y: the range of y (of its logarithm on a log scale); None fits what is seen.
        log: y has a log scale.
    """

    extent: Range | None = None
    x: Range | None = None
    follows: bool = True
    y: Range | None = None
    log: bool = False

    def window(self) -> Range:
        """What is seen along x."""
        if self.x is None:
            return self._whole()
        if self.follows and self.extent is not None:
            width = self.x[1] - self.x[0]
            return (self.extent[1] - width, self.extent[1])
        return self.x

    def show_all(self) -> None:
        """Everything, and what will come."""
        self.x, self.y, self.follows = None, None, True

    def follow(self) -> None:
        """The newest data, in a window as wide as now."""
        self.follows = True
        self.y = None

    def pan(self, share: float) -> None:
        """Moves the window by a share of its width; it stays where data is."""
        left, right = self.window()
        whole_left, whole_right = self._whole()
        width = right - left
        move = share * width
        move = max(whole_left - left, min(whole_right - right, move))
        self._go((left + move, right + move))

    def pan_y(self, share: float, shown: Range) -> None:
        """Moves the range of y, which was ``shown`` until now, by a share of its height."""
        low, high = self.y or shown
        move = share * (high - low)
        self.y = (low + move, high + move)

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Makes the window narrower (``factor`` below 1) or wider around an x, by default its middle."""
        left, right = self.window()
        whole_left, whole_right = self._whole()
        at = (left + right) / 2 if at is None else at
        width = max(min(LEAST_STEPS, whole_right - whole_left), (right - left) * factor)
        if width >= whole_right - whole_left:
            self.x, self.follows = None, True
            return
        start = at - (at - left) * (width / (right - left))
        start = max(whole_left, min(whole_right - width, start))
        self._go((start, start + width))

    def zoom_y(self, factor: float, shown: Range, at: float | None = None) -> None:
        """Makes the range of y, which was ``shown`` until now, smaller or larger around a value."""
        low, high = self.y or shown
        at = (low + high) / 2 if at is None else at
        self.y = (at - (at - low) * factor, at + (high - at) * factor)

    def set_log(self, log: bool) -> None:
        """Changes the scale of y; a range that the user has chosen is forgotten."""
        if log != self.log:
            self.log, self.y = log, None

    def _whole(self) -> Range:
        if self.extent is None:
            return (0.0, 1.0)
        left, right = self.extent
        return (left, right) if right > left else (left - 0.5, left + 0.5)

    def _go(self, window: Range) -> None:
        self.x = window
        self.follows = self.extent is None or window[1] >= self.extent[1] - 1e-9 * max(1.0, abs(self.extent[1]))


def fitted(low: float, high: float, *, log: bool) -> Range:
    """A range of y with some air around the values; in log10 if ``log``."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return (0.0, 1.0)
    if log:
        low, high = math.log10(low), math.log10(high)
        air = max(0.05 * (high - low), 0.02)
    else:
        air = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-12 if high else 0.5)
    return (low - air, high + air)
