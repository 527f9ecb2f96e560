"""The same run on other GPUs: what it would take, choose and last there, and the smallest card that it fits."""

import dataclasses
from dataclasses import dataclass

from core.errors import Severity
from core.facts.types import DataFacts, Facts, GpuFacts, LengthFacts
from core.plan.batch import batch_of
from core.plan.cards import CARDS, Card
from core.plan.choices import Decision, decide
from core.plan.planner import plan
from core.plan.search import row_limit
from core.plan.time import duration_of
from core.plan.types import Duration, Plan, Verdict
from core.spec.run_spec import RunSpec
from core.units import MIB

# What is gone before a run begins. The driver keeps a quarter to half a gibibyte for itself, as the difference between
# what it lists as the total and what programs get (T4, RTX 3060 and 4090, A100, H100: 240 to 620 MiB). A desktop with
# a browser takes about as much again; cards in a data centre drive no screen.
DRIVER_BYTES = 512 * MIB
DESKTOP_BYTES = 512 * MIB
# Rows for a plan without data: so many, of a quarter of the longest allowed length, half of their tokens with loss.
ASSUMED_ROWS = 1000
ASSUMED_SHARE = 4


@dataclass(frozen=True, slots=True)
class CardPlan:
    """A run on one card.

    Attributes:
        free_bytes: what a run can expect to be free on it.
        quantization, checkpointed_layers, micro_batch_tokens, compute_dtype, attention: as chosen for this card.
        duration: with the energy; of assumed rows while no data is known, None while no model is.
        obstacle: why the spec cannot be had on this card, whatever its memory; empty when it can.
    """

    card: Card
    verdict: Verdict
    peak_bytes: int
    free_bytes: int
    quantization: str
    checkpointed_layers: int
    micro_batch_tokens: int
    compute_dtype: str
    attention: str
    duration: Duration | None
    obstacle: str = ""

    @property
    def fits(self) -> bool:
        """Whether the run can be started there without worry."""
        return self.verdict == "fits" and not self.obstacle


def free_on(card: Card) -> int:
    """What a run can expect to be free on a card that does nothing else than show a desktop."""
    taken = DRIVER_BYTES + (0 if card.kind == "data centre" else DESKTOP_BYTES)
    return max(0, card.memory_bytes - taken)


def on_card(facts: Facts, card: Card) -> Facts:
    """The facts of the same computer with this card as its only GPU, free but for driver and desktop.

    What could not be found out about this computer's own GPUs is of no interest then.
    """
    gpu = GpuFacts(0, card.driver, card.capability, card.memory_bytes, free_on(card))
    return dataclasses.replace(facts, hardware=dataclasses.replace(facts.hardware, gpus=(gpu,), problems=()))


def on_any_gpu(spec: RunSpec) -> RunSpec:
    """The spec with its device left open where it asks for the processor."""
    return spec.replace("hardware.device", "auto") if spec.hardware.device == "cpu" else spec


def assumed_data(spec: RunSpec) -> DataFacts:
    """Rows to plan with while no data is known; the longest fills the limit, so memory is not made small by them."""
    limit = row_limit(spec)
    mean = max(1, limit // ASSUMED_SHARE)
    rows = LengthFacts(
        rows=ASSUMED_ROWS,
        tokens=ASSUMED_ROWS * mean,
        supervised_tokens=ASSUMED_ROWS * mean // 2,
        longest=limit,
        median=mean,
        p95=limit,
        truncated_rows=0,
        lost_tokens=0,
        histogram={},
    )
    none = LengthFacts(0, 0, 0, 0, 0, 0, 0, 0, {})
    return DataFacts((), "text", "assumed", "none", rows, none)


def compare(spec: RunSpec, facts: Facts, cards: tuple[Card, ...]) -> tuple[CardPlan, ...]:
    """What a run would come to on each of the cards, in their order; without data, on assumed rows."""
    asked = on_any_gpu(spec)
    known = facts if facts.data is not None else dataclasses.replace(facts, data=assumed_data(spec))
    return tuple(_on(asked, on_card(known, card), card) for card in cards)


def with_assumed_rows(spec: RunSpec, facts: Facts, planned: Plan) -> tuple[Plan, str]:
    """A plan without data with the steps and the time that assumed rows would give, and a sentence that says so.

    The sentence is empty, and the plan as it was, where the data or the model's parameters settle the matter.
    """
    if facts.data is not None or planned.parameters is None:
        return planned, ""
    data = assumed_data(spec)
    guess = plan(spec, dataclasses.replace(facts, data=data))
    sentence = (
        f"No rows were read: steps and time are those of {data.train.rows:,} assumed rows of {data.train.median:,} "
        f"tokens on average, half of them with loss; the memory is enough for rows of {data.train.longest:,} tokens."
    )
    return dataclasses.replace(planned, batch=guess.batch, curve=guess.curve, duration=guess.duration), sentence


def smallest_card(spec: RunSpec, facts: Facts) -> Card | None:
    """The card with the least memory, and of those the least power, that the run fits without worry.

    Laptops' cards cannot be bought, and cards that today's PyTorch has no kernels for are of no use: neither counts.
    None when it fits none, and while the model or what is to be trained is not known.
    """
    asked = on_any_gpu(spec)
    for card in CARDS:
        if card.kind == "laptop" or not card.supported:
            continue
        decision = decide(asked, on_card(facts, card))
        if decision.training is None:
            return None
        if decision.memory.verdict == "fits" and not _obstacle(decision):
            return card
    return None


def _on(spec: RunSpec, facts: Facts, card: Card) -> CardPlan:
    decision = decide(spec, facts)
    choices, data = decision.choices, facts.data
    assert data is not None
    duration = None
    if facts.model is not None and decision.training is not None:
        batch = batch_of(spec.training, data.train, choices.micro_batch_tokens.value, packing=choices.packing.value)
        duration = duration_of(spec, facts, decision, batch)
    return CardPlan(
        card=card,
        verdict=decision.memory.verdict,
        peak_bytes=decision.memory.peak_bytes,
        free_bytes=decision.memory.free_bytes,
        quantization=choices.quantization.value,
        checkpointed_layers=choices.checkpointed_layers.value,
        micro_batch_tokens=choices.micro_batch_tokens.value,
        compute_dtype=choices.compute_dtype.value,
        attention=choices.attention.value,
        duration=duration,
        obstacle=_obstacle(decision),
    )


def _obstacle(decision: Decision) -> str:
    errors = (problem for problem in decision.problems if problem.severity is Severity.ERROR)
    return next((problem.message for problem in errors), "")
