"""Every method, quantization and optimizer trains on real weights, and bitsandbytes' traps stay shut."""

from pathlib import Path

import pytest

from core.events.types import Started
from tests.e2e.real_runs import run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.mark.parametrize(
    "settings",
    [
        {"model__quantization": "nf4", "model__compute_dtype": "bf16"},
        {"model__quantization": "nf4", "model__double_quant": False},
        {"model__quantization": "int8", "model__compute_dtype": "bf16"},
        {"model__compute_dtype": "bf16"},
        {"adapter__method": "rslora"},
        {"adapter__method": "dora"},
        {"adapter__method": "full", "training__learning_rate": 1e-4},
        {"adapter__method": "full", "training__learning_rate": 1e-4, "model__compute_dtype": "bf16"},
        {"training__optimizer": "adamw_8bit"},
        {"training__optimizer": "adafactor"},
        {"training__optimizer": "lion"},
        {"training__optimizer": "lion_8bit"},
        {"training__optimizer": "muon", "training__learning_rate": 1e-2},
        {"training__optimizer": "muon", "adapter__method": "full", "training__learning_rate": 1e-4},
        {"adapter__start": "pissa", "model__compute_dtype": "bf16"},
        {"adapter__start": "olora"},
        {"adapter__start": "gaussian", "adapter__b_rate_ratio": 4.0},
        {"training__embedding_noise": 5.0, "model__compute_dtype": "bf16"},
        {"adapter__rank_pattern": {"down_proj": 2, "3.q_proj": 3}, "adapter__layers": "last 2"},
        {"adapter__targets": ("attention",), "adapter__modules_to_save": ("lm_head",)},
        {"adapter__targets": ("mlp",), "adapter__modules_to_save": ("embed_tokens", "lm_head")},
        {"adapter__method": "dora", "adapter__layers": "1, 3", "training__optimizer": "lion_8bit"},
    ],
    ids=lambda settings: ", ".join(f"{key.partition('__')[2]}={value}" for key, value in settings.items()),
)
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")  # the plan says it to the user
def test_it_trains_exactly_the_planned_parameters(
    short_starter: Path, four_layers: Path, tmp_path: Path, settings: dict
) -> None:
    """Every step learns from the same rows, so any that learns at all gets better."""
    rows = write_rows(tmp_path / "rows.jsonl", 4)
    base = four_layers if "adapter__layers" in settings else short_starter
    finished = run_inside(base, rows, training__max_steps=3, training__effective_batch=4, **settings)
    assert finished.losses[-1] < finished.losses[0]
    assert finished.of(Started)[0].trainable > 0  # the engine itself refuses to train other counts than planned


def test_an_evaluation_does_not_stop_four_bit_layers_from_learning(starter: Path) -> None:
    """bitsandbytes repacks 4-bit weights in eval mode on AVX512-BF16 processors and then has no gradient any more."""
    import torch

    from core.engine.loading import load_base

    model = load_base(starter, device=torch.device("cpu"), compute_dtype="bf16", quantization="nf4")
    ids = torch.randint(3, 1000, (1, 8))
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    model.train()
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    model(inputs_embeds=embedded).logits.float().square().mean().backward()
    assert embedded.grad is not None
    assert float(embedded.grad.float().abs().sum()) > 0
