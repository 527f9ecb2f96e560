"""What each optimizer does to a parameter, against its paper, and which rate it does it with."""

import pytest

torch = pytest.importorskip("torch")

from core.engine import adapters  # noqa: E402
from core.engine.masters import Masters  # noqa: E402
from core.engine.optimizer import load_optimizer, make_optimizer, optimizer_tensors, set_learning_rate  # noqa: E402
from core.plan.parameters import resolve_targets  # noqa: E402
from core.spec.sections import AdapterSpec  # noqa: E402
from tests.simulator.facts import facts_of_model  # noqa: E402

pytestmark = pytest.mark.torch

RATE, DECAY = 0.01, 0.1
KINDS = ["adamw", "adamw_8bit", "adafactor", "lion", "lion_8bit", "muon"]


def tiny(**changes: object):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, **changes))


def moved(kind: str, steps: int = 1, factor: float = 1.0, shape: tuple[int, ...] = (64, 48)):
    """A parameter before and after some steps, and its gradients."""
    torch.manual_seed(1)
    parameter = torch.nn.Parameter(torch.randn(shape))
    before = parameter.detach().clone()
    rule = make_optimizer(
        kind, [parameter], learning_rate=1.0, weight_decay=DECAY, factors=[factor], hidden=[len(shape) == 2]
    )
    gradients = [torch.randn(shape) for _ in range(steps)]
    for gradient in gradients:
        set_learning_rate(rule, RATE)
        parameter.grad = gradient.clone()
        rule.step()
    return before, parameter.detach(), gradients


def test_lion_is_the_papers() -> None:
    """Algorithm 2 of arXiv 2302.06675."""
    before, after, gradients = moved("lion", steps=5)
    momentum = torch.zeros_like(before)
    for gradient in gradients:
        direction = torch.sign(0.9 * momentum + 0.1 * gradient)
        before = before - RATE * (direction + DECAY * before)
        momentum = 0.99 * momentum + 0.01 * gradient
    assert torch.allclose(after, before, atol=1e-6)


def test_adafactor_is_the_papers() -> None:
    """Algorithms 4 and 5 of arXiv 1804.04235 with an absolute step, as for any other optimizer."""
    before, after, gradients = moved("adafactor", steps=5)
    rows, columns = torch.zeros(before.shape[0]), torch.zeros(before.shape[1])
    for step, gradient in enumerate(gradients, 1):
        decay = 1 - step**-0.8
        squares = gradient**2 + 1e-30
        rows = decay * rows + (1 - decay) * squares.mean(1)
        columns = decay * columns + (1 - decay) * squares.mean(0)
        update = gradient / torch.sqrt(torch.outer(rows, columns) / rows.mean())
        update /= max(1.0, float(update.square().mean().sqrt()))
        before = before - RATE * (update + DECAY * before)
    assert torch.allclose(after, before, atol=1e-6)


def test_muon_steps_along_orthogonal_matrices_as_far_as_adamw() -> None:
    before, after, _ = moved("muon", shape=(96, 32))
    step = (before * (1 - RATE * DECAY) - after) / RATE
    lengths = torch.linalg.svdvals(step) / (0.2 * 96**0.5)
    assert 0.6 < float(lengths.min()) <= float(lengths.max()) < 1.3  # five iterations bring them near 1
    assert float(step.square().mean().sqrt()) == pytest.approx(0.2, rel=0.3)


def test_muon_leaves_vectors_to_adamw() -> None:
    _, by_muon, _ = moved("muon", steps=3, shape=(64,))
    _, by_adamw, _ = moved("adamw", steps=3, shape=(64,))
    assert torch.equal(by_muon, by_adamw)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rate_that_is_set_keeps_its_factor(kind: str) -> None:
    """LoRA+ (arXiv 2402.12354): B learns with a rate of its own, whatever the schedule says."""
    before, plain, _ = moved(kind)
    _, faster, _ = moved(kind, factor=4.0)
    decayed = before * RATE * DECAY
    assert torch.allclose(before - decayed * 4 - faster, 4 * (before - decayed - plain), atol=1e-5)


def test_matrices_of_hidden_layers_are_told_from_the_rest() -> None:
    model = tiny()
    full = adapters.attach(model, AdapterSpec(method="full"), ())
    names = [name for name, _ in full.named_parameters()]
    hidden = dict(zip(names, adapters.hidden_matrices(full, names), strict=True))
    assert not any(hidden[name] for name in names if "norm" in name or "embed" in name or "lm_head" in name)
    assert all(hidden[name] for name in names if "_proj" in name)


def test_matrices_of_adapters_are_hidden_and_modules_trained_in_full_are_not() -> None:
    model = tiny()
    spec = AdapterSpec(method="dora", rank=4, targets=("all-linear", "lm_head"), modules_to_save=("embed_tokens",))
    wrapped = adapters.attach(model, spec, resolve_targets(spec, facts_of_model(model)))
    masters = Masters(wrapped, torch.float32)
    hidden = dict(zip(masters.names, adapters.hidden_matrices(wrapped, masters.names), strict=True))
    assert {name for name, wanted in hidden.items() if wanted} == {
        name for name in masters.names if ".lora_A." in name or ".lora_B." in name
    }
    assert any("embed_tokens" in name for name in hidden)
    assert any("magnitude" in name for name in hidden)


def test_a_paged_state_is_paged_again_when_it_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that the driver may move to RAM exists on GPUs only; here, rooms that one can tell stand for it."""
    parameter = torch.nn.Parameter(torch.randn(64, 48))
    rule = make_optimizer("adamw_8bit", [parameter], learning_rate=RATE, weight_decay=0.0)
    parameter.grad = torch.randn(64, 48)
    rule.step()
    tensors, numbers = optimizer_tensors(rule)
    rooms = []

    def room(asked: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        rooms.append(torch.zeros(asked.shape, dtype=dtype))
        return rooms[-1]

    monkeypatch.setattr(rule, "is_paged", True)
    monkeypatch.setattr(rule, "get_state_buffer", room)
    load_optimizer(rule, tensors, numbers)
    state = rule.state[parameter]
    assert state["state1"] is rooms[0]
    assert state["state2"] is rooms[1]
    for key in ("state1", "state2"):
        assert torch.equal(state[key], tensors[f"0.{key}"])
