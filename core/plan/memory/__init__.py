"""Peak memory of our engine in closed form."""

from core.plan.memory.footprint import (
    BASIS,
    FITS_SHARE,
    Footprint,
    Setup,
    Trained,
    footprint,
    memory_of,
    shortage,
    state_bytes,
    trained_of,
    verdict_of,
)

__all__ = [
    "BASIS",
    "FITS_SHARE",
    "Footprint",
    "Setup",
    "Trained",
    "footprint",
    "memory_of",
    "shortage",
    "state_bytes",
    "trained_of",
    "verdict_of",
]
