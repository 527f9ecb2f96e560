"""Traps that trainers have fallen into, each as a small proof. `docs/engine-traps.md` lists all, with their tests."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from core.data.order import step_rows, steps_per_epoch  # noqa: E402
from core.data.packing import pack  # noqa: E402
from core.engine import adapters, attention, step  # noqa: E402
from core.engine.attention import Documents, documents  # noqa: E402
from core.engine.evaluation import evaluate  # noqa: E402
from core.engine.loading import checkpoint_layers  # noqa: E402
from core.engine.loss import make_loss_head  # noqa: E402
from core.engine.masters import Masters  # noqa: E402
from core.engine.optimizer import make_optimizer  # noqa: E402
from core.engine.passes import make_pass, make_passes  # noqa: E402
from core.engine.scaling import LossScale  # noqa: E402
from core.plan.parameters import resolve_targets  # noqa: E402
from core.spec.sections import AdapterSpec  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import reference, rows  # noqa: E402
from tests.simulator.facts import facts_of_model  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


def wrapped(name: str = "llama", **settings: object):
    """A tiny model with adapters that already do something, and the spec they are of."""
    base = families.build(name)
    spec = AdapterSpec(**{"rank": 4, **settings})
    model = adapters.attach(base, spec, resolve_targets(spec, facts_of_model(base)))
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if ".lora_B." in parameter_name:
                parameter.normal_(0.0, 0.1)
    return base, model


def learner(kind: str = "adamw", dtype: object = torch.float32, **settings: object):
    """What a step touches, with adapters on a tiny model."""
    base, model = wrapped(**settings)
    masters = Masters(model.train(), dtype)
    hidden = adapters.hidden_matrices(model, masters.names)
    rule = make_optimizer(kind, masters.masters, learning_rate=1e-2, weight_decay=0.0, hidden=hidden)
    head = make_loss_head(base)
    return SimpleNamespace(
        device=CPU, head=head, masters=masters, optimizer=rule, scale=LossScale(enabled=False), group=None, model=model
    )


def gathered(one, some, budget: int) -> tuple[float, torch.Tensor]:
    """Loss and gradients of a step in passes of so many tokens."""
    outcome = step.accumulate(one, some, make_passes(some, budget, True, CPU), 0.0)
    flat = torch.cat([master.grad.flatten() for master in one.masters.masters])
    one.masters.clear_gradients()
    return outcome.loss, flat


def test_the_last_step_of_an_epoch_is_divided_by_its_own_tokens() -> None:
    """And by tokens, not by rows or passes: the mean of means is far off."""
    some, one = rows(30, 4, 6, 9, 3), learner()
    sizes = [len(step_rows(5, 2, 0, index)) for index in range(steps_per_epoch(5, 2))]
    assert sizes == [2, 2, 1]
    for chosen in (some, some[:1], some[1:3]):
        total, _ = reference(one.head.model, chosen)
        for budget in (4, 20, 1000):
            loss, _ = gathered(one, chosen, budget)
            assert loss == pytest.approx(total / sum(row.supervised for row in chosen), rel=1e-5)
    means = [reference(one.head.model, [row])[0] / row.supervised for row in some]
    truth, _ = gathered(one, some, 1000)
    assert abs(sum(means) / len(means) - truth) > 1e-3 * truth, "the rows show no difference"


def test_the_validation_loss_weighs_tokens_whatever_the_passes() -> None:
    some, one = rows(30, 4, 6, 9, 3), learner()
    total, _ = reference(one.head.model, some)
    for budget, packing in ((8, True), (1000, True), (8, False)):
        measured = evaluate(one.head, some, budget=budget, packing=packing, device=CPU)
        assert measured is not None
        assert measured.loss == pytest.approx(total / sum(row.supervised for row in some), rel=1e-5)
        assert one.head.model.training


def test_gradients_are_clipped_after_they_are_divided() -> None:
    some, one = rows(30, 4, 6), learner()
    _, plain = gathered(one, some, 16)
    norm = float(plain.norm())
    outcome = step.accumulate(one, some, make_passes(some, 16, True, CPU), norm / 4)
    assert outcome.grad_norm == pytest.approx(norm, rel=1e-4)
    clipped = torch.cat([master.grad.flatten() for master in one.masters.masters])
    assert float(clipped.norm()) == pytest.approx(norm / 4, rel=1e-3)


@pytest.mark.parametrize(("tokens", "fits"), [(2**31 // (32 * 128) - 128 * 3 - 1, True), (2**31 // (32 * 128), False)])
def test_passes_too_long_for_the_kernels_32_bit_offsets_are_kept_from_it(
    tokens: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(tokens + 128 · documents) · heads · width must stay below 2³¹ in flash attention's backward pass."""
    monkeypatch.setattr(attention, "_flash_knows", lambda _: True)
    query = SimpleNamespace(is_cuda=True, shape=(1, 32, tokens, 100))  # 100 counts as 128
    held = Documents((0, 5, 9, tokens), torch.zeros(4))
    assert attention._varlen_fits(query, held) is fits


