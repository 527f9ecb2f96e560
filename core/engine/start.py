"""Adapters that begin as a part of the weights they adapt (PiSSA, arXiv 2404.02948; OLoRA, arXiv 2406.01775).

A part s·B₀A₀ is taken out of each weight W, and the rest R = W - s·B₀A₀ stays frozen in its place. What was learned is
the difference s·(BA - B₀A₀) to the unchanged base, which is an adapter of twice the rank: so every finished adapter
fits the base model that everyone has. B₀ and A₀ are kept in the run folder, because another machine, or another number
of threads, would find slightly others, and the saved states would not belong to them.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import FailureKind, JobError
from core.paths import write_atomic
from core.spec.sections import AdapterSpec

_ADAPTER = "default"
# Sixteen iterations find the largest singular vectors to within what rounding to 16 bits loses (PiSSA, section 5.5),
# in a fraction of the time of a whole decomposition; a few vectors more than asked for make the last ones good.
_ITERATIONS, _SPARE = 16, 8


@torch.no_grad()
def make_start(model: nn.Module, kind: str) -> dict[str, torch.Tensor]:
    """What the adapters of a fresh model are to begin with, in float32, by the names of its parameters.

    PEFT has the same (`init_lora_weights`), but rounds A₀ and B₀ to the weights' format after it has taken the exact
    ones out, knows no OLoRA for transposed weights, and lets nobody take out the same part again.
    """
    tensors = {}
    for name, layer in _layers(model):
        lower, upper = layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight
        first, second = _parts(kind, _weight(layer).float(), lower.shape[0], layer.scaling[_ADAPTER])
        assert first.shape == lower.shape
        assert second.shape == upper.shape
        tensors[f"{name}.lora_A.{_ADAPTER}.weight"] = first.contiguous()
        tensors[f"{name}.lora_B.{_ADAPTER}.weight"] = second.contiguous()
    return tensors


def _parts(kind: str, weight: torch.Tensor, rank: int, scaling: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A₀ and B₀ of one weight (out, in)."""
    if kind == "olora":
        whole, upper = torch.linalg.qr(weight)
        return upper[:rank], whole[:, :rank]
    few = min(rank + _SPARE, *weight.shape)
    left, values, right = torch.svd_lowrank(weight, q=few, niter=_ITERATIONS)
    root = (values[:rank] / scaling).sqrt()
    return root[:, None] * right[:, :rank].T, left[:, :rank] * root


def keep_start(start: Mapping[str, torch.Tensor], file: Path) -> None:
    """Writes how adapters began."""
    from safetensors.torch import save

    write_atomic(file, save({name: tensor.cpu() for name, tensor in start.items()}))


def read_start(file: Path) -> dict[str, torch.Tensor]:
    """The tensors that `keep_start` wrote, by the names of the model's parameters.

    Raises:
        JobError: the file is missing or broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise JobError(
            FailureKind.RESUME_MISMATCH,
            f"How the adapters of this run began cannot be read any more ({file.name}: {error}), and the saved states "
            "mean nothing without it.",
            "Put the file back, or start a new run.",
        ) from error
    return tensors


@torch.no_grad()
def begin(model: nn.Module, start: Mapping[str, torch.Tensor]) -> None:
    """Gives adapters their first values and takes them out of the weights; the same start gives the same bits.

    Args:
        model: fresh, its adapters doing nothing.
        start: from `make_start` or `read_start`.
    """
    for name, layer in _layers(model):
        weight, base = _weight(layer), layer.get_base_layer().weight
        first = start[f"{name}.lora_A.{_ADAPTER}.weight"].to(weight.device)
        second = start[f"{name}.lora_B.{_ADAPTER}.weight"].to(weight.device)
        layer.lora_A[_ADAPTER].weight.data = first.clone()
        layer.lora_B[_ADAPTER].weight.data = second.clone()
        rest = (weight.float() - layer.scaling[_ADAPTER] * second @ first).to(weight.dtype)
        base.data = rest.T.contiguous() if layer.fan_in_fan_out else rest


def _weight(layer: Any) -> torch.Tensor:
    """The weight that an adapter changes, (out, in)."""
    weight: torch.Tensor = layer.get_base_layer().weight.data
    return weight.T if layer.fan_in_fan_out else weight


def against_base(masters: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Trained tensors as an adapter of the unchanged base: B A - B₀ A₀ is [B, -B₀] [A; A₀]."""
    found = dict(masters)
    for name, began in start.items():
        trained = masters[name].cpu()
        lower = ".lora_A." in name
        found[name] = torch.cat([trained, began], 0) if lower else torch.cat([trained, -began], 1)
    return found


def settings_against_base(settings: Mapping[str, Any], spec: AdapterSpec) -> dict[str, Any]:
    """PEFT's configuration for the doubled ranks, with alpha such that the strength stays."""
    doubled = math.sqrt(2) if spec.method == "rslora" else 2
    return {
        **settings,
        "r": 2 * settings["r"],
        "lora_alpha": doubled * settings["lora_alpha"],
        "rank_pattern": {name: 2 * rank for name, rank in settings["rank_pattern"].items()},
    }


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module
