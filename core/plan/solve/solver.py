"""`solve`: every change that makes a run fit or helps, with its costs, and the cheapest set that fits."""

import math
from collections.abc import Sequence

from core.facts.types import Facts, ModelFacts
from core.plan.choices import decide
from core.plan.memory import FITS_SHARE
from core.plan.solve.bases import smaller_bases, with_smaller_base
from core.plan.solve.changes import OTHER, Option, named, options
from core.plan.solve.cost import seconds_of
from core.plan.solve.sets import Taken, cheapest, mildest, smallest
from core.plan.solve.trials import Trial, Trials, edited
from core.plan.solve.types import Offer, Solution
from core.plan.typed import typed
from core.spec.rules import check
from core.spec.run_spec import RunSpec
from core.units import format_bytes

# A change that lowers the peak by less and does not make the run fit is not worth a click.
LEAST_GAIN = 0.03
LARGER = "Take a smaller base model, or a device with more memory."
# A run so many times slower counts as if it cost that much quality more: nobody waits for it gladly.
SLOW = ((2.0, 1), (4.0, 2), (10.0, OTHER))


def solve(spec: RunSpec, facts: Facts, bases: Sequence[ModelFacts] = ()) -> Solution:
    """How a run that does not fit, or hardly does, can be made to fit; every offer is planned again.

    Takes tens of milliseconds: made for a click, where `plan` is made for every key. ``bases`` are other models that
    could be tuned instead; smaller ones of the same family are offered first. Nothing is offered for a run that fits,
    and while the model or its targets are not known. Never raises.
    """
    spec = typed(spec, check(spec))
    decision = decide(spec, facts)
    verdict = decision.memory.verdict
    if facts.model is None or decision.training is None or verdict in ("fits", "unknown"):
        return Solution(verdict == "fits", (), None)
    trials = Trials(spec, facts, decision, thorough=True)
    found = _Found(trials)
    singles = [taken for option in options(trials.first) if (taken := single(trials, option)) is not None]
    offers = [found.offer(taken) for taken in singles]
    offers += [found.offer(taken) for taken in smaller_bases(trials, bases)]
    together = cheapest(trials, trials.first)
    best = [offer for offer in offers if offer.fits]
    if together is not None:
        best.append(found.offer(together))
    elif not best:
        taken = with_smaller_base(trials, bases)
        best += [found.offer(taken)] if taken is not None else []
    chosen = min(best, key=price, default=None)
    needed = 0 if chosen is not None else free_for(smallest(trials, trials.first))
    ranked = sorted(offers, key=lambda offer: (not offer.fits, price(offer) if offer.fits else (0, offer.peak_bytes)))
    return Solution(
        fits=False,
        offers=tuple(ranked),
        best=chosen,
        sentence=_sentence(trials.first, chosen, needed),
        needed_bytes=needed,
    )


def price(offer: Offer) -> tuple[int, float]:
    """What an offer costs: quality first, with much waiting counted as well, then time; bases keep their order."""
    waiting = max((extra for factor, extra in SLOW if offer.slower >= factor), default=0)
    return offer.loss + waiting, 0.0 if offer.kind == "base" else offer.slower


class _Found:
    """Makes offers of what was found; the unchanged run's time is estimated once."""

    def __init__(self, trials: Trials) -> None:
        self._seconds = seconds_of(trials.first)

    def offer(self, taken: Taken) -> Offer:
        trial, changes = taken.trial, tuple(named(change, taken.trial) for change in taken.changes)
        slower = seconds_of(trial) / self._seconds if self._seconds else 1.0
        costly = [change for change in changes if change.loss]
        return Offer(
            title=changes[0].title if len(changes) == 1 else _joined([change.noun for change in changes]),
            noun=_joined([change.noun for change in changes]),
            edits=taken.edits,
            peak_bytes=trial.peak,
            fits=trial.fits,
            slower=slower,
            quality=_joined([change.quality for change in costly]) or "nothing",
            reason=" ".join(change.reason for change in changes if change.reason),
            kind=changes[0].kind if len(changes) == 1 else "set",
            loss=sum(change.loss for change in changes),
        )


def _joined(texts: Sequence[str]) -> str:
    """Several things in one line: “4-bit weights, rows of 512 tokens”."""
    joined = ""
    for text in dict.fromkeys(texts):
        joined = f"{joined}, {text}" if joined else text
    return joined


def single(trials: Trials, option: Option) -> Taken | None:
    """The mildest strength that fits; else the strongest if it helps enough to be worth a click."""
    fitting = mildest(trials, trials.first, option)
    if fitting is not None:
        return fitting
    change = option.strongest
    trial = trials.take(edited(trials.first.spec, change.edits))
    if trial is None or trial.peak > trials.first.peak * (1 - LEAST_GAIN):
        return None
    if trial.ground.kind != trials.first.ground.kind:
        return None  # less memory on a device that has even less is no help
    return Taken(((option, change),), trial)


def free_for(trial: Trial) -> int:
    """How much memory has to be free for a run to fit."""
    return math.ceil(trial.peak / FITS_SHARE)


def _sentence(now: Trial, best: Offer | None, needed: int) -> str:
    free = format_bytes(now.ground.free_bytes)
    if best is not None:
        return f"{best.title}: the run then takes about {format_bytes(best.peak_bytes)} of {free} free."
    return (
        f"No change of settings is enough: with all of them the run still needs {format_bytes(needed)} of free memory, "
        f"and {free} are free. {LARGER}"
    )
