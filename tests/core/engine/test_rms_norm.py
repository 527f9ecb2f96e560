"""The fused norm: the model's own values and gradients in every family that has one, and its own pass elsewhere."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine.kernels.rms_norm import fuse_norms  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_lora_linear import adapted, learned  # noqa: E402

pytestmark = pytest.mark.torch


def norms_of(model: Any) -> list[Any]:
    return [module for module in model.modules() if "RMSNorm" in type(module).__name__]


def with_weights(model: Any) -> Any:
    """Norms that do something: as they are made they multiply by one, or by one plus nothing."""
    drawn = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for norm in norms_of(model):
            norm.weight.add_(0.3 * torch.randn(norm.weight.shape, generator=drawn))
    return model


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
@pytest.mark.parametrize("name", families.NAMES)
def test_every_family_learns_what_it_learned_before(name: str) -> None:
    model = with_weights(adapted(name))
    loss, truth = learned(model)
    assert fuse_norms(model) == len(norms_of(model))
    found_loss, found = learned(model)
    assert found_loss == pytest.approx(loss, rel=1e-5)
    assert (found - truth).norm() / truth.norm() < 1e-5


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
def test_in_bfloat16_it_is_as_exact_as_before(name: str) -> None:
    model = with_weights(adapted(name)).bfloat16()
    exact = with_weights(adapted(name))
    exact.load_state_dict(model.state_dict())  # the same rounded weights, computed with exactly
    _, truth = learned(exact)
    _, stock = learned(model)
    assert fuse_norms(model)
    _, found = learned(model)
    error, usual = (found.float() - truth).norm(), (stock.float() - truth).norm()
    assert error < 1.2 * usual, f"{error / truth.norm():.1e} against {usual / truth.norm():.1e}"


def test_what_it_keeps_is_the_input_and_a_number_a_row() -> None:
    norm = norms_of(adapted("llama").bfloat16())[0]
    given = torch.randn(1, 50, norm.weight.shape[0]).bfloat16().requires_grad_()

    def kept() -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Any) -> Any:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            norm(given)
        return sum(sizes.values())

    before = kept()
    assert fuse_norms(norm) == 1
    assert kept() == given.nbytes + 4 * 50 + norm.weight.nbytes < before


def test_norms_that_learn_and_what_only_looks_like_one_keep_their_own_pass() -> None:
    model = adapted("llama")
    learning, other, *_ = norms_of(model)
    learning.weight.requires_grad_()

    class DoubledRMSNorm(type(other)):  # type: ignore[misc]
        def forward(self, hidden: Any) -> Any:
            return 2 * super().forward(hidden)

    other.__class__ = DoubledRMSNorm
    assert fuse_norms(model) == len(norms_of(model)) - 2
    assert "forward" not in learning.__dict__
    assert "forward" not in other.__dict__


def test_a_weight_that_meets_rows_in_32_bits_does_so_in_the_fused_pass() -> None:
    """Olmo's norm and Llama's differ in where they round; each keeps its own way."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

    rows = torch.randn(1, 64, 32).bfloat16()
    for kind in (LlamaRMSNorm, Olmo2RMSNorm):
        norm = with_weights(torch.nn.Sequential(kind(32)))[0].bfloat16().requires_grad_(requires_grad=False)
        plain = norm(rows)
        assert fuse_norms(norm) == 1
        assert (norm(rows) != plain).float().mean() < 0.01, kind.__name__


def test_nothing_changes_where_nothing_is_learned() -> None:
    norm = norms_of(adapted("llama"))[0]
    rows = torch.randn(3, norm.weight.shape[0])
    plain = norm(rows)
    assert fuse_norms(norm) == 1
    with torch.no_grad():
        torch.testing.assert_close(norm(rows), plain)
