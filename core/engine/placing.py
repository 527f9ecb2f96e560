"""Tensors on their way to the device."""

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; the host goes on at once.

    A copy from ordinary memory to a GPU is made in its order among the kernels and the host waits for it, so each pass
    would begin only when the one before has ended. From pinned memory nobody waits (CUDA programming guide,
    “Asynchronous concurrent execution”), and the next pass is laid out while the present one computes.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
