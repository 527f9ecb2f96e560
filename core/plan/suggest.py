"""Good settings for a task, a model and its data, each with its reason.

The table itself is in `core.plan.usual`, which says where its numbers come from; the warnings before a run look into
the same one, so that what is suggested is never warned of. Pure arithmetic, as everything in the planner.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.errors import Edit, Severity
from core.facts.types import Facts, LengthFacts
from core.plan.ground import DTYPE_BYTES
from core.plan.planner import plan
from core.plan.usual import (
    FEW_ROWS,
    HUGE_MODEL,
    LARGE_SET,
    LEAST_RANK,
    LONG_TEXT,
    MUCH_KNOWLEDGE,
    SHORT_RUN,
    SHORT_RUN_WARMUP,
    SMALL_SET,
    SMALL_SET_DROPOUT,
    TINY_MODEL,
    USUAL,
    USUAL_RANK,
    USUAL_WARMUP,
    Task,
    holds,
    is_lion,
    objective_share,
    scale_of,
    task_of,
    usual_alpha,
    usual_batch,
    usual_rank,
    usual_rate,
    widest_rank,
)
from core.spec.rules import check
from core.spec.rules_adapter import changes_base, scale_band
from core.spec.run_spec import RunSpec, field_at, fields, is_visible
from core.spec.sections import AdapterSpec
from core.units import format_bytes, format_count


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


def suggest(spec: RunSpec, facts: Facts, task: Task | None = None) -> tuple[Suggestion, ...]:
    """Good values for the settings that matter most, in the order of the form; those that differ and those that do not.

    What is not known yet is not guessed from: without data nothing is said about dropout, epochs and steps, and without
    a model and data nothing at all. Settings that the spec makes meaningless (an adapter's under full fine-tuning,
    epochs beside a number of steps) are left out. Quantization is named only where the weights have to be held in 4
    bits. Never raises.

    Args:
        spec: what is asked for now.
        facts: the machine, the model and the data.
        task: what is to be learned; None for what the data looks like.
    """
    if facts.model is None and facts.data is None:
        return ()
    wanted = spec
    for path in {problem.path for problem in check(spec) if problem.severity is Severity.ERROR}:
        if path != "model.quantization" or spec.model.quantization not in _QUANTIZED:  # else the method is mended
            wanted = wanted.replace(path, field_at(path).default)
    case = _Wish(facts, task or task_of(wanted, facts.data))
    found: list[Suggestion] = []
    for step in _STEPS:
        for path, value, reason in step(wanted, case):
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


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is known, and what is to be learned."""

    facts: Facts
    task: Task

    @property
    def rows(self) -> LengthFacts | None:
        """The rows to learn from; None while there are none."""
        rows = self.facts.data.train if self.facts.data is not None else None
        return rows if rows is not None and rows.rows > 0 else None

    def fits(self, spec: RunSpec) -> bool:
        """Whether a run fits, as far as anybody knows."""
        memory = plan(spec, self.facts).memory
        return memory is None or memory.verdict in ("fits", "unknown")


_QUANTIZED = ("nf4", "int8")

Step = Iterator[tuple[str, object, str]]
"""Settings with their values and reasons."""

_WHAT: dict[Task, str] = {
    "chat": "answers",
    "text": "running text",
    "knowledge": "new knowledge",
    "short": "short answers",
    "code": "code",
}


def _method(spec: RunSpec, case: _Wish) -> Step:
    """Adapters, but for the two cases where full fine-tuning is asked for or adapters have no room, and it fits."""
    method = spec.adapter.method
    if method == "full" and spec.model.quantization in _QUANTIZED:
        bits = 4 if spec.model.quantization == "nf4" else 8
        yield "adapter.method", "lora", f"Weights in {bits} bits cannot be trained, but adapters on them can."
        return
    memory = plan(spec.replace("adapter.method", "full").replace("model.quantization", "auto"), case.facts).memory
    fits = memory is not None and memory.verdict == "fits"
    known = memory is not None and memory.verdict != "unknown"
    room = f"{format_bytes(memory.peak_bytes)} of {format_bytes(memory.free_bytes)} free" if memory and known else ""
    if method == "full" and (fits or not known):
        words = f"it takes about {room}" if known else "where it fits"
        yield "adapter.method", "full", f"Full fine-tuning learns the most, and {words}."
    elif method == "full":
        yield "adapter.method", "lora", f"Full fine-tuning would take about {room}; adapters take a tenth of that."
    elif fits and _too_much_for_adapters(spec, case):
        yield (
            "adapter.method",
            "full",
            f"There is more to learn than this model's adapters have room for; full fine-tuning takes about {room}.",
        )
    elif method == "lora":
        reason = "LoRA learns what such data teaches as well as full fine-tuning, with a tenth of the memory."
        yield "adapter.method", "lora", reason
    else:
        names = {"rslora": "rsLoRA", "dora": "DoRA"}
        reason = f"{names.get(method, method)} learns as well as LoRA; alpha below is meant for it."
        yield "adapter.method", method, reason


