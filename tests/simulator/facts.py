"""The planner's facts of a model that exists only as a config: through the same code that reads files."""

from pathlib import Path
from typing import Any

from core.facts.linears import read_layout
from core.facts.model_config import parse_config
from core.facts.model_files import describe
from core.facts.promises import is_tied
from core.facts.safetensors_header import Weights
from core.facts.tensors import Tensor
from core.facts.types import ModelFacts


def facts_of(config: Any) -> ModelFacts:
    """What `core.facts.model_files.read_model` would say of a folder with this config and this model's weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return facts_of_model(model)


def facts_of_model(model: Any) -> ModelFacts:
    """`facts_of` for a model that was built already."""
    raw = model.config.to_dict()
    raw["architectures"] = [type(model).__name__]
    raw.setdefault("tie_word_embeddings", bool(model.config.tie_word_embeddings))
    stored = dict(model.state_dict())
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    tensors = tuple(
        Tensor(name, tuple(tensor.shape), "BF16", 2 * tensor.numel())
        for name, tensor in stored.items()
        if name not in tied
    )
    parsed = parse_config(raw, "config.json")
    layout = read_layout(tensors, parsed.family, parsed.num_layers, parsed.extra_layers)
    assumptions: list[str] = []
    return describe(
        Path("invented"),
        parsed,
        layout,
        Weights(tensors, ("model.safetensors",), sum(tensor.bytes for tensor in tensors)),
        assumptions,
        tied=is_tied(Path("invented"), parsed, layout, assumptions),
    )
