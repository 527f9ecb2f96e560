"""How far an export may be from what was trained, by what it is written in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is taken for rounding.

    Attributes:
        divergence: mean Kullback-Leibler divergence of the next token, in nats.
        logit: largest difference of any logit; None where rounding alone makes large ones.
        greedy: share of likeliest tokens that stay the likeliest.
    """

    divergence: float
    logit: float | None = None
    greedy: float = 0.0


# F32, F16 and Q8_0 are what the product promises. The others are several times what was measured on a model of 135
# million parameters, which small formats hurt most: they tell a broken file from a rounded one, and no more.
_LIMITS = {
    "f32": Limits(1e-4, 0.1, 1.0),
    "f16": Limits(1e-3, 0.3, 0.9),
    "bf16": Limits(1e-2, 2.0, 0.9),
    "q8_0": Limits(2e-2, greedy=0.8),
    "q6_k": Limits(0.15, greedy=0.7),
    "q5_k_m": Limits(0.4),
    "q5_1": Limits(0.4),
    "q4_k_m": Limits(0.7),
    "q4_1": Limits(1.5),
    "q4_0": Limits(2.0),
    "q3_k_m": Limits(2.5),
    "q2_k": Limits(4.0),
}


def limits_of(precision: str) -> Limits:
    """The limits of a precision, such as "bf16" or "q8_0"."""
    return _LIMITS.get(precision.lower(), _LIMITS["bf16"])
