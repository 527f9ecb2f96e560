"""What the plan says when a run does not fit: how much is missing, and the changes that can be found in passing."""

from collections.abc import Iterator, Sequence

from core.errors import Edit, Fix, Problem, error, warning
from core.facts.types import Facts
from core.plan.choices import Decision
from core.plan.memory import FITS_SHARE, state_bytes
from core.plan.solve.changes import named, options
from core.plan.solve.cost import pace_of
from core.plan.solve.sets import Taken, cheapest, mildest, smallest
from core.plan.solve.solver import LARGER, free_for, listed, single
from core.plan.solve.trials import Trials
from core.spec.run_spec import RunSpec
from core.units import format_bytes

MOST_FIXES = 4
FEW_STRENGTHS = 8


def memory_problems(spec: RunSpec, facts: Facts, decision: Decision) -> tuple[Problem, ...]:
    """A problem with its fixes when the run does not fit or hardly does; nothing when it fits or nobody knows.

    The fixes are those that can be found within a plan's time; `core.plan.solve.solve` finds all of them.
    """
    memory = decision.memory
    if memory.verdict not in ("does_not_fit", "tight"):
        return ()
    trials = Trials(spec, facts, decision, thorough=False)
    # Half a byte for each weight is the least there is: beyond that nothing has to be tried.
    hopeless = trials.first.model.parameters // 2 > memory.free_bytes
    singles = [] if hopeless else _singles(trials)
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
    if fixes:
        advice = "Take one of the changes that make it fit, or close programs that use this memory."
    else:
        needed = format_bytes(free_for(smallest(trials, trials.first)))
        advice = f"No change of settings is enough: {needed} would have to be free for the smallest run. {LARGER}"
    return (
        error(
            "hardware.device",
            f"The run needs about {format_bytes(memory.peak_bytes)}, but {where}: about {missing} are missing.",
            advice,
            *fixes,
        ),
    )


def _singles(trials: Trials) -> list[Taken]:
    """Single changes that are worth a click, the first that fit; strengths in a few steps only."""
    found: list[Taken] = []
    for option in options(trials.first, quick=True):
        taken = single(trials, option, FEW_STRENGTHS)
        if taken is not None:
            found.append(taken)
        if sum(taken.trial.fits for taken in found) == MOST_FIXES - 1:
            break
    return found


def _best(trials: Trials, singles: Sequence[Taken]) -> Taken | None:
    """The cheapest change or set of changes that fits, by quality first and then by time."""
    fitting = [taken for taken in singles if taken.trial.fits and not taken.steps[0][0].alone]
    if not fitting:
        return cheapest(trials, trials.first, quick=True) if singles and smallest(trials, trials.first).fits else None
    best = min(fitting, key=lambda taken: (taken.changes[0].loss, pace_of(taken.trial)))
    return mildest(trials, trials.first, best.steps[0][0]) or best


def _fixes(singles: Sequence[Taken], best: Taken | None) -> Iterator[Fix]:
    """“Make it fit” first, then single changes: those that fit, then those that help most; none if nothing fits."""
    if best is None and not any(taken.trial.fits for taken in singles):
        return
    if best is not None:
        changes = [named(change, best.trial) for change in best.changes]
        yield Fix(f"Make it fit: {listed(changes)} (about {format_bytes(best.trial.peak)})", best.edits)
    others = [
        taken
        for taken in singles
        if best is None or taken.changes[0].kind != best.changes[0].kind or len(best.changes) > 1
    ]
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
