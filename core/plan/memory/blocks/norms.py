"""The norms of the families; Llama's own is `Layer.rms_norm`."""

from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Grads, Tensor
from core.plan.memory.operations import FP32, ROW, averaged, convert, copied, over_root, powered, times_row


def gemma_norm(layer: Layer, x: Tensor, width: str = "hidden", rows: str = ROW) -> Tensor:
    """``(normal * (1.0 + weight.float())).type_as(x)`` (modeling_gemma.py, GemmaRMSNorm)."""
    if layer.form.fused_norms:
        return layer.fused_norm(x, rows)
    tape, size = layer.tape, x.bytes
    output = layer.normalised(x, rows)
    weight = Tensor("one", width, layer.form.size, tape.constant, layer.parameter(width))
    output = times_row(tape, output, copied(tape, convert(tape, weight, FP32)))
    return convert(tape, output, size)


def olmo_norm(layer: Layer, x: Tensor, width: str = "hidden", rows: str = ROW) -> Tensor:
    """``(weight * normal).to(dtype)`` (modeling_olmo2.py, Olmo2RMSNorm)."""
    if layer.form.fused_norms:
        return layer.fused_norm(x, rows)
    tape, size = layer.tape, x.bytes
    normal = layer.normalised(x, rows)
    weight = Tensor("one", width, layer.form.size, tape.constant, layer.parameter(width))
    result = convert(tape, times_row(tape, normal, weight), size)
    del normal
    return result


def cohere_norm(layer: Layer, x: Tensor) -> Tensor:
    """Centred and scaled in fp32, step by step (modeling_cohere.py, CohereLayerNorm)."""
    tape, size = layer.tape, x.bytes
    wide = convert(tape, x, FP32)
    mean = averaged(tape, wide)
    variance = averaged(tape, powered(tape, _less(layer, wide, mean)))
    normal = _less(layer, wide, mean)
    del wide
    wide = over_root(tape, normal, variance)
    del normal
    weight = Tensor("one", "hidden", layer.form.size, tape.constant, layer.parameter("hidden"))
    wide = times_row(tape, wide, convert(tape, weight, FP32))
    return convert(tape, wide, size)


def layer_norm(layer: Layer, x: Tensor) -> Tensor:
    """``torch.nn.LayerNorm``: one kernel that keeps its input, and mean and deviation of each token in fp32."""
    tape = layer.tape
    rows, width, size = x.rows, x.width, x.bytes
    weight, bias = layer.parameter(width), layer.parameter(width)
    wants, learns = x.node is not None, weight is not None
    y = tape.tensor(rows, width, size)
    statistics = (tape.buffer(rows, ROW, FP32), tape.buffer(rows, ROW, FP32))

    def gradient(_: Grads) -> Grads:
        given = tape.buffer(rows, width, size) if wants else None
        first = tape.buffer("one", width, size) if learns else None
        second = tape.buffer("one", width, size) if learns else None
        return [given, first, second]

    y.node = tape.node(gradient, x, weight, bias, saved=(x.buffer, *statistics))
    return y


def bare_norm(layer: Layer, x: Tensor) -> Tensor:
    """``F.layer_norm(x.float(), …, None, None).to(dtype)``: no weights at all (modeling_olmo.py, OlmoLayerNorm)."""
    tape, size = layer.tape, x.bytes
    wide = convert(tape, x, FP32)
    rows, width = wide.rows, wide.width
    y = tape.tensor(rows, width, FP32)
    statistics = (tape.buffer(rows, ROW, FP32), tape.buffer(rows, ROW, FP32))
    y.node = tape.node(lambda _: [tape.buffer(rows, width, FP32)], wide, saved=(wide.buffer, *statistics))
    del wide
    return convert(tape, y, size)


def _less(layer: Layer, x: Tensor, mean: Tensor) -> Tensor:
    """``x - mean``: the mean's gradient is as large as ``x`` before it is summed."""
    tape = layer.tape
    rows, width = x.rows, x.width

    def gradient(grads: Grads) -> Grads:
        negative = tape.buffer(rows, width, FP32)
        summed = tape.buffer(rows, ROW, FP32)
        del negative
        return [grads[0], summed]

    return tape.tensor(rows, width, FP32, tape.node(gradient, x, mean))
