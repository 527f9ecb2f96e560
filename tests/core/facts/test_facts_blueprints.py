"""Settings that change which tensors a model has: blueprints against the classes that transformers builds."""

from typing import Any

import pytest

from core.facts.blueprints import BLUEPRINTS, tensors_of
from core.facts.model_config import parse_config
from tests.core.facts.tiny_families import TINY

pytestmark = pytest.mark.torch

SETTINGS = (
    *("attention_bias", "mlp_bias", "use_bias", "bias", "use_qkv_bias", "enable_bias", "attention_out_bias"),
    *("qk_layernorm", "use_qk_norm", "use_parallel_residual", "parallel_attn", "new_decoder_architecture"),
    *("layer_norm_elementwise_affine", "do_layer_norm_before", "tie_word_embeddings", "multi_query"),
)


def built(kind: str, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of the class, built without memory."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(kind, **settings)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def listed(kind: str, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The same by the blueprint, from the config.json that the class writes."""
    import transformers

    raw = transformers.AutoConfig.for_model(kind, **settings).to_dict() | {"model_type": kind}
    raw |= {name: settings[name] for name in SETTINGS if name in settings}
    config = parse_config(raw, kind)
    return {tensor.name: tensor.shape for tensor in tensors_of(config, raw, config.num_layers, "F32", 4)}


@pytest.mark.parametrize("kind", sorted(set(BLUEPRINTS) - {"gemma3"}))  # a model that sees; the catalogue's tests do it
def test_every_setting_both_ways(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers.utils import logging

    logging.set_verbosity_error()
    tiny = dict(TINY[kind])
    assert listed(kind, tiny) == built(kind, tiny)
    for name in SETTINGS:
        for value in (True, False):
            settings = {**tiny, name: value}
            assert listed(kind, settings) == built(kind, settings), (name, value)


@pytest.mark.parametrize("norms", [None, 1, 2])
@pytest.mark.parametrize("parallel", [True, False])
def test_the_norms_of_falcons_newer_build(norms: int | None, *, parallel: bool) -> None:
    settings = {**TINY["falcon"], "new_decoder_architecture": True, "num_kv_heads": 2, "parallel_attn": parallel}
    if norms is not None:
        settings["num_ln_in_parallel_attn"] = norms
    assert listed("falcon", settings) == built("falcon", settings)
