"""The small language of `adapter.layers`: "all", "last 8", "first 4", "0-11, 20"; and of names within layers."""

import re
from collections.abc import Iterable

_EDGE = re.compile(r"(first|last)\s+(\d{1,9})", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_LAYERED = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?\.(.+)")


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


def layered_name(text: str) -> tuple[int, int, str] | None:
    """``"0-11.q_proj"`` -> (0, 11, "q_proj"), ``"3.q_proj"`` -> (3, 3, "q_proj"); None for names without layers."""
    found = _LAYERED.fullmatch(text)
    return (int(found[1]), int(found[2] or found[1]), found[3]) if found else None


def layers_text(layers: Iterable[int], num_layers: int) -> str:
    """The shortest text that `parse_layers` reads as these layers; for none of them there is none: empty."""
    chosen = sorted(set(layers))
    if not chosen or len(chosen) == num_layers:
        return "all" if chosen else ""
    if chosen[-1] - chosen[0] == len(chosen) - 1:
        if chosen[-1] == num_layers - 1:
            return f"last {len(chosen)}"
        if chosen[0] == 0:
            return f"first {len(chosen)}"
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in layer_spans(chosen))


def layer_spans(layers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Runs of layers that follow each other, as (first, last)."""
    spans: list[tuple[int, int]] = []
    for layer in sorted(set(layers)):
        if spans and spans[-1][1] == layer - 1:
            spans[-1] = (spans[-1][0], layer)
        else:
            spans.append((layer, layer))
    return tuple(spans)
