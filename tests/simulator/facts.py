"""The planner's facts of a model that exists only as a config: through the same code that reads files."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.facts.linears import read_layout
from core.facts.model_config import parse_config
from core.facts.model_files import describe
from core.facts.promises import is_tied
from core.facts.safetensors_header import Weights
from core.facts.tensors import Tensor
from core.facts.types import ModelFacts
from tests.simulator.models import set_depth

SAMPLELAYERS = 12  # a whole number of the periods of all patterns there are: 1, 2, 4 and 6
LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")


def facts_of(config: Any) -> ModelFacts:
    """What `core.facts.model_files.read_model` would say of a folder with this config and this model's weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return facts_of_model(model)


def facts_at_depth(config: Any) -> ModelFacts:
    """`facts_of` without building all layers: those beyond the first few are like one of them."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM

    shallow = copy.deepcopy(config)
    depth = config.num_hidden_layers
    few = min(depth, SAMPLELAYERS)
    set_depth(shallow, few)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shallow, dtype=torch.bfloat16)
    tensors = []
    for tensor in _stored(model):
        match = LAYER.search(tensor.name)
        if match is None:
            tensors.append(tensor)
            continue
        before, after = tensor.name[: match.start(1)], tensor.name[match.end(1) :]
        tensors += [replace(tensor, name=f"{before}{index}{after}") for index in range(int(match[1]), depth, few)]
    return _describe(config, type(model).__name__, tuple(tensors))


def facts_of_model(model: Any) -> ModelFacts:
    """`facts_of` for a model that was built already."""
    return _describe(model.config, type(model).__name__, _stored(model))


def _stored(model: Any) -> tuple[Tensor, ...]:
    """The tensors as safetensors files hold them: a matrix that two modules share is there once."""
    seen: set[int] = set()
    found = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found.append(Tensor(name, tuple(tensor.shape), "BF16", 2 * tensor.numel()))
    return tuple(found)


def _describe(config: Any, architecture: str, tensors: tuple[Tensor, ...]) -> ModelFacts:
    raw = {**config.to_dict(), "architectures": [architecture]}
    parsed = parse_config(raw, "config.json")
    layout = read_layout(tensors, parsed.family, parsed.num_layers, parsed.extra_layers)
    assumptions: list[str] = []
    return describe(
        Path("invented"),
        parsed,
        layout,
        Weights(tensors, ("model.safetensors",), sum(tensor.bytes for tensor in tensors)),
        assumptions,
        [],
        tied=is_tied(Path("invented"), parsed, layout, assumptions),
    )
