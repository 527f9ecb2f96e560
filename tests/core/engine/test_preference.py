"""DPO and ORPO equal their definitions, written with all logits of each answer alone and plain autograd."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.data.types import Encoded, Pair  # noqa: E402
from core.engine import loss, step  # noqa: E402
from core.engine.attention import documents  # noqa: E402
from core.engine.evaluation import evaluate  # noqa: E402
from core.engine.loss import LogitShape, LossHead, make_loss_head  # noqa: E402
from core.engine.objective import BY_TOKENS, Objective  # noqa: E402
from core.engine.passes import make_pass, make_passes  # noqa: E402
from core.engine.preference import DpoObjective, OrpoObjective, objective_of  # noqa: E402
from core.engine.row_losses import document_losses, row_losses  # noqa: E402
from core.engine.spread import company  # noqa: E402
from core.spec.run_spec import RunSpec  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import rows  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
functional = torch.nn.functional
OBJECTIVES: dict[str, Objective] = {
    "dpo": DpoObjective(0.1),
    "dpo, sharp": DpoObjective(3.0),
    "dpo with its own loss": DpoObjective(0.5, chosen_weight=0.7),
    "orpo": OrpoObjective(0.1),
    "orpo, strong": OrpoObjective(2.0),
}


def pairs(*lengths: tuple[int, int], seed: int = 5, measured: bool = True) -> list[Pair]:
    """Two answers each, of so many tokens, that share a prompt of three."""
    prompts = rows(*(3 for _ in lengths), seed=seed)
    made = []
    for number, (prompt, (better, worse)) in enumerate(zip(prompts, lengths, strict=True)):
        sides = []
        for length, side in ((better, 0), (worse, 1)):
            (answer,) = rows(length, seed=100 * seed + 2 * number + side)
            marks = (False, False, False, *(index % 4 != 1 for index in range(length)))
            sides.append(Encoded((*prompt.tokens, *answer.tokens), marks, f"pairs:{number + 1}"))
        reference = (-2.5 * better - number, -2.0 * worse + number) if measured else None
        made.append(Pair(sides[0], sides[1], reference))
    return made


def answer_logs(model: Any, text: Encoded) -> torch.Tensor:
    """The log-probability of each token that carries loss, from all logits of the answer alone."""
    ids = torch.tensor(text.tokens)[None]
    logs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0, :-1].double(), dim=-1)
    keep = torch.tensor(text.trained[1:])
    return logs.gather(1, ids[0, 1:, None])[:, 0][keep]


def defined(objective: Any, model: Any, some: list[Pair]) -> tuple[torch.Tensor, list[float]]:
    """The mean loss over pairs by the papers' formulas, and the margin of each pair."""
    losses, margins = [], []
    for pair in some:
        chosen, rejected = answer_logs(model, pair.chosen), answer_logs(model, pair.rejected)
        if isinstance(objective, DpoObjective):
            before = pair.reference
            assert before is not None
            margin = objective.beta * ((chosen.sum() - before[0]) - (rejected.sum() - before[1]))
            losses.append(-torch.log(torch.sigmoid(margin)) - objective.chosen_weight * chosen.mean())
        else:
            better, worse = torch.exp(chosen.mean()), torch.exp(rejected.mean())
            margin = torch.log((better / (1 - better)) / (worse / (1 - worse)))
            losses.append(-chosen.mean() - objective.beta * torch.log(torch.sigmoid(margin)))
        margins.append(float(margin.detach()))
    return torch.stack(losses).mean(), margins


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def learned(
    model: Any, head: Any, objective: Any, some: list[Pair], budget: int, packing: bool
) -> tuple[list[float], torch.Tensor]:
    """The numbers of a step over some pairs, and its gradients."""
    model.zero_grad()
    total = torch.zeros(objective.numbers)
    for one in make_passes(some, budget, packing, CPU):
        with documents(one.documents):
            sums = objective.of_pass(head, one) / objective.weight(some)
            sums[0].backward()
        total += sums.detach()
    return total.tolist(), gradients(model)


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("family", ["llama", "llama_tied", "gemma2", "granite", "gpt2"])
def test_losses_and_gradients_equal_the_definition(kind: str, family: str) -> None:
    objective, some = OBJECTIVES[kind], pairs((7, 4), (3, 9), (5, 5))
    model = families.build(family).train()
    found, slopes = learned(model, make_loss_head(model), objective, some, 1000, packing=True)
    plain = families.build(family, kernel="eager").train()
    plain.set_attn_implementation("eager")  # transformers' own attention and masks, not ours
    truth, margins = defined(objective, plain, some)
    plain.zero_grad()
    truth.backward()
    assert found[0] == pytest.approx(float(truth.detach()), rel=1e-5)
    assert found[1] == pytest.approx(sum(margin > 0 for margin in margins) / len(some))
    assert found[2] == pytest.approx(sum(margins) / len(some), rel=1e-4, abs=1e-5)
    assert (slopes - gradients(plain)).norm() / gradients(plain).norm() < 3e-5


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("budget", [8, 30, 1000])
def test_the_size_of_a_pass_changes_nothing(kind: str, packing: bool, budget: int) -> None:
    objective, some = OBJECTIVES[kind], pairs((7, 4), (3, 9), (5, 5), (2, 3))
    model = families.build("llama").train()
    head = make_loss_head(model)
    found, slopes = learned(model, head, objective, some, budget, packing)
    whole, truth = learned(model, head, objective, some, 1000, packing=True)
    assert found == pytest.approx(whole, rel=1e-5, abs=1e-6)
    assert (slopes - truth).norm() / truth.norm() < 1e-5