def _too_much_for_adapters(spec: RunSpec, case: _Wish) -> bool:
    rows, model = case.rows, case.facts.model
    if rows is None or model is None or spec.model.quantization in _QUANTIZED:
        return False
    rank = min(usual_rank(case.task, rows), widest_rank(model))
    usual = spec.replace("adapter.targets", AdapterSpec().targets).replace("adapter.rank", rank)
    for path in ("adapter.layers", "adapter.rank_pattern", "adapter.modules_to_save"):
        usual = usual.replace(path, field_at(path).default)
    parameters = plan(usual, case.facts).parameters
    return parameters is not None and not holds(parameters.trainable, rows)


def _targets(_spec: RunSpec, case: _Wish) -> Step:
    model = case.facts.model
    kinds = len({linear.short_name for linear in model.linears if linear.layer is not None}) if model else 0
    which = f"all {kinds} kinds of linear layers" if kinds > 1 else "all linear layers"
    reason = f"Adapters on {which} learn more than the same number of parameters on attention alone."
    yield "adapter.targets", AdapterSpec().targets, reason


def _rank(spec: RunSpec, case: _Wish) -> Step:
    rank, reason = _wanted_rank(case)
    spec = spec.replace("adapter.dropout", 0.0)  # it comes after the rank, and only where there is room for it
    smaller = _largest_that_fits(spec, case, rank)
    if smaller < rank:
        memory = plan(spec, case.facts).memory
        room = format_bytes(memory.free_bytes) if memory is not None else "memory"
        rank, reason = smaller, f"Rank {smaller} fits into the {room} that are free; {rank} would not."
    yield "adapter.rank", rank, reason


def _wanted_rank(case: _Wish) -> tuple[int, str]:
    """The rank for what there is to learn, whatever the memory says."""
    rank, reason = _rank_by_size(case)
    widest = widest_rank(case.facts.model)
    if rank > widest:
        return widest, f"The model's narrowest layer has a side of {2 * widest}, and half of that is rank enough."
    return rank, reason


def _rank_by_size(case: _Wish) -> tuple[int, str]:
    rows = case.rows
    if rows is None:
        return USUAL_RANK, f"Rank {USUAL_RANK} serves most tasks; how much there is to learn is not known yet."
    rank = usual_rank(case.task, rows)
    learned = f"{format_count(rows.supervised_tokens)} trained tokens of {_WHAT[case.task]}"
    if case.task == "short":
        return rank, f"There are {learned}: short answers need no more than rank {rank}."
    if rank == USUAL[case.task].ranks[0][1]:
        return rank, f"There are only {learned}: rank {rank} holds that, and more would learn them by heart."
    return rank, f"There are {learned}: rank {rank} has room for what they teach."


def _largest_that_fits(spec: RunSpec, case: _Wish, rank: int) -> int:
    """``rank``, or the largest half, quarter … of it with which the run fits where it does not with ``rank``."""
    smaller = rank
    while smaller >= LEAST_RANK:
        if case.fits(spec.replace("adapter.rank", smaller)):
            return smaller
        smaller //= 2
    return rank


def _alpha(spec: RunSpec, _case: _Wish) -> Step:
    rank, method = spec.adapter.rank, spec.adapter.method
    alpha = usual_alpha(method, rank)
    if method == "rslora":
        yield "adapter.alpha", alpha, f"Twice √{rank}: rsLoRA divides by the root, so the adapters act doubled."
    else:
        yield "adapter.alpha", alpha, f"Twice the rank of {rank}: the adapters act with alpha/rank, which is 2."
    low, high = scale_band(method)
    scales = [scale_of(method, other, alpha) for other in spec.adapter.rank_pattern.values() if other > 0]
    if any(not low <= scale <= high for scale in scales):
        reason = f"Beside alpha {alpha:g}, other ranks would act {min(scales):.3g}- to {max(scales):.3g}-fold."
        yield "adapter.rank_pattern", {}, reason


def _dropout(spec: RunSpec, case: _Wish) -> Step:
    rows = case.rows
    if rows is None:
        return
    dropped = spec.replace("adapter.dropout", SMALL_SET_DROPOUT)
    if rows.rows >= SMALL_SET:
        yield "adapter.dropout", 0.0, f"{rows.rows:,} rows need no dropout, and without it the training is faster."
    elif case.fits(spec.replace("adapter.dropout", 0.0)) and not case.fits(dropped):
        yield "adapter.dropout", 0.0, f"{rows.rows:,} rows might gain from dropout, but then the run would not fit."
    else:
        share = f"{SMALL_SET_DROPOUT * 100:g} %"
        reason = f"With only {rows.rows:,} rows, zeroing {share} of the inputs keeps them from being learned by heart."
        yield "adapter.dropout", SMALL_SET_DROPOUT, reason


