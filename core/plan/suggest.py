"""Good settings for a task, a model and its data, each with its reason; and whether the model fits this machine.

The tables are what the trainers in use agree on: rank 8 to 64 by how much there is to learn, alpha twice the rank, all
linear layers, 2e-4 for adapters and 2e-5 for every weight, more for tiny models and less for huge ones, half of it for
running text, one to three epochs. Pure arithmetic, as everything in the planner.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from core.errors import Edit, Severity
from core.facts.types import Facts, LengthFacts, ModelFacts
from core.plan.ground import DTYPE_BYTES
from core.plan.planner import plan
from core.plan.types import Verdict
from core.plan.usual import FEW_ROWS
from core.spec.rules import check
from core.spec.run_spec import RunSpec, field_at, fields, is_visible
from core.spec.sections import AdapterSpec
from core.units import format_bytes, format_count

USUAL_RANK = 16
LEAST_RANK = 8
# Tokens that carry loss, up to which a rank is enough.
CHAT_RANKS = ((50_000, 8), (3_000_000, 16), (30_000_000, 32), (math.inf, 64))
TEXT_RANKS = ((200_000, 16), (5_000_000, 32), (math.inf, 64))

TINY_MODEL = 500_000_000
HUGE_MODEL = 30_000_000_000
# (tiny, usual, huge) models.
ADAPTER_RATES = (5e-4, 2e-4, 1e-4)
FULL_RATES = (5e-5, 2e-5, 1e-5)
TEXT_RATE_SHARE = 0.5

SMALL_SET = 1000
LARGE_SET = 20_000
SMALL_SET_DROPOUT = 0.05
LONG_TEXT = 5_000_000


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A good value for one setting; `before` is what the spec says now, `reason` one sentence with its numbers."""

    path: str
    value: object
    before: object
    reason: str

    @property
    def differs(self) -> bool:
        """Whether taking it would change the spec."""
        return self.value != self.before

    @property
    def edit(self) -> Edit:
        """The change that takes it."""
        return Edit(self.path, self.value)


@dataclass(frozen=True, slots=True)
class Fit:
    """A usual LoRA run with the weights held in one format, against this machine.

    Attributes:
        quantization: the value of ``model.quantization`` that gives it.
        bits: bits of a weight: 32 or 16, 8, 4.
        peak_bytes, low_bytes, high_bytes: the expected peak and its band.
        limit_bytes: what the device has; `free_bytes`: what of it is free now.
        device: "cuda:0" or "cpu".
    """

    quantization: Literal["none", "int8", "nf4"]
    bits: int
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    limit_bytes: int
    free_bytes: int
    verdict: Verdict
    device: str


def suggest(spec: RunSpec, facts: Facts) -> tuple[Suggestion, ...]:
    """Good values for the settings that matter most, in the order of the form; those that differ and those that do not.

    What is not known yet is not guessed from: without data nothing is said about dropout and epochs, and without a
    model and data nothing at all. Settings that the spec makes meaningless (an adapter's under full fine-tuning, epochs
    beside a number of steps) are left out. Quantization is named only where the weights have to be held in 4 bits.
    Never raises.
    """
    if facts.model is None and facts.data is None:
        return ()
    wanted = spec
    for path in {problem.path for problem in check(spec) if problem.severity is Severity.ERROR}:
        wanted = wanted.replace(path, field_at(path).default)
    found: list[Suggestion] = []
    for step in (_targets, _quantization, _rank, _alpha, _dropout, _epochs, _learning_rate):
        for path, value, reason in step(wanted, facts):
            if is_visible(wanted, field_at(path)):
                found.append(Suggestion(path, value, spec.get(path), reason))
                wanted = wanted.replace(path, value)
    places = {info.path: number for number, info in enumerate(fields())}
    return tuple(sorted(found, key=lambda item: places[item.path]))


def apply_suggestions(spec: RunSpec, suggestions: Iterable[Suggestion]) -> RunSpec:
    """The spec with the suggested values."""
    for suggestion in suggestions:
        spec = spec.replace(suggestion.path, suggestion.value)
    return spec


def fit(spec: RunSpec, facts: Facts) -> tuple[Fit, ...]:
    """Whether a LoRA run on this model fits, with weights in full precision, in 8 and in 4 bits.

    The run is the spec's, with rows as long as it allows; an adapter that the model cannot have counts as the usual
    one. Empty while the model is unknown, and for models that cannot be trained as they lie. Never raises.
    """
    model = facts.model
    if model is None or model.prequantized:
        return ()
    known = Facts(facts.hardware, model)
    usual = _as_lora(spec, known)
    return tuple(_fit(usual, known, value) for value in ("none", "int8", "nf4"))


