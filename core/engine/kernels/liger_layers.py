"""Norms, gates and rotary positions by the fused kernels of liger-kernel, where the package is there.

Each fused operation reads and writes its tensors once, where PyTorch does so for each of the operations that it is made
of, and keeps less for the backward pass. Nothing is assumed about a family: what looks like an RMS norm, a gated MLP or
rotary positions is given the fused form only where values and gradients agree with the model's own on random input.

Source: liger-kernel 0.8 (BSD-2), `liger_kernel.ops`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from core.engine.kernels.agreement import TOLERANCE, agree

NAME = "liger"
_SAMPLE_ROWS = 8
_ROTARY = "apply_rotary_pos_emb"
_NORMS = ((0.0, "llama"), (1.0, "gemma"), (0.0, "gemma"))
"""What is added to the weight, and what is computed in 32 bits: as Llama, as Gemma, and all of it without an offset."""


class LigerLayers:
    """A model's norms, gates and rotary positions, fused while it is on.

    Attributes:
        name: what it is called.
    """

    name = NAME

    def __init__(self, base: nn.Module) -> None:
        """Changes nothing yet.

        Args:
            base: a causal language model with its adapters.
        """
        self._base = base
        self._undo: list[Callable[[], object]] = []

    def obstacle(self) -> str:
        """Why it cannot be tried here, as a sentence; empty when it can."""
        if find_spec("liger_kernel") is None or find_spec("triton") is None:
            return "The package liger-kernel is not installed."
        on_gpu = any(parameter.is_cuda for parameter in self._base.parameters())
        if not on_gpu and os.environ.get("TRITON_INTERPRET") != "1":
            return "The kernels of liger-kernel run on a GPU only."
        return ""

    def on(self) -> None:
        """Gives every part that agrees its fused form.

        Raises:
            RuntimeError: none does.
        """
        seen: dict[tuple[Any, ...], Callable[..., Any] | None] = {}
        for module in self._base.modules():
            kind = _kind(module)
            if kind is None or "forward" in module.__dict__:
                continue
            if kind not in seen:
                seen[kind] = _agreeing(module)
            fused = seen[kind]
            if fused is not None:
                module.forward = partial(fused, module)
                self._undo.append(partial(module.__dict__.pop, "forward"))
        for home in {sys.modules[type(module).__module__] for module in self._base.modules()}:
            self._rotate(home)
        if not self._undo:
            raise RuntimeError("no part of this model computes what a fused kernel does")

    def off(self) -> None:
        """Has everything compute as it is."""
        while self._undo:
            self._undo.pop()()

    def settle(self) -> None:
        """Nothing has to settle."""

    def complaint(self) -> str:
        """Nothing goes wrong in the course of a run that does not at its start."""
        return ""

    def _rotate(self, home: ModuleType) -> None:
        """Replaces the function that rotates queries and keys in a model's own code, for this process."""
        from liger_kernel.ops import LigerRopeFunction

        plain = vars(home).get(_ROTARY)
        if plain is None or not _same_rotation(plain, self._base):
            return

        def fused(query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *others: Any) -> Any:
            if others or cos.dim() != 3 or cos.shape[-1] != query.shape[-1]:
                return plain(query, key, cos, sin, *others)
            return LigerRopeFunction.apply(query, key, cos, sin)

        setattr(home, _ROTARY, fused)
        self._undo.append(partial(setattr, home, _ROTARY, plain))


def _kind(module: nn.Module) -> tuple[Any, ...] | None:
    """What modules have to share to be alike to a fused kernel; None where there is none for them."""
    if "RMSNorm" in type(module).__name__ and isinstance(getattr(module, "weight", None), torch.Tensor):
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        return type(module), tuple(weight.shape), weight.dtype, weight.device
    if all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        parts: Any = module
        return type(module), type(parts.act_fn), tuple(type(part) for part in module.children())
    return None


def _agreeing(module: nn.Module) -> Callable[..., Any] | None:
    """The fused form that computes what the module does, if one does."""
    parameters = [*module.parameters()]
    first = next((p for p in parameters if p.is_floating_point()), None)
    if first is None:
        return None
    parts: Any = module
    width = first.shape[0] if "RMSNorm" in type(module).__name__ else parts.down_proj.out_features
    dtype = first.dtype if first.dtype in TOLERANCE else torch.float32
    sample = torch.randn(1, _SAMPLE_ROWS, width, device=first.device).to(dtype)
    for fused in _candidates(module):
        if agree(module.forward, partial(fused, module), sample):
            return fused
    return None


def _candidates(module: nn.Module) -> Iterator[Callable[..., Any]]:
    if "RMSNorm" in type(module).__name__:
        for offset, casting in _NORMS:
            yield partial(_norm, offset, casting)
    else:
        yield _silu_gate
        yield _gelu_gate


def _norm(offset: float, casting: str, module: Any, hidden: torch.Tensor) -> torch.Tensor:
    from liger_kernel.ops import LigerRMSNormFunction

    spacing = module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps
    in_place, row_mode = False, None  # the gradient that comes in is also that of the residual beside the norm
    normed: torch.Tensor = LigerRMSNormFunction.apply(
        hidden, module.weight, spacing, offset, casting, in_place, row_mode
    )
    return normed


def _silu_gate(module: Any, hidden: torch.Tensor) -> Any:
    from liger_kernel.ops import LigerSiLUMulFunction

    return module.down_proj(LigerSiLUMulFunction.apply(module.gate_proj(hidden), module.up_proj(hidden), 1.0, 1.0))


def _gelu_gate(module: Any, hidden: torch.Tensor) -> Any:
    from liger_kernel.ops import LigerGELUMulFunction

    return module.down_proj(LigerGELUMulFunction.apply(module.gate_proj(hidden), module.up_proj(hidden)))


def _same_rotation(plain: Callable[..., Any], base: Any) -> bool:
    """Whether a family rotates as Llama does, which is what the kernel knows; seen on queries and keys like its own."""
    from liger_kernel.ops import LigerRopeFunction

    config = base.config
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    first = next(parameter for parameter in base.parameters() if parameter.dtype in TOLERANCE)
    angles = torch.rand(1, _SAMPLE_ROWS, width // 2, device=first.device).repeat(1, 1, 2)
    cos, sin = angles.cos().to(first.dtype), angles.sin().to(first.dtype)
    drawn = torch.randn(1, _SAMPLE_ROWS, heads + shared, width, device=first.device).to(first.dtype)

    def rotated(rotate: Callable[..., Any], states: torch.Tensor) -> torch.Tensor:
        query, key = (part.transpose(1, 2) for part in (states * 1.0).split((heads, shared), dim=2))
        return torch.cat(rotate(query, key, cos, sin), dim=1)

    return agree(partial(rotated, plain), partial(rotated, LigerRopeFunction.apply), drawn)
