"""A simulated case as the planner's closed form sees it."""

from core.facts.types import ModelFacts
from core.plan.memory import Footprint, Setup, trained_of
from core.plan.memory.passes import Size
from core.plan.parameters import count_parameters, resolve_targets
from tests.simulator.cases import Case


def footprint_of(case: Case, facts: ModelFacts) -> Footprint:
    """The footprint of a case."""
    targets = resolve_targets(case.adapter, facts)
    trained = trained_of(case.adapter, targets, facts, count_parameters(case.adapter, targets, facts).trainable)
    return Footprint(setup_of(case), trained, facts)


def setup_of(case: Case) -> Setup:
    kernel = case.attention
    if kernel != "eager" and case.kind == "cuda":
        flash = case.ampere and case.compute_dtype != "fp32"
        kernel = ("varlen" if kernel == "flash" else kernel) if flash else "efficient"
    return Setup(
        kind=case.kind,
        quantization=case.quantization,
        number=case.compute_dtype,
        kernel=kernel,
        longest=max(max(lengths) for lengths in case.passes),
        optimizer=case.optimizer if case.kind == "cuda" else case.optimizer.removeprefix("paged_"),
        double_quant=case.double_quant,
        several=len(case.passes) > 1,
    )


def size_of(case: Case) -> Size:
    """The largest pass of a case."""
    lengths = case.passes[0]
    place = lengths.index(max(lengths))
    before, after = lengths[:place], lengths[place + 1 :]
    return Size(
        tokens=sum(lengths),
        kept=case.kept(lengths),
        documents=len(lengths),
        longest=max(lengths),
        pairs=sum(length * length for length in lengths),
        first=len(case.passes) == 1,
        after=sum(after),
        after_pairs=sum(length * length for length in after),
        next_before=max(before, default=0),
        next_after=max(after, default=0),
    )
