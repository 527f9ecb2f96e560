"""The rule that turns gradients into steps, and its state as plain tensors (a checkpoint never holds a pickle)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.errors import FailureKind, JobError

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def make_optimizer(
    kind: str, parameters: Sequence[nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW in one of its forms over the masters.

    Args:
        kind: ``adamw`` (fused), ``adamw_8bit``, ``paged_adamw`` or ``paged_adamw_8bit`` (bitsandbytes).
        parameters: float32 masters.
        learning_rate: the first rate; the loop sets it before every step.
        weight_decay: decoupled decay (arXiv 1711.05101).

    Raises:
        JobError: the kind does not exist on this device.
    """
    if kind == "adamw":
        return torch.optim.AdamW(
            parameters, lr=learning_rate, betas=BETAS, eps=EPSILON, weight_decay=weight_decay, fused=True
        )
    if kind.startswith("paged") and parameters[0].is_cpu:
        raise JobError(
            FailureKind.UNSUPPORTED,
            "Paged optimizers move their state between GPU and RAM, and this run has no GPU.",
            "Choose “adamw” or “adamw_8bit” in training.optimizer.",
        )
    import bitsandbytes

    made = {
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw": bitsandbytes.optim.PagedAdamW,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }[kind](parameters, lr=learning_rate, betas=BETAS, eps=EPSILON, weight_decay=weight_decay)
    optimizer: torch.optim.Optimizer = made
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The state as tensors (named ``<index>.<key>``) and plain numbers, by position of the parameter."""
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    seen: set[int] = set()  # bitsandbytes shares its code books among all parameters, safetensors wants each its own
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            name = f"{index}.{key}"
            if isinstance(value, torch.Tensor):
                plain = value.detach().cpu().contiguous()
                tensors[name] = plain.clone() if plain.data_ptr() in seen else plain
                seen.add(plain.data_ptr())
            elif isinstance(value, int | float | bool):
                numbers[name] = value
            else:
                raise TypeError(f"optimizer state {name} is a {type(value).__name__}, which has no plain form")
    return tensors, numbers


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
    """Takes over a saved state; each value goes to the device and type that a fresh state would have."""
    for index, parameter in enumerate(_parameters(optimizer)):
        prefix = f"{index}."
        state: dict[str, Any] = {}
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                key = name.removeprefix(prefix)
                state[key] = tensor.clone() if key == "step" and not parameter.is_cuda else tensor.to(parameter.device)
        state.update({n.removeprefix(prefix): value for n, value in numbers.items() if n.startswith(prefix)})
        if state:
            optimizer.state[parameter] = state


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
