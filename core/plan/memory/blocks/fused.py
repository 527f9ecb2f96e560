"""Projections that are one matrix, and their parts."""

from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Buffer, Tensor


def sliced(layer: Layer, x: Tensor, *widths: str) -> tuple[Tensor, ...]:
    """``x[..., a:b]`` for each part: views, whose gradients are each as large as the whole."""
    tape, rows, width, size = layer.tape, x.rows, x.width, x.bytes
    parts = []
    for part in widths:
        view = x.view(tape.node(lambda _: [tape.buffer(rows, width, size)], x))
        view.width = part
        parts.append(view)
    return tuple(parts)


def split(layer: Layer, x: Tensor, *widths: str) -> tuple[Tensor, ...]:
    """``x.split(...)`` or ``x.chunk(...)``: views whose gradients are joined at once."""
    tape, rows, width, size = layer.tape, x.rows, x.width, x.bytes

    def joined(_: list[Buffer | None]) -> list[Buffer | None]:
        return [tape.buffer(rows, width, size)]

    node = tape.node(joined, x, outputs=len(widths))
    return tuple(
        Tensor(rows, part, size, x.buffer, node, slot if node is not None else 0) for slot, part in enumerate(widths)
    )
