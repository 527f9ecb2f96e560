"""A frozen linear layer with a LoRA adapter as one node of the graph, in 16 or 32 bits or, on a GPU, in 4.

PEFT computes ``W x``, then ``s B A x``, then their sum: three results as wide as the layer, and as many gradients. Here
the factor goes to the narrow product in the middle and the adapter's part is added where the layer's already lies, in
both directions: of everything wide there is one. What is kept for the backward pass is what PEFT keeps, ``x`` and
``A x``. Rounding differs from PEFT's in that the sum is rounded once. Weights in 4 bits are made whole again for the
backward pass, as bitsandbytes does.

Source: arXiv 2106.09685, section 4.1; PEFT's `peft.tuners.lora.layer.Linear.forward` and `peft.tuners.lora.bnb`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
_SAMPLE_ROWS, _SAMPLE_SCALE = 16, 2.0


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        base: nn.Module,
        first: torch.Tensor,
        second: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        result: torch.Tensor = base(flat)
        narrow = torch.mm(flat, first.t()).mul_(scale)
        result.addmm_(narrow, second.t())
        ctx.save_for_backward(flat, narrow, first, second)
        ctx.base, ctx.scale, ctx.shape = base, scale, x.shape
        return result.view(*x.shape[:-1], second.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, narrow, first, second = ctx.saved_tensors
        given = grads[0].reshape(-1, second.shape[0])
        small = torch.mm(given, second).mul_(ctx.scale)
        for_second = torch.mm(given.t(), narrow)
        for_first = torch.mm(small.t(), flat)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = torch.mm(given, _whole(ctx.base)).addmm_(small, first).view(ctx.shape)
        return for_x, None, for_first, for_second, None


def _whole(base: Any) -> torch.Tensor:
    """The frozen weight, (out, in), in the numbers that it computes with."""
    weight: torch.Tensor = base.weight
    if weight.is_floating_point():
        return weight
    from bitsandbytes.functional import dequantize_4bit

    whole: torch.Tensor = dequantize_4bit(weight.data, base.weight.quant_state)
    return whole


def _computes_in(base: Any) -> torch.dtype:
    """The numbers that a base layer takes and gives; adapters come to be of the same."""
    dtype: torch.dtype = base.weight.dtype if base.weight.is_floating_point() else base.compute_dtype
    return dtype


def fuse_adapters(model: nn.Module) -> int:
    """Gives each plain LoRA layer the fused pass; returns how many got it.

    Left as PEFT has them: base layers that learn, in 8 bits, or in 4 on a processor, DoRA, dropout, adapters with a
    bias, shapes for which the fused pass was not seen to give the definition's values and gradients, and every call
    while an adapter is merged, switched off, or of another type than what it is given.
    """
    seen: dict[tuple[Any, ...], bool] = {}
    count = 0
    for module in model.modules():
        if "forward" in module.__dict__ or not _is_plain(module):
            continue
        parts: Any = module  # PEFT's layer names its parts in ways that no type says
        base, rank = parts.base_layer, parts.r[parts.active_adapters[0]]
        kind = (type(base), base.out_features, base.in_features, base.bias is not None, rank, _computes_in(base))
        if kind not in seen:
            seen[kind] = agrees(base, rank)
        if seen[kind]:
            module.forward = _Fused(module)
            count += 1
    return count


def release_adapters(model: nn.Module) -> int:
    """Takes back what `fuse_adapters` gave; returns how many had it."""
    fused = [module for module in model.modules() if isinstance(module.__dict__.get("forward"), _Fused)]
    for module in fused:
        del module.forward
    return len(fused)


def agrees(base: Any, rank: int) -> bool:
    """Whether the fused pass gives values and gradients of the definition in float32, on random rows and adapters."""
    chance = torch.Generator().manual_seed(rank)
    out, width, device, dtype = base.out_features, base.in_features, base.weight.device, _computes_in(base)

    def drawn(rows: int, columns: int) -> torch.Tensor:
        made = torch.randn(rows, columns, generator=chance) * columns**-0.5
        drawn_values: torch.Tensor = made.to(device, dtype).requires_grad_()
        return drawn_values

    learned = x, first, second = drawn(_SAMPLE_ROWS, width), drawn(rank, width), drawn(out, rank)
    given = drawn(_SAMPLE_ROWS, out).detach()
    with torch.enable_grad():
        result = _LoraLinear.apply(x, base, first, second, _SAMPLE_SCALE)
        found = (result, *torch.autograd.grad(result, learned, given))
        wide = [tensor.detach().float().requires_grad_() for tensor in learned]
        plain = functional.linear(wide[0], _whole(base).float(), None if base.bias is None else base.bias.float())
        plain = plain + functional.linear(functional.linear(wide[0], wide[1]), wide[2]) * _SAMPLE_SCALE
        truth = (plain, *torch.autograd.grad(plain, wide, given.float()))
    limit = _TOLERANCE[dtype]
    return all(bool((a.float() - b).norm() <= limit * b.norm()) for a, b in zip(found, truth, strict=True))


def _is_plain(layer: Any) -> bool:
    from peft.tuners.lora.layer import Linear

    if not (type(layer) is Linear or _is_four_bits(layer)):
        return False
    base = layer.base_layer
    name = next(iter(layer.lora_A), None)
    return (
        (type(base) is nn.Linear or type(layer) is not Linear)
        and (base.weight.is_floating_point() or not base.weight.is_cpu)
        and not hasattr(base, "_hf_hook")
        and not any(parameter.requires_grad for parameter in base.parameters())
        and list(layer.lora_A) == list(layer.active_adapters) == [name]
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[name], nn.Identity)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
        and _computes_in(base) in _TOLERANCE
    )


def _is_four_bits(layer: Any) -> bool:
    """Whether PEFT has put an adapter on one of bitsandbytes' 4-bit layers."""
    return type(layer).__name__ == "Linear4bit" and hasattr(layer, "lora_A")


class _Fused:
    """What a layer calls instead of PEFT's forward pass."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._stock: Callable[..., Any] = type(layer).forward
        self._name = layer.active_adapters[0]

    def __call__(self, x: torch.Tensor, *others: Any, **named: Any) -> Any:
        layer, name = self._layer, self._name
        base, first, second = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
        alike = x.dtype == _computes_in(base) == first.dtype == second.dtype
        if others or named or not alike or layer.disable_adapters or layer.merged:
            return self._stock(layer, x, *others, **named)
        return _LoraLinear.apply(x, base, first, second, layer.scaling[name])
