"""What the plan says when a run does not fit and how much is missing, and what `solve` found as one-click fixes of it.

`plan` only says it, because it is made for every click; looking for a way out takes as long as a hundred plans. Whoever
shows the problem asks `solve` as well, at once or in the background, and gives what it found to `with_fixes`.
"""

from collections.abc import Iterable, Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.facts.types import Facts
from core.plan.choices import Decision
from core.plan.memory import FITS_SHARE, state_bytes
from core.plan.solve.solver import LARGER
from core.plan.solve.types import Offer, Solution
from core.units import format_bytes

MOST_FIXES = 4
UNSOLVED = "Lower what the run needs, or close programs that use this memory."
"""The advice of a problem for which nobody has looked for a way out yet."""


def memory_problems(decision: Decision) -> tuple[Problem, ...]:
    """A problem without fixes when the run does not fit or hardly does; nothing when it fits or nobody knows."""
    memory = decision.memory
    if memory.verdict not in ("does_not_fit", "tight"):
        return ()
    needed, free = format_bytes(memory.peak_bytes), format_bytes(memory.free_bytes)
    where = f"{decision.ground.title} has {free} free of {format_bytes(memory.limit_bytes)}"
    if memory.verdict == "tight":
        return (
            warning(
                "hardware.device",
                f"The run needs about {needed} and {where}: more than {FITS_SHARE:.0%} of it, so the run may end for "
                "want of memory.",
                UNSOLVED,
            ),
        )
    missing = format_bytes(memory.peak_bytes - memory.free_bytes)
    return (
        error(
            "hardware.device",
            f"The run needs about {needed}, but {where}: about {missing} are missing.",
            UNSOLVED,
        ),
    )


def is_unsolved(problems: Iterable[Problem]) -> bool:
    """Whether a plan's problems say that memory is short, and a solution would tell more."""
    return any(_is_unsolved(problem) for problem in problems)


def with_fixes(problems: Iterable[Problem], solution: Solution) -> tuple[Problem, ...]:
    """A plan's problems, the one about memory with the fixes that were found; without any, it says what would help."""
    return tuple(_solved(problem, solution) if _is_unsolved(problem) else problem for problem in problems)


def _is_unsolved(problem: Problem) -> bool:
    return problem.path == "hardware.device" and problem.advice == UNSOLVED


def _solved(problem: Problem, solution: Solution) -> Problem:
    fixes = tuple(_fixes(solution))
    if problem.severity is Severity.WARNING:
        advice = "Close other programs, or take one of the changes." if fixes else "Close other programs."
    elif fixes:
        advice = "Take one of the changes that make it fit, or close programs that use this memory."
    else:
        needed = format_bytes(solution.needed_bytes)
        advice = f"No change of settings is enough: {needed} would have to be free for the smallest run. {LARGER}"
    return Problem(problem.severity, problem.path, problem.message, advice, fixes)


def _fixes(solution: Solution) -> Iterator[Fix]:
    """“Make it fit” first, then single changes: those that fit, then those that help most; none if nothing fits."""
    best = solution.best
    if best is None:
        return
    yield Fix(f"Make it fit: {best.noun} (about {format_bytes(best.peak_bytes)})", best.edits)
    others = [offer for offer in solution.offers if offer.kind not in (best.kind, "base")]
    for offer in others[: MOST_FIXES - 1]:
        yield Fix(_title(offer), offer.edits)


def _title(offer: Offer) -> str:
    peak = format_bytes(offer.peak_bytes)
    return f"{offer.title}: fits with about {peak}" if offer.fits else f"{offer.title}: lowers the peak to about {peak}"


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
