"""The small language of `adapter.layers`: "all", "last 8", "first 4", "0-11, 20"."""

import re

_EDGE = re.compile(r"(first|last)\s+(\d{1,9})", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """The layer numbers that ``text`` names, in order, for a model of ``num_layers`` blocks.

    Raises:
        ValueError: the text is not understood, or names a layer that the model does not have.
    """
    cleaned = text.strip()
    if cleaned.lower() in ("", "all"):
        return tuple(range(num_layers))
    edge = _EDGE.fullmatch(cleaned)
    if edge:
        count = int(edge[2])
        if not 1 <= count <= num_layers:
            raise ValueError(f"“{cleaned}” does not fit a model of {num_layers} layers")
        return tuple(range(count) if edge[1].lower() == "first" else range(num_layers - count, num_layers))
    chosen: set[int] = set()
    for part in cleaned.split(","):
        span = _RANGE.fullmatch(part.strip())
        if not span:
            raise ValueError(f"“{part.strip()}” is not a layer number or range")
        low, high = int(span[1]), int(span[2] or span[1])
        if low > high or high >= num_layers:
            raise ValueError(f"“{part.strip()}” is outside the model's layers 0 to {num_layers - 1}")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))