def _as_lora(spec: RunSpec, facts: Facts) -> RunSpec:
    if spec.adapter.method == "full":
        spec = spec.replace("adapter.method", "lora")
    asked = plan(spec, facts)
    if asked.parameters is not None:
        return spec
    for path in ("adapter.targets", "adapter.layers", "adapter.rank_pattern", "adapter.modules_to_save"):
        spec = spec.replace(path, field_at(path).default)
    return spec


def _fit(spec: RunSpec, facts: Facts, value: Literal["none", "int8", "nf4"]) -> Fit:
    planned = plan(spec.replace("model.quantization", value), facts)
    memory = planned.memory
    assert memory is not None, "the planner always has something to say about memory"
    bits = {"int8": 8, "nf4": 4}.get(value) or 8 * DTYPE_BYTES[planned.choices.compute_dtype.value]
    return Fit(
        quantization=value,
        bits=bits,
        peak_bytes=memory.peak_bytes,
        low_bytes=memory.low_bytes,
        high_bytes=memory.high_bytes,
        limit_bytes=memory.limit_bytes,
        free_bytes=memory.free_bytes,
        verdict=memory.verdict,
        device=memory.device,
    )


Step = Iterator[tuple[str, object, str]]
"""Settings with their values and reasons."""


def _is_text(spec: RunSpec, facts: Facts) -> bool:
    shape = facts.data.shape if facts.data is not None else spec.data.format
    return shape == "text"


def _what(spec: RunSpec, facts: Facts) -> str:
    return "running text" if _is_text(spec, facts) else "answers"


def _rows(facts: Facts) -> LengthFacts | None:
    """The rows to learn from; None while there are none."""
    rows = facts.data.train if facts.data is not None else None
    return rows if rows is not None and rows.rows > 0 else None


def _by_size(model: ModelFacts | None, values: tuple[float, float, float]) -> float:
    if model is None:
        return values[1]
    return values[0] if model.parameters < TINY_MODEL else values[2] if model.parameters >= HUGE_MODEL else values[1]


def _size(model: ModelFacts) -> str:
    return f"{format_count(model.parameters)} parameters"


def _targets(_spec: RunSpec, facts: Facts) -> Step:
    kinds = len({linear.short_name for linear in facts.model.linears if linear.layer is not None}) if facts.model else 0
    which = f"all {kinds} kinds of linear layers" if kinds > 1 else "all linear layers"
    reason = f"Adapters on {which} learn more than the same number of parameters on attention alone."
    yield "adapter.targets", AdapterSpec().targets, reason


def _rank(spec: RunSpec, facts: Facts) -> Step:
    rank, reason = _wanted_rank(spec, facts)
    spec = spec.replace("adapter.dropout", 0.0)  # it comes after the rank, and only where there is room for it
    smaller = _largest_that_fits(spec, facts, rank)
    if smaller < rank:
        memory = plan(spec, facts).memory
        room = format_bytes(memory.free_bytes) if memory is not None else "memory"
        rank, reason = smaller, f"Rank {smaller} fits into the {room} that are free; {rank} would not."
    yield "adapter.rank", rank, reason


def _wanted_rank(spec: RunSpec, facts: Facts) -> tuple[int, str]:
    """The rank for what there is to learn, whatever the memory says."""
    rank, reason = _rank_by_size(spec, facts)
    widest = _widest_rank(facts.model)
    if rank > widest:
        return widest, f"The model's narrowest layer has a side of {2 * widest}, and half of that is rank enough."
    return rank, reason


def _rank_by_size(spec: RunSpec, facts: Facts) -> tuple[int, str]:
    rows = _rows(facts)
    if rows is None:
        return USUAL_RANK, f"Rank {USUAL_RANK} serves most tasks; how much there is to learn is not known yet."
    table = TEXT_RANKS if _is_text(spec, facts) else CHAT_RANKS
    tokens = rows.supervised_tokens
    rank = next(rank for most, rank in table if tokens <= most)
    learned = f"{format_count(tokens)} trained tokens of {_what(spec, facts)}"
    if rank == table[0][1]:
        return rank, f"There are only {learned}: rank {rank} holds that, and more would learn them by heart."
    return rank, f"There are {learned}: rank {rank} has room for what they teach."


def _widest_rank(model: ModelFacts | None) -> int:
    """Half of the narrowest layer, rounded down to a power of two: more rank is hardly an adapter."""
    blocks = [linear for linear in model.linears if linear.layer is not None] if model is not None else []
    narrowest = min((min(linear.in_features, linear.out_features) for linear in blocks), default=2**20)
    return int(2 ** max(0, math.floor(math.log2(max(2, narrowest) / 2))))


def _largest_that_fits(spec: RunSpec, facts: Facts, rank: int) -> int:
    """``rank``, or the largest half, quarter … of it with which the run fits where it does not with ``rank``."""
    smaller = rank
    while smaller >= LEAST_RANK:
        if _fits(spec.replace("adapter.rank", smaller), facts):
            return smaller
        smaller //= 2
    return rank


