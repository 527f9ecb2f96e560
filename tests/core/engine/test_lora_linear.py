"""The fused LoRA layer: PEFT's values and gradients in every family, and PEFT's own pass wherever it is not known."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine.attention import documents  # noqa: E402
from core.engine.kernels import lora_linear  # noqa: E402
from core.engine.kernels.lora_linear import agrees, fuse_adapters  # noqa: E402
from core.engine.loss import make_loss_head  # noqa: E402
from core.engine.passes import make_pass  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import CPU, gradients, rows  # noqa: E402

pytestmark = pytest.mark.torch


def adapted(name: str, **settings: Any) -> Any:
    """A family's model with adapters on all its linear layers but the head, both matrices filled."""
    from peft import LoraConfig, get_peft_model

    model = families.build(name)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules="all-linear", **settings)
    wrapped = get_peft_model(model, config)
    torch.manual_seed(5)
    with torch.no_grad():
        for key, parameter in wrapped.named_parameters():
            if "lora_B" in key:
                parameter.normal_(0.0, 0.1)
    return wrapped.train()


def learned(model: Any) -> tuple[float, Any]:
    head = make_loss_head(model.get_base_model())
    return gradients(model, head, [make_pass(rows(11, 5, 14), CPU)])


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
@pytest.mark.parametrize("name", families.NAMES)
def test_every_family_learns_what_it_learned_before(name: str) -> None:
    model = adapted(name)
    layers = sum(type(module).__name__ == "Linear" and hasattr(module, "lora_A") for module in model.modules())
    loss, truth = learned(model)
    fused = fuse_adapters(model)
    assert fused == (0 if name == "gpt2" else layers)  # GPT-2's layers are convolutions by name
    found_loss, found = learned(model)
    assert found_loss == pytest.approx(loss, rel=1e-5)
    assert (found - truth).norm() / truth.norm() < 1e-5


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3"])
def test_in_bfloat16_it_is_as_exact_as_before(name: str) -> None:
    model = adapted(name)
    _, exact = learned(model)
    model.bfloat16()
    _, stock = learned(model)
    assert fuse_adapters(model)
    _, found = learned(model)
    usual = (stock.float() - exact).norm()
    assert (found.float() - exact).norm() < 1.2 * usual


def test_recomputed_layers_give_the_same_gradients() -> None:
    from core.engine.loading import checkpoint_layers

    model = adapted("llama")
    fuse_adapters(model)
    _, truth = learned(model)
    assert checkpoint_layers(model, 2) == 2
    _, found = learned(model)
    assert torch.equal(found, truth)


@pytest.mark.filterwarnings("ignore:.lora_bias=True.")
@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}])
def test_what_it_does_not_know_stays_with_peft(settings: dict[str, Any]) -> None:
    assert fuse_adapters(adapted("llama", **settings)) == 0


def test_a_layer_that_does_not_agree_stays_with_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = lora_linear._LoraLinear.backward

    def broken(ctx: Any, *grads: Any) -> Any:
        given: Any = wrong(ctx, *grads)
        return (given[0], None, given[2] * 1.01, given[3], None)

    layer = torch.nn.Linear(8, 12).requires_grad_(False)
    assert agrees(layer, 4)
    assert agrees(torch.nn.Linear(8, 12, bias=False).requires_grad_(False).bfloat16(), 4)
    monkeypatch.setattr(lora_linear._LoraLinear, "backward", staticmethod(broken))
    assert not agrees(layer, 4)
    assert fuse_adapters(adapted("llama")) == 0


def test_switched_off_and_merged_adapters_are_obeyed() -> None:
    model = adapted("llama").eval()
    one = make_pass(rows(9, 4), CPU)

    def logits() -> Any:
        with torch.no_grad(), documents(one.documents):
            return model(input_ids=one.tokens, position_ids=one.positions, use_cache=False).logits

    before = logits()
    with model.disable_adapter():
        base = logits()
    fuse_adapters(model)
    torch.testing.assert_close(logits(), before)
    with model.disable_adapter():
        torch.testing.assert_close(logits(), base)
    model.merge_adapter()
    torch.testing.assert_close(logits(), before, rtol=1e-4, atol=1e-4)
