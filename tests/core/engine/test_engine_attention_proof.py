"""What the profiler tells of attention."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.data.types import Encoded  # noqa: E402
from core.engine import selfcheck  # noqa: E402
from core.engine.attention_proof import UNKNOWN, Proof, read_profile, why_not_flash  # noqa: E402
from core.engine.loss import make_loss_head  # noqa: E402
from tests.core.engine import families  # noqa: E402

FLASH, PLAIN = "flash attention (CPU)", "plain attention (eager)"


def rows(length: int = 20) -> list[Encoded]:
    made = torch.Generator().manual_seed(0)
    return [
        Encoded(tuple(torch.randint(3, 128, (length,), generator=made).tolist()), (False, *[True] * (length - 1)))
        for _ in range(2)
    ]


def proof_of(model: Any, length: int = 20) -> Proof:
    found = selfcheck.self_check(make_loss_head(model), rows(length), packing=True, device=torch.device("cpu"))
    return found.proof


@pytest.mark.parametrize(
    ("kernel", "dtype", "name"),
    [
        ("flash", torch.float32, FLASH),
        ("flash", torch.bfloat16, "flash attention (CPU, by blocks of rows)"),
        ("sdpa", torch.bfloat16, FLASH),
        ("eager", torch.float32, PLAIN),
    ],
)
def test_both_directions_of_a_real_pass_are_read(kernel: str, dtype: Any, name: str) -> None:
    model = families.build("llama", kernel=kernel).to(dtype)
    found = proof_of(model)
    calls = model.config.num_hidden_layers * (1 if "blocks" in name else 2)  # else one for each of the two documents
    assert found.words == name
    assert found.forward == found.backward == {name: calls}
    assert found.fused_share == float(kernel != "eager")


def test_looking_draws_no_random_number_and_leaves_no_gradient() -> None:
    model = families.build("llama")
    before = torch.get_rng_state()
    proof_of(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_capped_scores_are_seen_and_explained() -> None:
    found = proof_of(families.build("gemma2"))
    assert found.words == PLAIN
    assert "caps its scores" in why_not_flash(found, softcap=True, sinks=False, window=True, device="cpu")


def test_mixed_kernels_are_told_with_shares_and_directions_apart() -> None:
    half = read_profile(
        {
            "aten::_scaled_dot_product_flash_attention_for_cpu": 3,
            "aten::_scaled_dot_product_flash_attention_for_cpu_backward": 3,
            "aten::_scaled_dot_product_attention_math": 1,
            "SafeSoftmaxBackward0": 1,
        }
    )
    assert half.words == "flash attention (CPU) 75 %, plain attention (math) 25 %"
    assert half.fused_share == 0.75
    assert why_not_flash(half, softcap=False, sinks=False, window=True, device="cuda").startswith("Layers with")
    apart = Proof({FLASH: 2}, {PLAIN: 2})
    assert apart.words == f"{FLASH} forward, {PLAIN} backward"


def test_what_has_no_name_is_not_guessed_at() -> None:
    found = read_profile({"aten::softmax": 4, "SoftmaxBackward0": 4, "aten::bmm": 8})
    assert (found.words, found.fused_share) == (UNKNOWN, 0.0)
    assert "way of its own" in why_not_flash(found, softcap=False, sinks=False, window=False, device="cpu")
