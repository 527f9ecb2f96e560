"""Published models, and every way to make their configs and headers wrong."""

import dataclasses
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.facts.catalogue import entries
from core.facts.model_files import read_model
from core.facts.tensors import Tensor
from core.facts.types import Facts, ModelFacts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec
from tests.core.facts.real_folders import config_of, tensors_for, write_config, write_folder
from tests.core.plan.invented_facts import MACHINES

# One model of every family, the first of the catalogue.
MODELS = {entry.family: entry.name for entry in reversed(entries())}
NONSENSE = [0, -1, -(2**63), 2**62, 10**30, 1.5, math.nan, math.inf, -math.inf, "abc", "", True, [], [1], {}, {"a": 1}]
# Settings that say how large something is, under all the names that configs of the catalogue use.
SIZES = (
    *("hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head", "vocab_size"),
    *("num_key_value_heads", "num_kv_heads", "intermediate_size", "ffn_dim", "head_dim", "word_embed_proj_dim"),
    *("max_position_embeddings", "n_positions", "moe_intermediate_size"),
)
OTHERS = ("num_experts", "num_local_experts", "num_experts_per_tok", "sliding_window", "num_nextn_predict_layers")
FLAGS = ("tie_word_embeddings",)
TABLES = ("rope_scaling", "rope_parameters")
MEASURES = ("rope_theta", "rms_norm_eps", "layer_norm_eps", "partial_rotary_factor", "attention_dropout")
LOOSE = (
    "text_config",
    "architectures",
    "layer_types",
    "quantization_config",
    "auto_map",
    "use_sliding_window",
    "dtype",
)


def said(folder: Path) -> str:
    """The refusal of a folder, which says in sentences what is wrong and names the folder or a file in it."""
    with pytest.raises(UserError) as failure:
        read_model(folder)
    return complaint(failure.value, folder)


def complaint(failure: UserError, folder: Path) -> str:
    for problem in failure.problems:
        assert problem.path.startswith(str(folder))
        assert problem.message.endswith(".")
        assert problem.advice.endswith((".", "?"))
    return str(failure)


def outcome(folder: Path) -> ModelFacts | str:
    try:
        return read_model(folder)
    except UserError as failure:
        return complaint(failure, folder)


def can_be_planned(facts: ModelFacts) -> None:
    """A plan with finite, sensible numbers comes of whatever was believed; the same facts are planned with once."""
    _planned(dataclasses.replace(facts, path="", fingerprint="", bytes_on_disk=0))


@cache
def _planned(facts: ModelFacts) -> None:
    for machine in ("rtx4090", "cpu24"):
        planned = plan(RunSpec(), Facts(MACHINES[machine], facts))
        if planned.memory is not None:
            assert 0 <= planned.memory.low_bytes <= planned.memory.peak_bytes <= planned.memory.high_bytes < 2**70
        if planned.parameters is not None:
            assert 0 < planned.parameters.trainable <= planned.parameters.total < 2**60


class Model:
    """A published model with two layers, and room for wrong copies of it."""

    def __init__(self, family: str, folder: Path) -> None:
        self.family, self.folder = family, folder
        self.config = config_of(MODELS[family], layers=2)
        self.tensors = tensors_for(self.config)
        write_folder(folder, self.config, self.tensors)
        self.facts = read_model(folder)

    @property
    def text(self) -> dict[str, Any]:
        """The settings of the text part."""
        found: dict[str, Any] = self.config.get("text_config", self.config)
        return found

    def with_setting(self, name: str, value: object) -> ModelFacts | str:
        """What is said of it when its config has another value."""
        if "text_config" in self.config and name not in self.config:
            changed = {**self.config, "text_config": {**self.text, name: value}}
        else:
            changed = {**self.config, name: value}
        write_config(self.folder, changed)
        try:
            return outcome(self.folder)
        finally:
            write_config(self.folder, self.config)

    def with_tensors(self, tensors: list[Tensor], shards: int = 1) -> Path:
        """Another folder with the same config and other weights."""
        return write_folder(self.folder.parent / "wrong", self.config, tensors, shards)