@pytest.mark.parametrize(("width", "fits"), [(256, True), (512, False)])
def test_heads_that_are_too_wide_for_the_kernel_in_some_layers_are_kept_from_it(
    width: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_flash_knows", lambda _: True)
    query = SimpleNamespace(is_cuda=True, shape=(1, 8, 64, width))
    assert attention._varlen_fits(query, Documents((0, 64), torch.zeros(2))) is fits


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
def test_adapters_multiply_in_sixteen_bits_and_learn_in_thirty_two(name: str) -> None:
    base, model = wrapped(name)
    model.to(torch.bfloat16)
    masters = Masters(model.train(), torch.bfloat16)
    seen: set[object] = set()
    for module_name, module in model.named_modules():
        if module_name.endswith(("lora_A.default", "lora_B.default")):
            module.register_forward_hook(lambda _, given, made: seen.update((given[0].dtype, made.dtype)))
    one = make_pass(rows(9, 5), CPU)
    with documents(one.documents):
        make_loss_head(base).summed(one).backward()
    assert seen == {torch.bfloat16}
    assert {master.grad.dtype for master in masters.masters} == {torch.float32}
    assert {master.dtype for master in masters.masters} == {torch.float32}


@pytest.mark.parametrize("name", ["llama", "llama_tied"])
@pytest.mark.parametrize(
    "settings",
    [
        {"targets": ("q_proj", "lm_head")},
        {"targets": ("q_proj",), "modules_to_save": ("lm_head",)},
        {"targets": ("q_proj",), "modules_to_save": ("embed_tokens",)},
        {"method": "full"},
        {"method": "dora"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")
def test_heads_and_embeddings_that_learn_get_the_models_own_gradients(name: str, settings: dict) -> None:
    base, model = wrapped(name, **settings)
    some = rows(11, 5, 8)
    _, truth = reference(model.train(), some)
    model.zero_grad()
    one = make_pass(some, CPU)
    with documents(one.documents):
        make_loss_head(base).summed(one).backward()
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in learns)
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    assert (found - truth).norm() / truth.norm() < 2e-5


def test_dropout_under_recomputation_is_the_same_dropout() -> None:
    def gradient(layers: int) -> torch.Tensor:
        base, model = wrapped(dropout=0.3)
        model.train()
        checkpoint_layers(base, layers)
        one = make_pass(rows(11, 5), CPU)
        torch.manual_seed(11)
        with documents(one.documents):
            make_loss_head(base).summed(one).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    assert torch.equal(gradient(2), gradient(0))


def test_norms_and_the_base_stay_as_they_are() -> None:
    one = learner()
    before = {name: p.detach().clone() for name, p in one.model.named_parameters() if not p.requires_grad}
    some = rows(12, 7)
    for _ in range(3):
        step.apply(one, step.accumulate(one, some, make_passes(some, 64, True, CPU), 1.0))
    assert any("norm" in name for name in before)
    for name, parameter in one.model.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
            assert parameter.grad is None


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "lion", "muon"])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_neither_weights_nor_states(kind: str, poison: float) -> None:
    one, some = learner(kind), rows(12, 7)

    def taken(poisoned: bool) -> bool:
        outcome = step.accumulate(one, some, make_passes(some, 64, True, CPU), 1.0)
        if poisoned:
            outcome = step.Outcome(poison, outcome.grad_norm, outcome.tokens, outcome.supervised, outcome.passes)
        step.apply(one, outcome)
        return outcome.finite

    assert taken(poisoned=False)
    masters = [master.detach().clone() for master in one.masters.masters]
    states = [
        {key: value.clone() if torch.is_tensor(value) else value for key, value in one.optimizer.state[master].items()}
        for master in one.masters.masters
    ]
    assert not taken(poisoned=True)
    for master, kept, held in zip(one.masters.masters, masters, states, strict=True):
        assert torch.equal(master, kept)
        assert master.grad is None
        for key, value in held.items():
            assert torch.equal(torch.as_tensor(one.optimizer.state[master][key]), torch.as_tensor(value)), key
    assert taken(poisoned=False)
    assert not torch.equal(one.masters.masters[0], masters[0]) or not torch.equal(one.masters.masters[1], masters[1])


def test_nothing_sorts_the_rows_of_an_epoch_by_their_length() -> None:
    """Rows are packed within a step, whose rows the seed chooses; lengths have no say in which step a row comes."""
    order = [row for index in range(steps_per_epoch(400, 16)) for row in step_rows(400, 16, 7, index)]
    assert sorted(order) == list(range(400))
    lengths = [10 + index for index in range(400)]  # long rows stand at the end of the file
    means = [sum(lengths[row] for row in order[start : start + 16]) / 16 for start in range(0, 400, 16)]
    assert max(means) - min(means) < 200
    assert sorted(index for group in pack([30, 5, 9, 14], 32) for index in group) == [0, 1, 2, 3]


@pytest.mark.parametrize("kernel", ["flash", "sdpa", "eager"])
def test_dropout_on_attention_is_not_lost_on_the_way_to_a_kernel(kernel: str) -> None:
    """Varlen attention has none, so a model that drops weights must not end there."""
    attend = attention.implementation(kernel)
    chance = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(1, 4, 40, 8, generator=chance) for _ in range(3))
    with documents(Documents.of_lengths((30, 10), CPU)):
        kept, _ = attend(torch.nn.Identity(), query, key, value, None)
        torch.manual_seed(0)
        drawn = torch.stack([attend(torch.nn.Identity(), query, key, value, None, dropout=0.4)[0] for _ in range(600)])
    assert (drawn[0] - kept).norm() > 0.1 * kept.norm()
    assert (drawn.mean(0) - kept).norm() < 0.1 * kept.norm(), "what is left is scaled up by what was dropped"


def test_no_keys_are_cached_while_a_model_learns() -> None:
    one = learner()
    given: list[object] = []
    for layer in one.head.model.model.layers:
        layer.register_forward_pre_hook(
            lambda _, __, named: given.append(named.get("past_key_values")), with_kwargs=True
        )
    gathered(one, rows(9, 5), 64)
    assert given == [None] * len(one.head.model.model.layers)


def test_every_trap_that_is_listed_has_the_test_that_is_named() -> None:
    root = Path(__file__).resolve().parents[3]
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (root / "docs" / "engine-traps.md").read_text("utf-8"))
    assert len(named) > 35
    for file, name in named:
        assert f"def {name}(" in (root / file).read_text("utf-8"), (file, name)
