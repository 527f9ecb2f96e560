"""Learning rates and warm-ups out of their family."""

from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, Severity, warning
from core.plan.problems.case import Case
from core.plan.usual import (
    BOLD_LION_SHARE,
    LION_SHARE,
    RATE_BAND,
    USUAL_SCALE,
    USUAL_WARMUP,
    is_lion,
    objective_share,
    scale_of,
    usual_rate,
)

LONG_WARMUP = 0.3
"""Trainers in use warm up for at most a tenth of the steps."""
SHORTEST_CYCLE = 4
"""Steps in which half a cosine has a beginning, a slope and an end."""
BOLD = 2.0
"""Times the usual rate, from which starting without a warm-up is bold."""


def rate_problems(case: Case) -> Iterator[Problem]:
    """The learning rate for the method and the model's size, and how it begins."""
    out_of_family = list(_rate(case))
    yield from out_of_family
    yield from _warmup(case, judged=not out_of_family)
    yield from _cycles(case)
    yield from _muon(case)


def _strength(case: Case) -> float:
    """How much farther than usual a step takes the weights: one step of B moves them by the rate times the scale."""
    adapter = case.spec.adapter
    if case.full or adapter.rank < 1 or adapter.alpha <= 0:
        return 1.0
    faster = max(1.0, adapter.b_rate_ratio)
    return faster * max(1.0, scale_of(adapter.method, adapter.rank, adapter.alpha) / USUAL_SCALE)


def _rate(case: Case) -> Iterator[Problem]:
    rate = case.spec.training.learning_rate
    if not 0 < rate <= 1:
        return  # the spec's own rules refuse it
    optimizer = case.decision.choices.optimizer.value
    share = objective_share(case.spec)
    usual = usual_rate(case.model, full=case.full, optimizer=optimizer, share=share)
    low, high = (share * usual for share in RATE_BAND)
    if is_lion(optimizer):
        high = BOLD_LION_SHARE / LION_SHARE * usual
    strength = _strength(case)
    set_it = Fix(f"Set it to {usual:g}", (Edit("training.learning_rate", usual),))
    if rate > high and is_lion(optimizer):
        yield warning(
            "training.learning_rate",
            f"A learning rate of {rate:g} is high for Lion, which moves each weight by all of it in every step: the "
            "loss is likely to jump and the model to forget.",
            f"{usual:g} is a good start; a third to a tenth of AdamW's rate is usual.",
            set_it,
        )
    elif rate < low or rate > high:
        what = "full fine-tuning" if case.full else "adapters"
        what += " with preference pairs" if share != 1.0 else ""
        whose = " of a model of this size" if case.model is not None else ""
        effect = "the model would hardly learn" if rate < low else "the loss is likely to jump and the model to forget"
        yield warning(
            "training.learning_rate",
            f"A learning rate of {rate:g} is unusually {'low' if rate < low else 'high'} for {what}{whose}: {effect}.",
            f"{usual:g} is a good start; {low:g} to {high:g} is the usual range.",
            set_it,
        )
    elif case.spec.adapter.b_rate_ratio > 1 and not case.full and rate * strength > high:
        calm = float(f"{usual / strength:.2g}")
        faster = rate * case.spec.adapter.b_rate_ratio
        yield warning(
            "training.learning_rate",
            f"With a learning rate of {rate:g} for A, B learns at {faster:.3g}, which is bold: the loss is likely to "
            "jump.",
            f"Lower adapter.b_rate_ratio, or set the learning rate to about {calm:g}.",
            Fix(f"Set it to {calm:g}", (Edit("training.learning_rate", calm),)),
        )
    elif rate * strength > high:
        calm = float(f"{usual / strength:.2g}")
        scale = strength * USUAL_SCALE
        yield warning(
            "training.learning_rate",
            f"A learning rate of {rate:g} with adapters that act {scale:.3g}-fold is as bold as {rate * strength:.3g} "
            "at the usual twofold strength: the loss is likely to jump.",
            f"Lower alpha, or set the learning rate to about {calm:g}.",
            Fix(f"Set it to {calm:g}", (Edit("training.learning_rate", calm),)),
        )


def _warmup(case: Case, *, judged: bool) -> Iterator[Problem]:
    curve, share = case.curve, case.spec.training.warmup
    if curve is None or curve.steps < 2:
        return
    usual = Fix(f"Warm up for {USUAL_WARMUP * 100:.0f} % of the steps", (Edit("training.warmup", USUAL_WARMUP),))
    rate = case.spec.training.learning_rate * _strength(case)
    optimizer = case.decision.choices.optimizer.value
    usual_one = usual_rate(case.model, full=case.full, optimizer=optimizer, share=objective_share(case.spec))
    if share == 0 and judged and rate > BOLD * usual_one:
        yield warning(
            "training.warmup",
            f"The run begins at its full learning rate of {curve.peak:g}, which is high, and Adam's first steps are "
            "its least certain ones.",
            "Let the rate rise over the first steps.",
            usual,
        )
    elif share > LONG_WARMUP:
        yield Problem(
            Severity.INFO,
            "training.warmup",
            f"The learning rate rises for {curve.warmup_steps:,} of {curve.steps:,} steps, so much of the run learns "
            "little.",
            "3 to 10 % is usual.",
            (usual,),
        )


def _cycles(case: Case) -> Iterator[Problem]:
    """Restarts that come faster than the rate can fall."""
    curve = case.curve
    if curve is None or curve.cycles < 2:
        return
    after = curve.steps - curve.warmup_steps
    if after >= SHORTEST_CYCLE * curve.cycles:
        return
    fewer = max(1, after // SHORTEST_CYCLE)
    yield warning(
        "training.cycles",
        f"{curve.cycles:,} cycles in {after:,} steps are too short for the rate to fall: it only jumps about.",
        f"Give each cycle at least {SHORTEST_CYCLE} steps.",
        Fix(f"Take {fewer:,}", (Edit("training.cycles", fewer),)),
    )


def _muon(case: Case) -> Iterator[Problem]:
    if case.full or case.decision.choices.optimizer.value != "muon":
        return
    yield Problem(
        Severity.INFO,
        "training.optimizer",
        "Muon was made for whole matrices; nobody has shown yet that low-rank adapters learn better with it.",
        "Use AdamW for adapters unless you want to compare the two.",
        (Fix("Use AdamW", (Edit("training.optimizer", "adamw"),)),),
    )