def _alpha(spec: RunSpec, _facts: Facts) -> Step:
    rank = spec.adapter.rank
    if spec.adapter.method == "rslora":
        alpha = float(max(1, round(2 * math.sqrt(rank))))
        yield "adapter.alpha", alpha, f"Twice √{rank}: rsLoRA divides by the root, so the adapters act doubled."
    else:
        yield "adapter.alpha", 2.0 * rank, f"Twice the rank of {rank}: the adapters act with alpha/rank, which is 2."


def _dropout(spec: RunSpec, facts: Facts) -> Step:
    rows = _rows(facts)
    if rows is None:
        return
    if rows.rows >= SMALL_SET:
        yield "adapter.dropout", 0.0, f"{rows.rows:,} rows need no dropout, and without it the training is faster."
    elif _fits(spec.replace("adapter.dropout", 0.0), facts) and not _fits(_dropped(spec), facts):
        yield "adapter.dropout", 0.0, f"{rows.rows:,} rows might gain from dropout, but then the run would not fit."
    else:
        share = f"{SMALL_SET_DROPOUT * 100:g} %"
        reason = f"With only {rows.rows:,} rows, zeroing {share} of the inputs keeps them from being learned by heart."
        yield "adapter.dropout", SMALL_SET_DROPOUT, reason


def _dropped(spec: RunSpec) -> RunSpec:
    return spec.replace("adapter.dropout", SMALL_SET_DROPOUT)


def _fits(spec: RunSpec, facts: Facts) -> bool:
    memory = plan(spec, facts).memory
    return memory is None or memory.verdict in ("fits", "unknown")


def _epochs(spec: RunSpec, facts: Facts) -> Step:
    rows = _rows(facts)
    if rows is None:
        return
    if rows.rows < FEW_ROWS:
        yield "training.epochs", 2.0, f"{rows.rows} rows are soon known by heart, so each is seen only twice."
    elif _is_text(spec, facts):
        count = format_count(rows.tokens)
        if rows.tokens > LONG_TEXT:
            yield "training.epochs", 1.0, f"{count} tokens of running text teach enough when each is read once."
        else:
            yield "training.epochs", 2.0, f"{count} tokens of running text are worth a second reading."
    elif rows.rows < SMALL_SET:
        yield "training.epochs", 3.0, f"{rows.rows:,} rows are few, so each is seen three times."
    elif rows.rows < LARGE_SET:
        yield "training.epochs", 2.0, f"{rows.rows:,} rows are usually learned after two epochs; later ones overfit."
    else:
        yield "training.epochs", 1.0, f"{rows.rows:,} rows teach enough when each is seen once."


def _learning_rate(spec: RunSpec, facts: Facts) -> Step:
    full = spec.adapter.method == "full"
    rate = _by_size(facts.model, FULL_RATES if full else ADAPTER_RATES)
    what = "training every weight" if full else "adapters"
    whose = f" on a model of {_size(facts.model)}" if facts.model else ""
    reason = f"{rate:g} suits {what}{whose}"
    if facts.model is not None and facts.model.parameters < TINY_MODEL:
        reason += ", because small models bear larger steps"
    elif facts.model is not None and facts.model.parameters >= HUGE_MODEL:
        reason += ", because large models want smaller steps"
    if _is_text(spec, facts):
        rate *= TEXT_RATE_SHARE
        reason += f"; half of it, {rate:g}, forgets less of the rest while it reads running text"
    yield "training.learning_rate", rate, f"{reason}."


def _quantization(spec: RunSpec, facts: Facts) -> Step:
    """4 bits where the spec insists on more and only 4 bits fit; the automatic choice takes them by itself."""
    model = facts.model
    if model is None or model.prequantized or spec.model.quantization not in ("none", "int8"):
        return
    if spec.adapter.method == "full":
        return
    spec = spec.replace("adapter.rank", _wanted_rank(spec, facts)[0]).replace("adapter.dropout", 0.0)
    now = plan(spec, facts).memory
    smaller = plan(spec.replace("model.quantization", "nf4"), facts).memory
    if now is None or smaller is None or now.verdict in ("fits", "unknown"):
        return
    if smaller.verdict != "fits" and smaller.peak_bytes >= now.peak_bytes:
        return
    bits = 8 if spec.model.quantization == "int8" else 8 * DTYPE_BYTES[plan(spec, facts).choices.compute_dtype.value]
    free = format_bytes(now.free_bytes)
    need = f"The run takes {format_bytes(now.peak_bytes)} with {bits}-bit weights, and {free} are free"
    yield "model.quantization", "nf4", f"{need}; 4 bits bring it down to {format_bytes(smaller.peak_bytes)}."
