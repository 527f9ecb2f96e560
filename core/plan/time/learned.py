"""What earlier runs on the same device teach: the middle of their speeds moves the estimate, their spread its band."""

import math
import statistics
from dataclasses import dataclass

from core.facts.types import DeviceRecord

# A run is never told closer than this, however well earlier ones agree: its rows and its neighbours differ.
LEAST_BAND = 0.10


@dataclass(frozen=True, slots=True)
class Pace:
    """How a counted time becomes an expected one.

    Attributes:
        centre: what it is multiplied by.
        low, high: the ends of the band, as multiples of the expected time.
        runs: how many earlier runs this rests on.
    """

    centre: float
    low: float
    high: float
    runs: int


def pace_of(records: tuple[DeviceRecord, ...], device: str, low: float, high: float) -> Pace:
    """The pace on a device.

    With n runs the centre is the median of their speeds. Each side of the band is the widest of three: `LEAST_BAND`,
    the farthest run from the median, and what is left of the band without runs, in logarithms one part in n + 1.

    Args:
        records: of all devices.
        device: whose speeds count.
        low: lower end of the band without any runs, as a multiple of the counted time.
        high: its upper end.
    """
    speeds = [speed for record in records if record.device == device for speed in record.speeds if _usable(speed)]
    if not speeds:
        return Pace(1.0, low, high, 0)
    centre, count = statistics.median(speeds), len(speeds)
    least = math.log1p(LEAST_BAND)
    below = max(least, math.log(centre / min(speeds)), -math.log(low) / (count + 1))
    above = max(least, math.log(max(speeds) / centre), math.log(high) / (count + 1))
    return Pace(centre, math.exp(-below), math.exp(above), count)


def _usable(speed: float) -> bool:
    return math.isfinite(speed) and speed > 0
