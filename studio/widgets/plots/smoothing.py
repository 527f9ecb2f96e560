"""Exponential smoothing without the usual lie at the start, for curves that grow."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array, Numbers

_CHUNK = 8192
_NEGLIGIBLE = 1e-18
_USABLE = 1e-9


class Smoother:
    """A debiased exponential moving average: the mean of all values so far, each weighted by ``weight`` to its age.

    Values that are not finite have no weight, and in a long gap there is nothing to show. Every value costs the same,
    however many came before.
    """

    def __init__(self, weight: float) -> None:
        """``weight`` is 0 (no smoothing) to below 1.

        Raises:
            ValueError: it is outside.
        """
        if not 0.0 <= weight < 1.0:
            raise ValueError(f"a weight of {weight}")
        self.weight = weight
        self._sum = self._weights = 0.0

    def extend(self, values: "Numbers") -> "Array":
        """The smoothed curve at these next values; NaN before the first finite one."""
        import numpy as np

        given = np.asarray(values, dtype=np.float64)
        made = np.empty(len(given))
        for start in range(0, len(given), _CHUNK):
            part = given[start : start + _CHUNK]
            known = np.isfinite(part)
            sums = self._scan(np.where(known, part, 0.0), self._sum)
            weights = self._scan(known.astype(np.float64), self._weights)
            usable = weights > _USABLE
            made[start : start + len(part)] = np.where(usable, sums / np.where(usable, weights, 1.0), np.nan)
            self._sum, self._weights = float(sums[-1]), float(weights[-1])
        return made

    def _scan(self, values: "Array", before: float) -> "Array":
        """``out[i] = weight × out[i-1] + (1 - weight) × values[i]``, by doubling: log2 passes instead of a loop."""
        import numpy as np

        out = values * (1.0 - self.weight)
        factor, shift = self.weight, 1
        while shift < len(out) and factor > _NEGLIGIBLE:
            out[shift:] += factor * out[:-shift]
            factor, shift = factor * factor, 2 * shift
        if before:
            out += before * self.weight ** np.arange(1.0, len(out) + 1.0)
        return out
