"""Round numbers for axes, and numbers as people read them."""

import math
from collections.abc import Callable

Write = Callable[[float], str]

_LOG_STEPS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))


def steady(value: float) -> str:
    """Four significant digits, zeros too, so that numbers below each other line up: ``1.840``."""
    size = abs(value)
    if 0.01 <= size < 1000:
        return f"{value:#.4g}".removesuffix(".")
    return number(value)


def number(value: float) -> str:
    """Four significant digits at most: ``2.314``, ``0.0002`` as ``2e-4``, ``12,400``."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size == 0 or size >= 0.01:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def count(value: float) -> str:
    """A step on the axis: ``800``, ``12k``, ``1.5M``."""
    size = abs(value)
    for least, scale, unit in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= least:
            return f"{value / scale:.4g}{unit}"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def linear_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """At most ``most`` round numbers between two values, evenly apart."""
    span = high - low
    if not span > 0 or most < 1 or not math.isfinite(span):
        return []
    raw = span / most
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 5, 10, 20) if span / (factor * scale) <= most)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten between two positive values, with 2 and 5 times them where there is room; else linear ticks."""
    if not 0 < low < high or not math.isfinite(high):
        return []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for factors in _LOG_STEPS:
        found = [factor * 10.0**decade for decade in decades for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) <= most:
            best = found
    if len(best) > 2 or not decades:
        return best
    if len(decades) > most:
        stride = -(-len(decades) // most)
        return [10.0**decade for decade in decades if decade % stride == 0 and low <= 10.0**decade <= high]
    return linear_ticks(low, high, most)