def test_a_pair_is_never_split_and_the_chosen_answer_comes_first() -> None:
    some = pairs((7, 4), (3, 9), (5, 5))
    for budget in (4, 25, 1000):
        for one in make_passes(some, budget, packing=True, device=CPU):
            answers = one.answers
            assert answers is not None
            assert answers.reference is not None
            assert len(answers.lengths) == len(one.documents.bounds) - 1 == 2 * len(answers.reference)
    one = make_pass(some[:2], CPU)
    assert one.answers is not None
    assert one.documents.bounds == (0, 10, 17, 23, 35)
    assert one.answers.lengths.tolist() == [pair.supervised for pair in (some[0].chosen, some[0].rejected,
                                                                         some[1].chosen, some[1].rejected)]  # fmt: skip
    bounds = torch.tensor(one.documents.bounds)
    assert one.answers.owners.tolist() == (torch.searchsorted(bounds, one.keep, right=True) - 1).tolist()
    assert one.answers.reference is not None
    assert one.answers.reference.tolist() == [list(pair.reference or ()) for pair in some[:2]]
    assert make_pass(rows(5, 6), CPU).answers is None
    halfway = [some[0], Pair(some[1].chosen, some[1].rejected)]
    assert make_pass(halfway, CPU).answers.reference is None  # type: ignore[union-attr]


def test_before_the_first_step_dpo_is_the_logarithm_of_two() -> None:
    some = pairs((7, 4), (3, 9), (5, 5), measured=False)
    model = families.build("llama").eval()
    head = make_loss_head(model)
    sums = document_losses(head, some, budget=40, packing=True, device=CPU, on_pass=lambda *_: True)
    assert sums is not None
    known = [Pair(pair.chosen, pair.rejected, (-one[0], -one[1])) for pair, one in zip(some, sums, strict=True)]
    found, _ = learned(model, head, DpoObjective(0.1), known, 25, packing=True)
    assert found[0] == pytest.approx(math.log(2), abs=1e-6)
    assert found[2] == pytest.approx(0.0, abs=1e-5)
    assert row_losses(head, some, budget=40, packing=False, device=CPU, on_pass=lambda *_: True) == pytest.approx(
        [sum(one) for one in sums], rel=1e-6
    )


def test_without_a_reference_dpo_refuses() -> None:
    model = families.build("llama")
    one = make_pass(pairs((3, 3), measured=False), CPU)
    with pytest.raises(ValueError, match="before the training"), documents(one.documents):
        DpoObjective(0.1).of_pass(make_loss_head(model), one)


def test_answers_of_a_single_sure_token_have_finite_odds() -> None:
    """The softmax of the only token that can come is 1 in float32, whose odds are infinite."""

    class SureHead:
        def token_losses(self, one: Any) -> torch.Tensor:
            return self.losses

    some = pairs((3, 3))
    one = make_pass(some, CPU)
    head: Any = SureHead()
    head.losses = torch.zeros(one.num_supervised, requires_grad=True)
    sums = OrpoObjective(0.1).of_pass(head, one)
    sums[0].backward()
    assert torch.isfinite(sums).all()
    assert torch.isfinite(head.losses.grad).all()
    assert sums[1] == 0.5  # a tie


