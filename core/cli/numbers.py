"""Whole numbers as people type them behind an option."""

_MOST_DIGITS = 18


def whole_number(text: str, low: int, high: int | None = None) -> int | None:
    """The number that plain digits mean; None where there is anything else, or the number is out of its bounds."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if low <= number and (high is None or number <= high) else None
