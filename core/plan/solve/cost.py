"""What a change costs in time: the planner's own estimate of the changed run over that of the unchanged one."""

import dataclasses

from core.facts.types import DataFacts, Facts, LengthFacts
from core.plan.batch import batch_of
from core.plan.choices import Decision, decide
from core.plan.memory import state_bytes
from core.plan.search import longest_row, row_limit
from core.plan.solve.rows import cut_rows
from core.plan.solve.trials import Trial
from core.plan.time import duration_of
from core.spec.run_spec import RunSpec

# While no data is known, so many rows of the longest length are assumed; half of their tokens carry loss.
ASSUMED_ROWS = 1000
# PCI Express 3.0 with 16 lanes, one way: 8 GT/s x 16 x 128/130. Paged states cross it twice a step.
BUS_BYTES_PER_SECOND = 15.75e9


def seconds_of(trial: Trial) -> float:
    """Expected seconds of the run; shorter rows count with the tokens that they keep."""
    spec, facts = trial.spec, trial.facts
    rows = _rows(spec, facts)
    none = LengthFacts(0, 0, 0, 0, 0, 0, 0, 0, {})
    data = facts.data or DataFacts((), "text", "", "model", rows, none)
    known = dataclasses.replace(facts, data=dataclasses.replace(data, train=rows))
    decision = decide(spec, known)
    choices = decision.choices
    batch = batch_of(spec.training, rows, choices.micro_batch_tokens.value, packing=choices.packing.value)
    return duration_of(spec, known, decision, batch).seconds + batch.steps * _paging_seconds(decision)


def _rows(spec: RunSpec, facts: Facts) -> LengthFacts:
    if facts.data is not None and facts.data.train.rows:
        return cut_rows(facts.data.train, row_limit(spec))
    longest = longest_row(spec, facts)
    tokens = ASSUMED_ROWS * longest
    return LengthFacts(ASSUMED_ROWS, tokens, tokens // 2, longest, longest, longest, 0, 0, {})


def _paging_seconds(decision: Decision) -> float:
    """A step's wait for the states that do not fit beside the rest: they leave the GPU and come back."""
    optimizer, training = decision.choices.optimizer.value, decision.training
    if decision.ground.kind != "cuda" or not optimizer.startswith("paged") or training is None:
        return 0.0
    states = state_bytes(optimizer.removeprefix("paged_"), training.parameters.trainable, "cpu")
    outside = max(0, decision.memory.peak_bytes + states - decision.ground.free_bytes)
    return 2 * min(states, outside) / BUS_BYTES_PER_SECOND