@pytest.mark.parametrize("shape", [LogitShape(), LogitShape(0.25), LogitShape(softcap=2.0), LogitShape(0.5, 3.0)])
@pytest.mark.parametrize("trained", ["nothing", "weight", "bias", "both"])
@pytest.mark.parametrize("by_rows", [True, False])
def test_each_tokens_loss_may_count_differently(
    shape: LogitShape, trained: str, by_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_BYTES", 1)  # the smallest chunk, so that there are several
    if by_rows:
        monkeypatch.setattr(loss, "CACHED_BYTES", 7 * 40 * 4)
    else:  # as on a GPU
        monkeypatch.setattr(loss, "_prefers_rows", lambda _: False)
    torch.manual_seed(0)
    hidden = torch.randn(150, 16, requires_grad=True)
    weight = torch.randn(40, 16, requires_grad=trained in ("weight", "both"))
    bias = torch.randn(40, requires_grad=trained in ("bias", "both"))
    targets, counts = torch.randint(0, 40, (150,)), torch.randn(150)
    ours = loss._TokenCrossEntropies.apply(hidden, weight, bias, targets, shape)
    wanted = [tensor for tensor in (hidden, weight, bias) if tensor.requires_grad]
    grads = torch.autograd.grad((ours * counts).sum(), wanted)
    logits = functional.linear(hidden, weight, bias) * shape.scale
    if shape.softcap:
        logits = torch.tanh(logits / shape.softcap) * shape.softcap
    truth = functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(grads, torch.autograd.grad((truth * counts).sum(), wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    parts = (hidden.detach(), weight.detach(), bias.detach(), targets, shape)
    torch.testing.assert_close(loss._losses(*parts), truth.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["chunked", "stock"])
def test_a_sum_of_token_losses_is_the_summed_loss(kind: Any) -> None:
    model = families.build("llama").train()
    head = LossHead(
        kind, *(getattr(make_loss_head(model), name) for name in ("model", "backbone", "projection", "shape"))
    )
    one = make_pass(rows(11, 5, 14), CPU)
    found = []
    for measure in (lambda: head.summed(one), lambda: head.token_losses(one).sum()):
        model.zero_grad()
        with documents(one.documents):
            summed = measure()
            summed.backward()
        with torch.no_grad(), documents(one.documents):
            assert float(measure()) == pytest.approx(float(summed.detach()), rel=1e-6)
        found.append((float(summed.detach()), gradients(model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert (found[0][1] - found[1][1]).norm() / found[0][1].norm() < 1e-6


def test_a_stock_head_learns_the_same() -> None:
    some = pairs((7, 4), (3, 9))
    model = families.build("llama").train()
    head = make_loss_head(model)
    found, slopes = learned(model, head, DpoObjective(0.5), some, 1000, packing=True)
    stock = LossHead("stock", head.model, head.backbone, head.projection, head.shape)
    again, others = learned(model, stock, DpoObjective(0.5), some, 1000, packing=True)
    assert found == pytest.approx(again, rel=1e-5)
    assert (slopes - others).norm() / others.norm() < 1e-5


def test_gradients_are_those_of_small_differences() -> None:
    """In float64, whatever the formulas say."""
    torch.manual_seed(2)
    hidden = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    weight, targets = torch.randn(12, 4, dtype=torch.float64), torch.randint(0, 12, (9,))
    one: Any = SimpleNamespace(
        answers=SimpleNamespace(
            owners=torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3]),
            lengths=torch.tensor([3, 2, 1, 3]),
            reference=torch.tensor([[-7.0, -5.0], [-2.0, -8.0]], dtype=torch.float64),
        )
    )
    for objective in (DpoObjective(0.4, 0.3), OrpoObjective(0.8)):

        def summed(states: torch.Tensor, objective: Any = objective) -> torch.Tensor:
            head: Any = SimpleNamespace(
                token_losses=lambda _: functional.cross_entropy(states @ weight.T, targets, reduction="none")
            )
            whole: torch.Tensor = _in_float64(objective, head, one)
            return whole

        assert torch.autograd.gradcheck(summed, (hidden,))


def _in_float64(objective: Any, head: Any, one: Any) -> torch.Tensor:
    """The loss before it is rounded to float32."""
    taken: list[torch.Tensor] = []
    from core.engine import preference

    told = preference._told
    preference._told = lambda losses, margins: taken.append(losses.sum()) or told(losses, margins)  # type: ignore
    try:
        objective.of_pass(head, one)
    finally:
        preference._told = told
    return taken[0]


def test_evaluations_say_what_steps_say() -> None:
    some = pairs((7, 4), (3, 9), (5, 5))
    model = families.build("llama").eval()
    head = make_loss_head(model)
    objective = DpoObjective(0.5)
    learner: Any = SimpleNamespace(
        device=CPU,
        head=head,
        masters=SimpleNamespace(masters=list(model.parameters()), scale_gradients=lambda _: None),
        scale=SimpleNamespace(factor=1.0, enabled=False),
        group=None,
    )
    outcome = step.accumulate(learner, some, make_passes(some, 30, True, CPU), 0.0, objective=objective)
    measured = evaluate(head, some, budget=17, packing=True, device=CPU, objective=objective)
    assert measured is not None
    assert (measured.loss, *measured.told) == pytest.approx((outcome.loss, *outcome.told), rel=1e-5)
    assert measured.tokens == outcome.supervised == sum(pair.supervised for pair in some)
    by_tokens = evaluate(head, rows(5, 9), budget=40, packing=True, device=CPU)
    assert by_tokens is not None
    assert by_tokens.told == ()


def test_whoever_keeps_company_needs_no_answers() -> None:
    group: Any = SimpleNamespace(most=lambda _: 2)
    (one,) = company(group, 1, pairs((4, 4)), CPU)
    assert (one.num_tokens, one.num_supervised, one.answers) == (2, 1, None)


def test_what_a_run_learns_by_follows_from_its_settings() -> None:
    spec = RunSpec()
    assert objective_of(spec) is BY_TOKENS
    spec = spec.replace("data.train_on", "preferences").replace("training.preference_beta", 0.3)
    assert objective_of(spec.replace("training.chosen_weight", 0.5)) == DpoObjective(0.3, 0.5)
    assert objective_of(spec.replace("training.preference_loss", "orpo")) == OrpoObjective(0.3)
