"""A linear layer: plain, in 4 or 8 bits, trained in full, with a LoRA or DoRA adapter.

Sources: peft/tuners/lora/layer.py, bnb.py and dora.py; bitsandbytes/autograd/_functions.py and backends/cuda/ops.py.
"""

from core.plan.memory.blocks.structure import Structure
from core.plan.memory.ledger import Buffer, Grads, Tape, Tensor
from core.plan.memory.operations import FP32, Weight, added, copied, dropped, leaf, product, scaled, times_row

FP16 = 2


def linear(tape: Tape, form: Structure, x: Tensor, name: str, out: str) -> Tensor:
    """The layer's output; see LoRA's `Linear.forward`."""
    if name in form.adapted and _is_fused(form, name):
        return _fused(tape, form, x, name, out)
    bias = name in form.biased
    result = _base(tape, form, x, name, out, bias=bias)
    if name not in form.adapted:
        return result
    if form.quantization == "nf4" and _is_packed(form, name):
        result = copied(tape, result)
    if form.dora:
        return _with_dora(tape, form, x, result, name, out, bias=bias)
    taken = dropped(tape, x, active=form.dropout)
    low = _low(tape, form, taken, name)
    del taken
    high = _high(tape, form, low, name, out)
    del low
    high = scaled(tape, high)
    return added(tape, result, high)


def _is_fused(form: Structure, name: str) -> bool:
    """Whether `core.engine.kernels.lora_linear` takes this layer."""
    packed = form.quantization == "int8" and _is_packed(form, name)
    known = form.block != "gpt2" or name == "lm_head"  # GPT-2's layers are convolutions by name
    return form.fused and known and not (packed or form.dora or form.dropout or form.full or name in form.learned)


def _fused(tape: Tape, form: Structure, x: Tensor, name: str, out: str) -> Tensor:
    """`core.engine.kernels.lora_linear._LoraLinear`: of everything wide there is one, in both directions."""
    rows, inner, size = x.rows, x.width, x.bytes
    wants, packed = x.node is not None, _is_packed(form, name)
    y = tape.tensor(rows, out, size)
    if packed:
        scratch = [tape.buffer("decoded", f"s:{name}", FP32), tape.buffer("decoded", f"s:{name}", FP32)]
        scratch.append(tape.buffer("rebuilt", f"w:{name}", size))
        scratch.clear()
    narrow = tape.buffer(rows, f"r:{name}", size)

    def gradient(_: Grads) -> Grads:
        small = tape.buffer(rows, f"r:{name}", size)
        for_second = tape.buffer("one", f"B:{name}", size)
        for_first = tape.buffer("one", f"A:{name}", size)
        given = None
        if wants:
            weight = rebuilt(tape, form, name, size) if packed else None
            given = tape.buffer(rows, inner, size)
            given.is_view = True  # as in `product`
            del weight
        del small
        return [given, for_first, for_second]

    learned = leaf(tape, f"A:{name}", size), leaf(tape, f"B:{name}", size)
    y.node = tape.node(gradient, x, *learned, saved=(x.buffer, narrow))
    return y


def _is_packed(form: Structure, name: str) -> bool:
    """Whether the weight is kept in 4 or 8 bits; the head and what is trained in full never are."""
    return form.quantization != "none" and name != "lm_head" and name not in form.learned


def _low(tape: Tape, form: Structure, x: Tensor, name: str) -> Tensor:
    return product(tape, x, f"r:{name}", Weight(f"A:{name}", leaf(tape, f"A:{name}", form.size)))


def _high(tape: Tape, form: Structure, x: Tensor, name: str, out: str) -> Tensor:
    return product(tape, x, out, Weight(f"B:{name}", leaf(tape, f"B:{name}", form.size)))


def _base(tape: Tape, form: Structure, x: Tensor, name: str, out: str, *, bias: bool) -> Tensor:
    if not _is_packed(form, name):
        learns = form.full or name in form.learned
        weight = leaf(tape, f"w:{name}", form.size) if learns else None
        offset = leaf(tape, out, form.size) if learns and bias else None
        return product(tape, x, out, Weight(f"w:{name}", weight, out, offset))
    if form.quantization == "int8":
        return _eight_bits(tape, form, x, name, out)
    return _four_bits(tape, form, x, name, out)


def _four_bits(tape: Tape, form: Structure, x: Tensor, name: str, out: str) -> Tensor:
    """Both passes rebuild the weight in the compute format; the scales are decoded first, and shifted into a copy."""
    rows, inner, size = x.rows, x.width, x.bytes
    y = tape.tensor(rows, out, size)
    scratch = [tape.buffer("decoded", f"s:{name}", FP32), tape.buffer("decoded", f"s:{name}", FP32)]
    scratch.append(tape.buffer("rebuilt", f"w:{name}", size))
    scratch.clear()

    def gradient(_: Grads) -> Grads:
        weight = rebuilt(tape, form, name, size)
        given = tape.buffer(rows, inner, size)
        del weight
        return [given]

    y.node = tape.node(gradient, x)
    return y