def _epochs(_spec: RunSpec, case: _Wish) -> Step:
    rows = case.rows
    if rows is None:
        return
    count, tokens = rows.rows, format_count(rows.tokens)
    if count < FEW_ROWS:
        yield "training.epochs", 2.0, f"{count} rows are soon known by heart, so each is seen only twice."
    elif case.task == "knowledge" and rows.tokens <= LONG_TEXT:
        yield "training.epochs", 4.0, f"{tokens} tokens of new knowledge have to be met several times to be kept."
    elif case.task == "knowledge" and rows.tokens <= MUCH_KNOWLEDGE:
        yield "training.epochs", 2.0, f"{tokens} tokens of new knowledge are worth a second reading."
    elif case.task in ("text", "knowledge"):
        if rows.tokens > LONG_TEXT:
            yield "training.epochs", 1.0, f"{tokens} tokens of running text teach enough when each is read once."
        else:
            yield "training.epochs", 2.0, f"{tokens} tokens of running text are worth a second reading."
    elif count < SMALL_SET:
        yield "training.epochs", 3.0, f"{count:,} rows are few, so each is seen three times."
    elif count < LARGE_SET:
        yield "training.epochs", 2.0, f"{count:,} rows are usually learned after two epochs; later ones overfit."
    else:
        yield "training.epochs", 1.0, f"{count:,} rows teach enough when each is seen once."


def _batch(_spec: RunSpec, case: _Wish) -> Step:
    rows = case.rows
    if rows is None:
        return
    batch = usual_batch(case.task, rows.rows)
    steps = math.ceil(rows.rows / batch)
    if batch < USUAL[case.task].batch:
        reason = f"{rows.rows:,} rows are few: with {batch} a step the model is changed {steps:,} times an epoch."
    elif case.task == "short":
        reason = f"Short answers carry few trained tokens, so {batch} rows make a steady step."
    else:
        reason = f"{batch} rows a step change the model {steps:,} times an epoch; adapters lose by much larger steps."
    yield "training.effective_batch", batch, reason


def _warmup(spec: RunSpec, case: _Wish) -> Step:
    batch = plan(spec, case.facts).batch
    if batch is None or not batch.rows:
        return
    if batch.steps < SHORT_RUN:
        reason = f"In a run of {batch.steps:,} steps a tenth of them is few enough for Adam to find its feet."
        yield "training.warmup", SHORT_RUN_WARMUP, reason
    else:
        reason = f"{USUAL_WARMUP * 100:.0f} % of {batch.steps:,} steps are enough for Adam to find its feet."
        yield "training.warmup", USUAL_WARMUP, reason


def _learning_rate(spec: RunSpec, case: _Wish) -> Step:
    full, model = spec.adapter.method == "full", case.facts.model
    optimizer = spec.training.optimizer
    part = objective_share(spec)
    rate = usual_rate(model, full=full, optimizer=optimizer, share=part)
    what = "training every weight" if full else "adapters"
    what += " with preference pairs" if part != 1.0 else ""
    whose = f" on a model of {format_count(model.parameters)} parameters" if model else ""
    reason = f"{rate:g} suits {what}{whose}"
    if model is not None and model.parameters < TINY_MODEL:
        reason += ", because small models bear larger steps"
    elif model is not None and model.parameters >= HUGE_MODEL:
        reason += ", because large models want smaller steps"
    if is_lion(optimizer):
        reason += ", and Lion wants a fifth of AdamW's rate"
    share = USUAL[case.task].rate_share
    if share != 1.0 and part == 1.0:
        rate *= share
        why = "forgets less of the rest while it reads running text" if case.task == "text" else "suits short answers"
        reason += f"; half of it, {rate:g}, {why}"
    yield "training.learning_rate", rate, f"{reason}."


def _quantization(spec: RunSpec, case: _Wish) -> Step:
    """4 bits where the spec insists on more and only 4 bits fit; the automatic choice takes them by itself."""
    facts, model = case.facts, case.facts.model
    if model is None or model.prequantized or spec.model.quantization not in ("none", "int8"):
        return
    if spec.adapter.method == "full" or changes_base(spec.adapter):
        return
    spec = spec.replace("adapter.rank", _wanted_rank(case)[0]).replace("adapter.dropout", 0.0)
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


_STEPS = (_method, _targets, _quantization, _rank, _alpha, _dropout, _epochs, _batch, _warmup, _learning_rate)
