"""The largest value of a setting with which a run still fits."""

from collections.abc import Sequence
from typing import Literal

from core.facts.types import Facts, ModelFacts
from core.plan.choices import decide
from core.plan.search import longest_row
from core.plan.solve.bisect import last_good
from core.plan.solve.trials import Trial, Trials
from core.plan.targets import Targets
from core.plan.typed import typed
from core.spec.rules import check
from core.spec.run_spec import RunSpec, field_at, is_visible

What = Literal["max_length", "rank", "micro_batch_tokens", "effective_batch"]

PATHS: dict[What, str] = {
    "max_length": "data.max_length",
    "rank": "adapter.rank",
    "micro_batch_tokens": "training.micro_batch_tokens",
    "effective_batch": "training.effective_batch",
}


def largest(spec: RunSpec, facts: Facts, what: What) -> int | None:
    """The largest value of ``what`` whose plan says that the run fits, everything else as it is.

    Bounded by the setting's own bounds; rows also by the model's context, a rank by the widest that any module can
    use, a pass by all rows of a step and a step by all rows there are, beyond which nothing changes. With rows known
    that are shorter than the limit, more length needs no more memory; without `Facts.data` the limit itself counts.
    None when not even the smallest value fits, when the setting has no meaning in this spec, and while the model is
    unknown. Never raises.
    """
    path = PATHS[what]
    spec = typed(spec, check(spec))
    decision = decide(spec, facts)
    if facts.model is None or decision.training is None or not is_visible(spec, field_at(path)):
        return None
    trials = Trials(spec, facts, decision, thorough=False)

    def test(value: int) -> int | None:
        trial = trials.take(spec.replace(path, value))
        return value if trial is not None and trial.fits else None

    return last_good(_values(trials.first, what), test)


def _values(now: Trial, what: What) -> Sequence[int]:
    bounds = field_at(PATHS[what]).setting.bounds
    assert bounds is not None, "every number has bounds"
    low, high = max(1, int(bounds.low or 1)), int(bounds.high or 1)
    return range(low, max(low, min(high, _most(now, what, high))) + 1)


def _most(now: Trial, what: What, high: int) -> int:
    if what == "max_length":
        return now.model.context_length or high
    if what == "rank":
        return _widest_rank(now.training.targets, now.model)
    if what == "effective_batch":
        return now.facts.data.train.rows if now.facts.data is not None else high
    longest = longest_row(now.spec, now.facts)
    return longest * max(1, now.spec.training.effective_batch) if now.ground.packing.value else longest


def _widest_rank(targets: Targets, model: ModelFacts) -> int:
    return max((min(shape.in_features, shape.out_features) for shape in targets.shapes), default=model.hidden_size)
