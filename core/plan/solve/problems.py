"""What the plan says when a run does not fit: how much is missing, and the changes that can be found in passing."""

from collections.abc import Iterator, Sequence

from core.errors import Edit, Fix, Problem, error, warning
from core.facts.types import Facts
from core.plan.choices import Decision
from core.plan.memory import FITS_SHARE, state_bytes
from core.plan.solve.changes import named, options
from core.plan.solve.cost import pace_of
from core.plan.solve.sets import Taken, cheapest
from core.plan.solve.solver import listed, single
from core.plan.solve.trials import Trials
from core.spec.run_spec import RunSpec
from core.units import format_bytes

MOST_FIXES = 4


def memory_problems(spec: RunSpec, facts: Facts, decision: Decision) -> tuple[Problem, ...]:
    """A problem with its fixes when the run does not fit or hardly does; nothing when it fits or nobody knows.

    The fixes are those that can be found within a plan's time; `core.plan.solve.solve` finds all of them.
    """
    memory = decision.memory
    if memory.verdict not in ("does_not_fit", "tight"):
        return ()
    trials = Trials(spec, facts, decision, thorough=False)
    singles = [taken for option in options(trials.first, quick=True) if (taken := single(trials, option)) is not None]
    best = _best(trials, singles)
    fixes = tuple(_fixes(singles, best))
    where = f"{decision.ground.title} has {format_bytes(memory.free_bytes)} free of {format_bytes(memory.limit_bytes)}"
    if memory.verdict == "tight":
        return (
            warning(
                "hardware.device",
                f"The run needs about {format_bytes(memory.peak_bytes)} and {where}: more than "
                f"{FITS_SHARE:.0%} of it, so the run may end for want of memory.",
                "Close other programs, or take one of the changes." if fixes else "Close other programs.",
                *fixes,
            ),
        )
    missing = format_bytes(memory.peak_bytes - memory.free_bytes)
    if best is not None:
        advice = "Take one of the changes that make it fit, or close programs that use this memory."
    elif fixes:
        advice = "None of the changes is enough alone: take several, a smaller base model, or larger hardware."
    else:
        advice = "Take a smaller base model or larger hardware; no setting lowers the peak enough to matter."
    return (
        error(
            "hardware.device",
            f"The run needs about {format_bytes(memory.peak_bytes)}, but {where}: about {missing} are missing.",
            advice,
            *fixes,
        ),
    )


def _best(trials: Trials, singles: Sequence[Taken]) -> Taken | None:
    """The cheapest change or set of changes that fits, by quality first and then by time."""
    found = [taken for taken in singles if taken.trial.fits and not taken.steps[0][0].alone]
    together = cheapest(trials, trials.first, quick=True)
    if together is not None:
        found.append(together)
    return min(
        found, key=lambda taken: (sum(change.loss for change in taken.changes), pace_of(taken.trial)), default=None
    )


def _fixes(singles: Sequence[Taken], best: Taken | None) -> Iterator[Fix]:
    """“Make it fit” first, then single changes: those that fit, then those that help most."""
    if best is not None:
        changes = [named(change, best.trial) for change in best.changes]
        yield Fix(f"Make it fit: {listed(changes)} (about {format_bytes(best.trial.peak)})", best.edits)
    others = [taken for taken in singles if best is None or taken.edits != best.edits]
    others.sort(key=lambda taken: (not taken.trial.fits, 0 if taken.trial.fits else taken.trial.peak))
    for taken in others[: MOST_FIXES if best is None else MOST_FIXES - 1]:
        change, peak = named(taken.changes[0], taken.trial), format_bytes(taken.trial.peak)
        words = "fits with about" if taken.trial.fits else "lowers the peak to about"
        yield Fix(f"{change.title}: {words} {peak}", change.edits)


def paging_problems(facts: Facts, decision: Decision) -> Iterator[Problem]:
    """A warning when paged optimizer states would not fit into RAM either."""
    if decision.training is None or decision.ground.kind != "cuda":
        return
    optimizer = decision.settings.optimizer
    if not optimizer.startswith("paged"):
        return
    states = state_bytes(optimizer.removeprefix("paged_"), decision.training.parameters.trainable, "cpu")
    free = facts.hardware.ram_free_bytes
    if states > FITS_SHARE * free:
        yield warning(
            "training.optimizer",
            f"The optimizer's states take about {format_bytes(states)} and move to RAM when the GPU is full, but only "
            f"{format_bytes(free)} of RAM are free.",
            "Close other programs, or train an adapter instead of every weight.",
            Fix("Train a LoRA adapter instead", (Edit("adapter.method", "lora"),)),
        )
