"""Norms whose weights are frozen as one node of the graph, for processors.

A model's code makes a norm of some ten operations, forward and backward, each of which reads and writes everything, and
keeps its input in float32 beside what it was. Here the input is kept as it is, with one number a row, and both
directions take half of the time. Nothing is assumed about a family: what looks like an RMS norm is fused only where
values and gradients agree with the model's own on random input.

Source: arXiv 1910.07467, equation 4; the gradient follows from it.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import nn

from core.engine.kernels.agreement import TOLERANCE, difference

_SAMPLE_ROWS = 8


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, spacing: float, narrow: bool) -> torch.Tensor:
        """``narrow`` says whether the weight meets rows that are in the type of ``x`` again, as Llama's does."""
        wide = x.float()
        mean = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        factor = mean.add_(spacing).rsqrt_()
        normal = wide * factor if wide is x else wide.mul_(factor)
        ctx.save_for_backward(x, factor, weight)
        return normal.to(x.dtype) * weight if narrow else (normal * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, factor, weight = ctx.saved_tensors
        given = (grads[0] * weight).float()
        normal = x.float() * factor
        along = torch.linalg.vecdot(given, normal).unsqueeze(-1).div_(x.shape[-1])
        return given.addcmul_(normal, along, value=-1).mul_(factor).to(x.dtype), None, None, None


def fuse_norms(model: nn.Module) -> int:
    """Gives each norm on a processor whose weight is frozen the fused pass, where that agrees.

    Returns:
        How many got it.
    """
    seen: dict[tuple[Any, ...], Callable[..., torch.Tensor] | None] = {}
    count = 0
    for module in model.modules():
        kind = _kind(module)
        if kind is None:
            continue
        if kind not in seen:
            seen[kind] = _agreeing(module)
        fused = seen[kind]
        if fused is not None:
            module.forward = partial(fused, module)
            count += 1
    return count


def release_norms(model: nn.Module) -> int:
    """Takes back what `fuse_norms` gave; returns how many had it."""
    fused = [module for module in model.modules() if getattr(module.__dict__.get("forward"), "func", None) in _FORMS]
    for module in fused:
        del module.forward
    return len(fused)


def _kind(module: nn.Module) -> tuple[Any, ...] | None:
    """What norms have to share to be alike; None for anything that is none, or that learns or computes elsewhere."""
    weight = getattr(module, "weight", None)
    if "RMSNorm" not in type(module).__name__ or not isinstance(weight, torch.Tensor):
        return None
    if "forward" in module.__dict__ or hasattr(module, "_hf_hook") or not weight.is_cpu or weight.dim() != 1:
        return None
    if any(parameter.requires_grad for parameter in module.parameters()):
        return None
    return type(module), tuple(weight.shape), weight.dtype, _spacing(module)


def _agreeing(module: nn.Module) -> Callable[..., torch.Tensor] | None:
    """The fused form that computes what the module does, if one does.

    Seen on a copy with other weights: there are norms that multiply by one, and any form agrees with some weights. Two
    forms may differ in rounding alone, so the nearest is taken.
    """
    copy: Any = deepcopy(module)
    chance = torch.Generator().manual_seed(copy.weight.shape[0])
    sample = torch.randn(1, _SAMPLE_ROWS, copy.weight.shape[0], generator=chance).to(copy.weight.dtype)
    with torch.no_grad():
        copy.weight.copy_(torch.rand(copy.weight.shape, generator=chance) + 0.5)
    apart = {form: difference(copy.forward, partial(form, copy), sample) for form in _FORMS}
    nearest = min(apart, key=lambda form: apart[form])
    return nearest if apart[nearest] <= TOLERANCE.get(sample.dtype, 0.0) else None


def _spacing(module: Any) -> float:
    return float(module.variance_epsilon if hasattr(module, "variance_epsilon") else getattr(module, "eps", 0.0) or 0.0)


def _as_llama(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    return _normed(hidden, module.weight, _spacing(module), narrow=True)


def _as_gemma(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    return _normed(hidden, 1.0 + module.weight.float(), _spacing(module), narrow=False)


def _as_olmo(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    return _normed(hidden, module.weight.float(), _spacing(module), narrow=False)


def _normed(hidden: torch.Tensor, weight: torch.Tensor, spacing: float, *, narrow: bool) -> torch.Tensor:
    normed: torch.Tensor = _RmsNorm.apply(hidden, weight, spacing, narrow)
    return normed


_FORMS = (_as_llama, _as_gemma, _as_olmo)
