"""A frozen base spread over several processes: each holds its share, and a layer is whole only while it computes.

torch's FSDP2 (`torch.distributed.fsdp.fully_shard`) keeps one share of every decoder layer's frozen weights in each
process, gathers a layer from all of them right before it computes, forward and backward, and lets go of it right after.
What is trained stays out of it: adapters, masters and optimizer states are the same in every process, as they are
without sharding, so gradients are summed, states saved and adapters written in one and the same way. So do embeddings,
head and what else lies outside the layers: the loss head multiplies with the head's weight itself, in chunks.

Gathering is work that all processes do together, layer by layer. So each of them has to make as many passes as all
others: whoever has fewer keeps them company with passes whose results nobody looks at (`company`).
"""

from collections.abc import Iterable
from typing import Any

import torch

from core.data.types import Encoded, EncodedRow
from core.engine.distributed import Group
from core.engine.passes import Pass, make_pass
from core.errors import FailureKind, JobError


def spread(base: Any, group: Group, device: torch.device) -> int:
    """Spreads the frozen weights of all decoder layers; returns how many layers there are.

    Layers are taken from where the base was loaded, one after another: on a GPU no more than one of them is there as a
    whole. Everything else goes to the device as it is.

    Args:
        base: a causal language model with its adapters attached, in unquantized weights.
        group: all processes of the run.
        device: where this process computes.

    Raises:
        JobError: the model's layers cannot be found.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise JobError(
            FailureKind.UNSUPPORTED,
            f"The layers of this model ({type(base).__name__}) cannot be told apart, so its weights cannot be spread "
            "over several processes.",
            "Set hardware.sharding to off, and load the base in 4 bits if it does not fit one device.",
        )
    mesh = init_device_mesh(device.type, (group.place.size,))
    for layer in reversed(layers):  # a layer within a layer comes first
        apart = {parameter for parameter in layer.parameters() if parameter.requires_grad or not parameter.dim()}
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=apart)
    for tensor in (*base.parameters(), *base.buffers()):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.data.to(device)
    backbone = getattr(base, base.base_model_prefix)
    whole = {parameter for parameter in backbone.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(backbone, mesh=mesh, reshard_after_forward=True, ignored_params=whole)  # shares nothing, leads the rest
    return len(layers)


def company(group: Group, passes: int, rows: Iterable[EncodedRow], device: torch.device) -> list[Pass]:
    """Passes to make beside one's own so that all processes make equally many.

    Args:
        group: all processes of the run; each has to ask.
        passes: how many are this process's own.
        rows: where the beginning of one can be taken from.
        device: where the passes go.
    """
    missing = group.most(passes) - passes
    if not missing:
        return []
    text = next(text for row in rows for text in row.documents if len(text) > 1)
    return [make_pass([Encoded(text.tokens[:2], (False, True), text.place)], device)] * missing
