"""Peak memory of our engine in closed form."""

from core.plan.memory.experience import Experience, experience_of
from core.plan.memory.footprint import Footprint, Setup, footprint
from core.plan.memory.layers import Matrix, Trained, trained_of
from core.plan.memory.moments import NOTHING, Beside
from core.plan.memory.record import BASIS, FITS_SHARE, basis_of, memory_of, shortage, verdict_of
from core.plan.memory.statics import state_bytes

__all__ = [
    "BASIS",
    "FITS_SHARE",
    "NOTHING",
    "Beside",
    "Experience",
    "Footprint",
    "Matrix",
    "Setup",
    "Trained",
    "basis_of",
    "experience_of",
    "footprint",
    "memory_of",
    "shortage",
    "state_bytes",
    "trained_of",
    "verdict_of",
]
