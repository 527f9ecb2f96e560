"""Numbers as people type them behind an option."""

import argparse
from collections.abc import Callable

_MOST_DIGITS = 18


def whole_number(text: str, low: int, high: int | None = None) -> int | None:
    """The number that plain digits mean; None where there is anything else, or the number is out of its bounds."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if low <= number and (high is None or number <= high) else None


def number_between(low: float, high: float) -> Callable[[str], float]:
    """What argparse takes as the type of an option that is a number."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"“{text}” is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"“{text}” is not between {low:g} and {high:g}")
        return value

    return read


def whole_between(low: int, high: int) -> Callable[[str], int]:
    """What argparse takes as the type of an option that is a whole number."""

    def read(text: str) -> int:
        number = whole_number(text, low, high)
        if number is None:
            raise argparse.ArgumentTypeError(f"“{text}” is not a whole number from {low:,} to {high:,}")
        return number

    return read
