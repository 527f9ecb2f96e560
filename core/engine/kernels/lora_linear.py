"""A frozen linear layer with a LoRA adapter as one node of the graph, for processors.

PEFT computes ``W x``, then ``s B A x``, then their sum: three results as wide as the layer, and as many gradients. Here
the factor goes to the narrow product in the middle and the adapter's part is added where the layer's already lies, in
both directions: of everything wide there is one. What is kept for the backward pass is what PEFT keeps, ``x`` and
``A x``. Rounding differs from PEFT's in that the sum is rounded once.

Source: arXiv 2106.09685, section 4.1; PEFT's `peft.tuners.lora.layer.Linear.forward`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
_SAMPLE_ROWS, _SAMPLE_SCALE = 16, 2.0


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        first: torch.Tensor,
        second: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        result = functional.linear(flat, weight, bias)
        narrow = torch.mm(flat, first.t()).mul_(scale)
        result.addmm_(narrow, second.t())
        ctx.save_for_backward(flat, narrow, weight, first, second)
        ctx.scale, ctx.shape = scale, x.shape
        return result.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, narrow, weight, first, second = ctx.saved_tensors
        given = grads[0].reshape(-1, weight.shape[0])
        small = torch.mm(given, second).mul_(ctx.scale)
        for_second = torch.mm(given.t(), narrow)
        for_first = torch.mm(small.t(), flat)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = torch.mm(given, weight).addmm_(small, first).view(ctx.shape)
        return for_x, None, None, for_first, for_second, None


def fuse_adapters(model: nn.Module) -> int:
    """Gives each plain LoRA layer on a processor the fused pass; returns how many got it.

    Left as PEFT has them: quantized and learned base layers, DoRA, dropout, adapters with a bias, shapes for which the
    fused pass was not seen to give the definition's values and gradients, and every call while an adapter is merged,
    switched off, or of another type than what it is given.
    """
    from peft.tuners.lora.layer import Linear

    seen: dict[tuple[Any, ...], bool] = {}
    count = 0
    for module in model.modules():
        if type(module) is not Linear or not _is_plain(module):
            continue
        parts: Any = module  # PEFT's layer names its parts in ways that no type says
        base, first = parts.base_layer, parts.lora_A[parts.active_adapters[0]].weight
        kind = (*base.weight.shape, base.bias is not None, first.shape[0], first.dtype)
        if kind not in seen:
            seen[kind] = agrees(base.weight, base.bias, first.shape[0])
        if seen[kind]:
            module.forward = _fused(module, module.forward)
            count += 1
    return count


def agrees(weight: torch.Tensor, bias: torch.Tensor | None, rank: int) -> bool:
    """Whether the fused pass gives values and gradients of the definition in float32, on random rows and adapters."""
    chance = torch.Generator().manual_seed(rank)

    def drawn(rows: int, columns: int) -> torch.Tensor:
        made = torch.randn(rows, columns, generator=chance) * columns**-0.5
        drawn_values: torch.Tensor = made.to(weight.dtype).requires_grad_()
        return drawn_values

    out, width = weight.shape
    learned = x, first, second = drawn(_SAMPLE_ROWS, width), drawn(rank, width), drawn(out, rank)
    given = drawn(_SAMPLE_ROWS, out).detach()
    with torch.enable_grad():
        result = _LoraLinear.apply(x, weight, bias, first, second, _SAMPLE_SCALE)
        found = (result, *torch.autograd.grad(result, learned, given))
        wide = [tensor.detach().float().requires_grad_() for tensor in learned]
        plain = functional.linear(wide[0], weight.float(), None if bias is None else bias.float())
        plain = plain + functional.linear(functional.linear(wide[0], wide[1]), wide[2]) * _SAMPLE_SCALE
        truth = (plain, *torch.autograd.grad(plain, wide, given.float()))
    limit = _TOLERANCE[weight.dtype]
    return all(bool((a.float() - b).norm() <= limit * b.norm()) for a, b in zip(found, truth, strict=True))


def _is_plain(layer: Any) -> bool:
    base = layer.base_layer
    name = next(iter(layer.lora_A), None)
    return (
        type(base) is nn.Linear
        and base.weight.is_cpu
        and base.weight.dtype in _TOLERANCE
        and not hasattr(base, "_hf_hook")
        and not any(parameter.requires_grad for parameter in base.parameters())
        and list(layer.lora_A) == list(layer.active_adapters) == [name]
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[name], nn.Identity)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
    )


def _fused(layer: Any, stock: Callable[..., Any]) -> Callable[..., Any]:
    base, name = layer.base_layer, layer.active_adapters[0]

    def forward(x: torch.Tensor, *others: Any, **named: Any) -> Any:
        first, second = layer.lora_A[name].weight, layer.lora_B[name].weight
        alike = x.dtype == base.weight.dtype == first.dtype == second.dtype
        if others or named or not alike or layer.disable_adapters or layer.merged:
            return stock(x, *others, **named)
        return _LoraLinear.apply(x, base.weight, base.bias, first, second, layer.scaling[name])

    return forward
