"""A family that has no block of its own: its linear layers in the order of their roles, and all else as in Llama."""

from core.plan.memory.blocks.fused import split
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.blocks.serial import serial
from core.plan.memory.ledger import Tensor
from core.plan.memory.operations import activated, multiplied

_CHAIN = 2  # one matrix into the MLP's width and one back


def _attended(layer: Layer, x: Tensor) -> Tensor:
    """All but the last matrix read the layer's input; what they give counts, and queries, keys and values once more."""
    names = layer.form.attention
    made = [layer.linear(x, name, f"o:{name}") for name in names[:-1]]
    whole = made[0] if made else x
    query, key, value = (_of_width(whole, width) for width in ("query", "key", "value"))
    query, key = layer.rotated(query, "half_query"), layer.rotated(key, "half_key")
    result = layer.attention(query, key, value)
    result = layer.linear(result, names[-1], "hidden") if names else _of_width(result, "hidden")
    del made
    return result


def _of_width(x: Tensor, width: str) -> Tensor:
    view = x.view()
    view.width = width
    return view


def _mlp(layer: Layer, x: Tensor) -> Tensor:
    """Gated by all but the last matrix where there are three or more, or by halves of one; else a chain."""
    names = layer.form.mlp
    if not names:
        return x
    made = [layer.linear(x, name, f"o:{name}") for name in names[:-1]]
    if not made:
        return layer.linear(x, names[-1], "hidden")
    if len(names) == _CHAIN and "gate_up" in names[0]:
        gate, up = split(layer, made[0], "wide", "wide")
        return layer.linear(multiplied(layer.tape, up, activated(layer.tape, gate)), names[-1], "hidden")
    bent = activated(layer.tape, _of_width(made[0], "wide"))
    if len(made) > 1:
        bent = multiplied(layer.tape, bent, _of_width(made[1], "wide"))
    return layer.linear(bent, names[-1], "hidden")


other = serial(_attended, _mlp, before=Layer.rms_norm)
