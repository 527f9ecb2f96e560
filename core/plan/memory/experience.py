"""What earlier runs on the same device teach: the middle of their residuals moves a peak, their spread its band."""

import math
import statistics
from dataclasses import dataclass

from core.facts.types import DeviceRecord

# A peak is never told closer than this, however well earlier runs agree: the next one has other rows and settings.
LEAST_BAND = 0.01
# Whatever has been measured, a plan is not moved by more: then something else was wrong with those runs.
LARGEST_SHIFT = 0.5


@dataclass(frozen=True, slots=True)
class Experience:
    """How a counted peak becomes an expected one.

    Attributes:
        shift: the median of earlier runs' residuals, by which peaks are moved.
        spread: how far the farthest of them lies from it.
        runs: how many there are.
        outside_bytes: what the system showed beyond the tensors' peak, in the middle; 0 while no run has told.
    """

    shift: float = 0.0
    spread: float = 0.0
    runs: int = 0
    outside_bytes: int = 0

    def margin(self, peak: int, unlearned: float) -> float:
        """Half the width of the band in bytes.

        The widest of three: `LEAST_BAND`, the farthest earlier run, and what is left of the band without any runs
        (``unlearned``): with n runs one part in n + 1.
        """
        if not self.runs:
            return unlearned
        return max(LEAST_BAND * peak, self.spread * peak, unlearned / (self.runs + 1))


NO_EXPERIENCE = Experience()


def experience_of(records: tuple[DeviceRecord, ...], device: str) -> Experience:
    """What the records of all devices say about the one of this name."""
    for record in records:
        if record.device == device:
            residuals = [value for value in record.residuals if math.isfinite(value) and value > -1]
            middle = statistics.median(residuals) if residuals else 0.0
            return Experience(
                shift=max(-LARGEST_SHIFT, min(LARGEST_SHIFT, middle)),
                spread=max((abs(value - middle) for value in residuals), default=0.0),
                runs=len(residuals),
                outside_bytes=max(0, round(statistics.median(record.outside_bytes))) if record.outside_bytes else 0,
            )
    return NO_EXPERIENCE
