"""Whether a fused form computes what a model's own code does: seen on random input, not in a list of families."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Norms of differences as a share, by the type that is computed in."""


def agree(plain: Callable[..., Any], fused: Callable[..., Any], sample: torch.Tensor) -> bool:
    """Whether two ways give the same values and gradients, but for rounding."""
    return difference(plain, fused, sample) <= TOLERANCE[sample.dtype]


def difference(plain: Callable[..., Any], fused: Callable[..., Any], sample: torch.Tensor) -> float:
    """How far values and gradients of two ways are apart, the larger of both shares; infinite where one fails."""
    found = []
    for way in (plain, fused):
        given = sample.clone().requires_grad_()
        with torch.enable_grad(), torch.random.fork_rng(devices=[sample.device] if sample.is_cuda else []):
            torch.manual_seed(0)
            try:
                result = way(given)
            except (TypeError, ValueError, AttributeError, AssertionError):
                return math.inf  # made for something else than what this module is given
            (gradient,) = torch.autograd.grad(functional.gelu(result.float()).sum(), [given])
        found.append((result.detach().float(), gradient.float()))
    shares = [float((b - a).norm() / a.norm()) for a, b in zip(*found, strict=True)]
    return max(math.inf if math.isnan(share) else share for share in shares)
