"""The cheapest set of changes that fits: taken one after another in the order of preference, then cut to the least."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.errors import Edit
from core.plan.solve.bisect import last_good
from core.plan.solve.changes import SOME, Change, Option, options
from core.plan.solve.trials import Trial, Trials, edited


@dataclass(frozen=True, slots=True)
class Taken:
    """Changes of a run, each with the option it came from, and the trial of all of them together."""

    steps: tuple[tuple[Option, Change], ...]
    trial: Trial

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes, in the order in which they are made."""
        return tuple(change for _, change in self.steps)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of all changes; of several of one setting the last."""
        return tuple({edit.path: edit for change in self.changes for edit in change.edits}.values())


def mildest(trials: Trials, start: Trial, option: Option) -> Taken | None:
    """The mildest strength of one change with which a run fits; None when not even the strongest does."""

    def test(value: int) -> Taken | None:
        change = option.make(value)
        trial = trials.take(edited(start.spec, change.edits), start.facts)
        return Taken(((option, change),), trial) if trial is not None and trial.fits else None

    return last_good(option.values, test)


def smallest(trials: Trials, start: Trial) -> Trial:
    """The run with every change at its strongest: what even the smallest run on this model and device would take."""
    used: set[str] = set()
    at = start
    while True:
        new = [option for option in options(at) if option.kind not in used and not option.alone]
        used.update(option.kind for option in new)
        trial = trials.take(edited(at.spec, [edit for option in new for edit in option.strongest.edits]), at.facts)
        if not new or trial is None or trial.peak >= at.peak:
            return at
        at = trial


def cheapest(trials: Trials, start: Trial) -> Taken | None:
    """The set that fits, None when all changes together do not.

    No change of the set can be left out, and none can be milder, with the others as they are. It is the set that loses
    least, of those that are left when the changes that cost quality are given up in one order or another, each at its
    strongest as long as others may still go.
    """
    taken = _enough(trials, start)
    if taken is None:
        return None
    sets = [_relaxed(trials, start, _without_spare(trials, start, taken))]
    if len(taken.steps) > 1:
        fewest = [_relaxed(trials, start, fewer) for fewer in _fewest(trials, start, taken)]
        sets += [_without_spare(trials, start, fewer) for fewer in fewest]
    return min(sets, key=lambda one: (sum(change.loss for change in one.changes), len(one.changes)))


def _fewest(trials: Trials, start: Trial, taken: Taken) -> Iterator[Taken]:
    """Sets with fewer costly changes, all at their strongest; for each of these one that keeps it as long as it can."""
    strongest = _tried(trials, start, [(option, option.strongest) for option, _ in taken.steps])
    if strongest is None or not strongest.trial.fits:
        return
    seen = set()
    costly = [step for step in strongest.steps if step[1].loss >= SOME]
    for last in costly:
        fewer = _without(trials, start, strongest, sorted(costly, key=lambda step: (step is last, -step[1].loss)))
        kinds = tuple(option.kind for option, _ in fewer.steps)
        if kinds not in seen:
            seen.add(kinds)
            yield fewer


def _without_spare(trials: Trials, start: Trial, taken: Taken) -> Taken:
    """The set without what it can do without; the costliest goes first."""
    return _without(trials, start, taken, sorted(taken.steps, key=lambda step: -step[1].loss))


def _without(trials: Trials, start: Trial, taken: Taken, spare: Iterable[tuple[Option, Change]]) -> Taken:
    for step in spare:
        fewer = _tried(trials, start, [other for other in taken.steps if other is not step])
        if fewer is not None and fewer.trial.fits:
            taken = fewer
    return taken


def _enough(trials: Trials, start: Trial) -> Taken | None:
    """Adds one change after another until the run fits; each at its strongest unless it is the last."""
    used: set[str] = set()
    taken = Taken((), start)
    while not taken.trial.fits:
        step = next(_helping(trials, taken, used), None)
        if step is None:
            return None
        option, trial = step
        if trial.fits and len(option.values) > 1 and not (option.settles and taken.steps):
            last = mildest(trials, taken.trial, option)
            assert last is not None, "the strongest was seen to fit"
            return Taken((*taken.steps, *last.steps), last.trial)
        taken = Taken((*taken.steps, (option, option.strongest)), trial)
    return taken


def _helping(trials: Trials, taken: Taken, used: set[str]) -> Iterator[tuple[Option, Trial]]:
    """Changes that lower the peak of a run; what was looked at once is remembered in ``used``."""
    for option in options(taken.trial):
        if option.kind in used or option.alone:
            continue
        used.add(option.kind)
        trial = trials.take(edited(taken.trial.spec, option.strongest.edits), taken.trial.facts)
        if trial is not None and trial.peak < taken.trial.peak:
            yield option, trial


def _tried(trials: Trials, start: Trial, steps: Iterable[tuple[Option, Change]]) -> Taken | None:
    steps = tuple(steps)
    spec = start.spec
    for _, change in steps:
        spec = edited(spec, change.edits)
    trial = trials.take(spec, start.facts)
    return Taken(steps, trial) if trial is not None else None


def _relaxed(trials: Trials, start: Trial, taken: Taken) -> Taken:
    """Makes every change as mild as the others allow, the costliest first."""
    for option, _ in sorted(taken.steps, key=lambda step: -step[1].loss):
        if len(option.values) > 1 and not (option.settles and len(taken.steps) > 1):
            taken = _milder(trials, start, taken, option)
    return taken


def _milder(trials: Trials, start: Trial, taken: Taken, option: Option) -> Taken:
    def test(value: int) -> Taken | None:
        steps = [(one, one.make(value) if one is option else change) for one, change in taken.steps]
        found = _tried(trials, start, steps)
        return found if found is not None and found.trial.fits else None

    return last_good(option.values, test) or taken
