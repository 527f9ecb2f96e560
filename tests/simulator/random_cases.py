"""Seeded random settings over published shapes: every setting that moves memory, in combinations that may start."""

import random
from collections.abc import Sequence
from typing import Any

from core.spec.sections import AdapterSpec
from tests.simulator.cases import Case
from tests.simulator.models import CONFIGS

# Modules that people train in full beside the adapters, where head and embeddings are two matrices.
_SAVED = {
    "llama": ("lm_head", "embed_tokens"), "mistral": ("lm_head", "embed_tokens"), "qwen2": ("lm_head", "embed_tokens"),
    "qwen3": ("lm_head", "embed_tokens"), "phi3": ("lm_head", "embed_tokens"), "olmo2": ("lm_head", "embed_tokens"),
    "gpt_neox": ("lm_head", "embed_in"),
}  # fmt: skip
_TARGETS = (("all-linear",), ("all-linear",), ("all-linear",), ("attention",), ("mlp",))
_TARGETS_EXPERTS = (("all-linear",), ("attention",), ("q_proj", "v_proj"))  # experts are no linear layers
_TARGETS_LLAMA = (("q_proj", "v_proj"), ("o_proj", "down_proj"), ("q_proj", "k_proj", "v_proj", "o_proj"))
_HAS_LLAMA_NAMES = frozenset(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "granite", "smollm3", "olmo2"))


def random_cases(seed: int, count: int, models: Sequence[str] | None = None) -> list[Case]:
    """``count`` settings on an Ampere GPU; the same for the same seed.

    Args:
        seed: of the choices.
        count: how many.
        models: names from `tests.simulator.models.CONFIGS`; all that the engine can load by default.
    """
    chance = random.Random(seed)
    names = sorted(models or CONFIGS)
    # Each model once before any comes twice.
    order: list[str] = []
    while len(order) < count:
        order += chance.sample(names, len(names))
    return [_case(chance, name) for name in order[:count]]


def _case(chance: random.Random, name: str) -> Case:
    config = CONFIGS[name]
    method = chance.choices(("lora", "rslora", "dora", "full"), (60, 8, 15, 17))[0]
    number = chance.choices(("bf16", "fp16", "fp32"), (65, 15, 20))[0]
    layers = int(config.get("num_hidden_layers") or config["n_layer"])
    return Case(
        name,
        adapter=_adapter(chance, config, method),
        quantization="none" if method == "full" else chance.choices(("none", "nf4", "int8"), (45, 40, 15))[0],
        double_quant=chance.random() < 0.7,
        compute_dtype=number,
        optimizer=chance.choice(("adamw", "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit")),
        attention=chance.choices(("flash", "sdpa", "eager"), (70, 18, 12))[0],
        checkpointed=chance.choice((0, 0, layers, layers, layers, chance.randint(1, layers))),
        passes=_passes(chance, config),
        supervised=chance.choice((1.0, 1.0, 0.5, 0.1)),
    )


def _adapter(chance: random.Random, config: Any, method: str) -> AdapterSpec:
    if method == "full":
        return AdapterSpec(method="full")
    family = config["model_type"]
    targets = _TARGETS + (_TARGETS_LLAMA if family in _HAS_LLAMA_NAMES else ())
    if "num_experts_per_tok" in config:
        targets = _TARGETS_EXPERTS
    saved: tuple[str, ...] = ()
    if family in _SAVED and not config.get("tie_word_embeddings") and chance.random() < 0.12:
        saved = _SAVED[family][: chance.randint(1, 2)]
    return AdapterSpec(
        method=method,  # type: ignore[arg-type]
        rank=chance.choice((4, 8, 16, 16, 32, 64, 128, 256)),
        dropout=chance.choice((0.0, 0.0, 0.0, 0.05)),
        targets=chance.choice(targets),
        modules_to_save=saved,
    )


def _passes(chance: random.Random, config: Any) -> tuple[tuple[int, ...], ...]:
    """One to three passes; the first is the largest, as the planner takes all of them to be."""
    longest = int(config.get("n_positions") or 4096)
    whole = tuple(
        min(longest, round(64 * 2 ** (6 * chance.random()))) for _ in range(chance.choice((1, 1, 1, 2, 3, 6)))
    )
    return (whole,) * chance.choice((1, 2, 2))
