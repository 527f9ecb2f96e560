"""The rule that turns gradients into steps, and its state as plain tensors (a checkpoint never holds a pickle)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.errors import FailureKind, JobError

BETAS = (0.9, 0.999)
EPSILON = 1e-8
LION_BETAS = (0.9, 0.99)
"""As in the paper's algorithm 2 (arXiv 2302.06675)."""
FACTOR = "rate_factor"
"""What a parameter group multiplies the learning rate by (LoRA+)."""
_PAGED = ("state1", "state2")
"""The moments, which bitsandbytes' paged optimizers keep where the driver moves them between GPU and RAM."""


def make_optimizer(
    kind: str,
    parameters: Sequence[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    factors: Sequence[float] = (),
    hidden: Sequence[bool] = (),
) -> torch.optim.Optimizer:
    """The optimizer over the masters.

    Args:
        kind: ``adamw`` (fused), ``adamw_8bit``, ``paged_adamw``, ``paged_adamw_8bit``, ``lion`` or ``lion_8bit``
            (bitsandbytes), ``adafactor`` (transformers', arXiv 1804.04235, with absolute steps and no first moment) or
            ``muon`` (matrices of hidden layers, scaled as in arXiv 2502.16982; AdamW for all else).
        parameters: float32 masters.
        learning_rate: the first rate; the loop sets it before every step.
        weight_decay: decoupled decay (arXiv 1711.05101).
        factors: for each parameter, what the rate is multiplied by; 1 where there are none.
        hidden: for each parameter, whether it is a matrix of a hidden layer; only ``muon`` asks.

    Raises:
        JobError: the kind does not exist on this device.
    """
    if kind == "muon":
        return _MuonAndAdamW(parameters, learning_rate, weight_decay, factors, hidden)
    groups = _groups(parameters, learning_rate, factors)
    if kind == "adamw":
        return _adamw(groups, learning_rate, weight_decay)
    if kind == "adafactor":
        from transformers.optimization import Adafactor

        adafactor: torch.optim.Optimizer = Adafactor(
            groups, lr=learning_rate, weight_decay=weight_decay, scale_parameter=False, relative_step=False
        )
        return adafactor
    if kind.startswith("paged") and parameters[0].is_cpu:
        raise JobError(
            FailureKind.UNSUPPORTED,
            "Paged optimizers move their state between GPU and RAM, and this run has no GPU.",
            "Choose “adamw” or “adamw_8bit” in training.optimizer.",
        )
    import bitsandbytes

    optimizers = bitsandbytes.optim
    made: torch.optim.Optimizer
    if kind.startswith("lion"):
        lion = {"lion": optimizers.Lion32bit, "lion_8bit": optimizers.Lion8bit}[kind]
        made = lion(groups, lr=learning_rate, betas=LION_BETAS, weight_decay=weight_decay)
        return made
    made = {
        "adamw_8bit": optimizers.AdamW8bit,
        "paged_adamw": optimizers.PagedAdamW,
        "paged_adamw_8bit": optimizers.PagedAdamW8bit,
    }[kind](groups, lr=learning_rate, betas=BETAS, eps=EPSILON, weight_decay=weight_decay)
    return made


class _MuonAndAdamW(torch.optim.Optimizer):
    """Muon for matrices of hidden layers and AdamW for the rest, as one optimizer: one list of groups, one state."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
        factors: Sequence[float],
        hidden: Sequence[bool],
    ) -> None:
        assert len(hidden) == len(parameters)
        self._parts: list[torch.optim.Optimizer] = []
        for wanted in (True, False):
            chosen = [index for index, is_hidden in enumerate(hidden) if is_hidden is wanted]
            if not chosen:
                continue
            own = [factors[index] for index in chosen] if factors else []
            groups = _groups([parameters[index] for index in chosen], learning_rate, own)
            if wanted:
                # Steps as long as AdamW's, so that its learning rates serve here as well.
                muon = torch.optim.Muon(
                    groups, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
                )
                self._parts.append(muon)
            else:
                self._parts.append(_adamw(groups, learning_rate, weight_decay))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        for part in self._parts:
            part.state = self.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Moves every parameter by its own rule."""
        assert closure is None
        for part in self._parts:
            part.step()


def _adamw(groups: Sequence[dict[str, Any]], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=EPSILON, weight_decay=weight_decay, fused=True)


def _groups(parameters: Sequence[nn.Parameter], learning_rate: float, factors: Sequence[float]) -> list[dict[str, Any]]:
    """One group for each factor, in the order in which they first come."""
    found: dict[float, list[nn.Parameter]] = {}
    for parameter, factor in zip(parameters, factors or [1.0] * len(parameters), strict=True):
        found.setdefault(factor, []).append(parameter)
    return [{"params": group, "lr": learning_rate * factor, FACTOR: factor} for factor, group in found.items()]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of all parameter groups, each times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


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
    """Takes over a saved state; each value goes to the device, type and memory that a fresh state would have."""
    for index, parameter in enumerate(_parameters(optimizer)):
        prefix = f"{index}."
        state: dict[str, Any] = {}
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                key = name.removeprefix(prefix)
                state[key] = _placed(optimizer, parameter, key, tensor)
        state.update({n.removeprefix(prefix): value for n, value in numbers.items() if n.startswith(prefix)})
        if state:
            optimizer.state[parameter] = state


def _placed(optimizer: Any, parameter: torch.Tensor, key: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the state where it belongs."""
    if key == "step" and not parameter.is_cuda:
        return tensor.clone()
    if getattr(optimizer, "is_paged", False) and key in _PAGED:
        room: torch.Tensor = optimizer.get_state_buffer(parameter, dtype=tensor.dtype)
        return room.copy_(tensor)  # bitsandbytes has waited for the kernel that cleared it
    return tensor.to(parameter.device)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