def rebuilt(tape: Tape, form: Structure, name: str, size: int) -> Buffer:
    """A quantized weight in the compute format, by way of its scales."""
    if form.quantization == "int8":
        first = tape.buffer("one", f"w:{name}", FP32)
        second = tape.buffer("one", f"w:{name}", FP32)
        del first
        weight = tape.buffer("one", f"w:{name}", size) if size != FP32 else second
        del second
        return weight
    decoded = tape.buffer("decoded", f"s:{name}", FP32)
    shifted = tape.buffer("decoded", f"s:{name}", FP32)
    del decoded
    weight = tape.buffer("one", f"w:{name}", size)
    del shifted
    return weight


def _eight_bits(tape: Tape, form: Structure, x: Tensor, name: str, out: str) -> Tensor:
    """LLM.int8: the input in fp16 and in 8 bits, the product in int32; the input is an attribute of the graph."""
    rows, inner, size = x.rows, x.width, x.bytes
    half = tape.buffer(rows, inner, FP16) if form.number != "fp16" else tape.constant
    coded = tape.buffer(rows, inner, 1)
    scales = tape.buffer(rows, "row", FP32)
    scratch = [tape.buffer(rows, inner, FP16), tape.buffer(rows, inner, 1)]
    scratch.clear()
    if form.number != "fp16":
        half = tape.constant
    y = tape.tensor(rows, out, size)
    scratch = [tape.buffer(rows, out, FP32), half if form.number == "fp16" else tape.buffer(rows, out, FP16)]
    scratch.clear()
    del half, coded, scales

    def gradient(_: Grads) -> Grads:
        weight = tape.buffer("one", f"w:{name}", size)
        given = tape.buffer(rows, inner, size)
        del weight
        return [given]

    y.node = tape.node(gradient, x)
    if y.node is not None:
        y.node.held = (x.buffer,)
    return y


def _with_dora(tape: Tape, form: Structure, x: Tensor, result: Tensor, name: str, out: str, *, bias: bool) -> Tensor:
    """DoraLinearVariant.forward: dropout takes the base's own output away, so the base is multiplied again."""
    if form.dropout:
        taken = dropped(tape, x, active=True)
        extra = _dora(tape, form, taken, None, name, out, bias=bias)
        del taken
    else:
        extra = _dora(tape, form, x, result, name, out, bias=bias)
    return added(tape, result, extra)


def _dora(tape: Tape, form: Structure, x: Tensor, base: Tensor | None, name: str, out: str, *, bias: bool) -> Tensor:
    """DoraLinearLayer.forward; its variables keep A times B, and the graph of that, until it returns.

    The product is made by sending an identity matrix through both, which the graph keeps as it does any input.
    """
    size = x.bytes
    eye = tape.tensor("one", f"e:{name}", size)
    low_eye = product(tape, eye, f"A:{name}", Weight(f"A:{name}", leaf(tape, f"A:{name}", size)))
    del eye
    delta = product(tape, low_eye, f"w:{name}", Weight(f"B:{name}", leaf(tape, f"B:{name}", size)))
    del low_eye
    weight = rebuilt(tape, form, name, size) if _is_packed(form, name) else tape.constant
    factor = tape.buffer("one", f"w:{name}", size)
    summed = tape.buffer("one", f"w:{name}", size)
    del factor
    norm = tape.buffer("one", f"o:{name}", size)
    del summed
    magnitude = _magnitude(tape, form, name, norm)
    low = _low(tape, form, x, name)
    high = _high(tape, form, low, name, out)
    del low
    if base is None:
        base = _plain(tape, x, out, weight)
    elif bias:
        base = copied(tape, base)
    shifted = _same(tape, magnitude)
    left = times_row(tape, base, shifted)
    del shifted
    right = times_row(tape, high, magnitude)
    right = scaled(tape, right)
    both = added(tape, left, right)
    del delta, weight
    return both


def _magnitude(tape: Tape, form: Structure, name: str, norm: Buffer) -> Tensor:
    width, size = f"o:{name}", form.size
    parameter = leaf(tape, width, size)
    node = tape.node(lambda _: [tape.buffer("one", width, size)], parameter, saved=(norm,))
    return tape.tensor("one", width, size, node)


def _same(tape: Tape, x: Tensor) -> Tensor:
    y = tape.tensor(x.rows, x.width, x.bytes)
    y.node = tape.node(lambda grads: [grads[0]], x)
    return y


def _plain(tape: Tape, x: Tensor, out: str, weight: Buffer) -> Tensor:
    rows, inner, size = x.rows, x.width, x.bytes

    def gradient(_: Grads) -> Grads:
        given = tape.buffer(rows, inner, size)
        given.is_view = True  # as in `product`
        return [given]

    return tape.tensor(rows, out, size, tape.node(gradient, x, saved=(weight,)))
