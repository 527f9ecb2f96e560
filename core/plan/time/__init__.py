"""How long a run will take, and what energy it takes: counted work over a device's rates, sharpened by earlier runs."""

from core.plan.time.duration import duration_of

__all__ = ["duration_of"]
