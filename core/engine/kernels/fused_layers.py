"""What is fused in every run that can be: adapters with their linear layers and, on a processor, norms."""

from torch import nn

from core.engine.kernels.lora_linear import fuse_adapters, release_adapters
from core.engine.kernels.rms_norm import fuse_norms, release_norms


def fuse_layers(model: nn.Module) -> int:
    """Gives every part that is known and seen to agree its fused pass; returns how many got it."""
    return fuse_adapters(model) + fuse_norms(model)


def release_layers(model: nn.Module) -> int:
    """Takes back what `fuse_layers` gave; returns how many had it."""
    return release_adapters(model) + release_norms(model)
