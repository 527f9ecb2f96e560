"""Trained parameters twice: fp32 masters that learn, and copies in the compute dtype that the model multiplies with.

Adapters kept in bfloat16 alone lose small updates; adapters kept in float32 alone are cast at every use. So the model
holds 16-bit copies, gradients are added up in float32 as soon as each one is ready, and the optimizer sees only the
masters. With fp32 compute the parameters are their own masters and nothing is copied.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn


class Masters:
    """The trained parameters of a model.

    Attributes:
        names: their names, sorted as the model has them.
        masters: float32 tensors that the optimizer steps; same order.
    """

    def __init__(self, model: nn.Module, compute_dtype: torch.dtype) -> None:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names: list[str] = [name for name, _ in trained]
        self.masters: list[nn.Parameter] = []
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        for _, parameter in trained:
            if compute_dtype == torch.float32:
                parameter.data = parameter.data.float()
                self.masters.append(parameter)
                continue
            master = nn.Parameter(parameter.detach().to(torch.float32, copy=True))
            parameter.data = parameter.data.to(compute_dtype)
            parameter.register_post_accumulate_grad_hook(partial(_collect, master))
            self.masters.append(master)
            self._pairs.append((parameter, master))

    @property
    def count(self) -> int:
        """Number of trained parameters."""
        return sum(master.numel() for master in self.masters)

    def scale_gradients(self, factor: float | torch.Tensor) -> None:
        """Multiplies all gradients, in place."""
        grads = [master.grad for master in self.masters if master.grad is not None]
        if grads:
            torch._foreach_mul_(grads, factor)

    def clear_gradients(self) -> None:
        """Forgets all gradients; a half-finished step leaves nothing behind."""
        for master in self.masters:
            master.grad = None
        for parameter, _ in self._pairs:
            parameter.grad = None

    def take_gradients(self) -> list[torch.Tensor | None]:
        """The gradients, which are none of the masters' any more."""
        taken = [master.grad for master in self.masters]
        self.clear_gradients()
        return taken

    def give_gradients(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Puts back what `take_gradients` took."""
        for master, gradient in zip(self.masters, gradients, strict=True):
            master.grad = gradient

    @torch.no_grad()
    def publish(self) -> None:
        """Copies the masters into the model; call it after every optimizer step and after loading a checkpoint."""
        if self._pairs:
            copies, masters = zip(*self._pairs, strict=True)
            torch._foreach_copy_(list(copies), list(masters))

    def named(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, master) pairs, detached."""
        for name, master in zip(self.names, self.masters, strict=True):
            yield name, master.detach()

    @torch.no_grad()
    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Takes over saved masters.

        Raises:
            KeyError, ValueError: a tensor is missing or has another shape.
        """
        for name, master in zip(self.names, self.masters, strict=True):
            saved = tensors[name]
            if saved.shape != master.shape:
                raise ValueError(f"{name} has shape {tuple(saved.shape)} in the checkpoint, {tuple(master.shape)} here")
            master.copy_(saved)
        self.publish()


def _collect(master: nn.Parameter, parameter: torch.Tensor) -> None:
    grad = parameter.grad
    parameter.grad = None
    if grad is None:
        return
    if master.grad is None:
        master.grad = grad.to(torch.float32)
    else:
        master.grad.add_(grad)
