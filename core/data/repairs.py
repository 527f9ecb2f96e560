"""The repairs that a spec asks for, done on rows in memory while they are read. No file is ever changed.

What each of them does is said once, in `core.spec.repairs`. Those of single rows come first, while a file is read; then
those that compare rows; and splitting last, when it is clear which rows are trained.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.data import flaws
from core.data.mojibake import mend_mojibake
from core.data.near import Alive, near_groups
from core.data.sides import sides_of
from core.data.split import content_key, worse_key
from core.data.turn_order import begins_with_answer, find_disorder, merge_turns, trim_turns
from core.data.types import Message, Sample
from core.spec.repairs import REPAIRS

WHOLE_SET_REPAIRS = ("drop_duplicates", "drop_near_duplicates", "split_long")
"""Those that cannot be done to a row while it is read."""

_Mend = Callable[[Sample], Sample | None]


class RowRepairs:
    """The repairs that look at one row at a time.

    Attributes:
        counts: how many rows each repair changed or left out so far; those that changed none are not in it.
    """

    def __init__(self, names: Collection[str]) -> None:
        """Takes the names of `core.spec.repairs`; those that compare or split rows are passed over."""
        self.counts: Counter[str] = Counter()
        self._steps = [(name, _ROW_REPAIRS[name]) for name in REPAIRS if name in names and name in _ROW_REPAIRS]

    def mend(self, sample: Sample) -> Sample | None:
        """The row as the repairs leave it, the very same if there is nothing to do; None for one that is left out."""
        for name, step in self._steps:
            mended = step(sample)
            if mended is sample:
                continue
            self.counts[name] += 1
            if mended is None:
                return None
            sample = mended
        return sample


def drop_repeated(
    files: Sequence[Sequence[Sample]], names: Collection[str], alive: Alive | None = None
) -> tuple[list[list[Sample]], Counter[str]]:
    """The rows of several files without those that a file before or the same one has already, and how many those were.

    Args:
        files: the rows of each file.
        names: the repairs that are asked for; without “drop_duplicates” and “drop_near_duplicates” nothing is done.
        alive: called now and then; what it raises ends the work.
    """
    counts: Counter[str] = Counter()
    if not {"drop_duplicates", "drop_near_duplicates"} & {*names}:
        return [list(samples) for samples in files], counts
    rows = [(place, sample) for place, samples in enumerate(files) for sample in samples]
    if "drop_duplicates" in names:
        known: set[bytes] = set()
        fresh = []
        for row in rows:
            key = content_key(row[1])
            if key not in known:
                known.add(key)
                fresh.append(row)
        counts["drop_duplicates"] = len(rows) - len(fresh)
        rows = fresh
    if "drop_near_duplicates" in names:
        groups = near_groups([sample for _, sample in rows], alive=alive)
        repeated = {index for group in groups for index in _later([sample for _, sample in rows], group)}
        counts["drop_near_duplicates"] = len(repeated)
        rows = [row for index, row in enumerate(rows) if index not in repeated]
    kept: list[list[Sample]] = [[] for _ in files]
    for place, sample in rows:
        kept[place].append(sample)
    return kept, +counts


def _later(samples: Sequence[Sample], group: Sequence[int]) -> list[int]:
    """The rows of a group but the first; of pairs that differ in their worse answers, but the first with each."""
    return later_of([(index, worse_key(samples[index])) for index in group])


def later_of(group: Iterable[tuple[int, bytes]]) -> list[int]:
    """Those of rows that say almost the same which teach nothing new, given with their `worse_key`."""
    known: set[bytes] = set()
    found = []
    for row, worse in group:
        if worse in known:
            found.append(row)
        known.add(worse)
    return found


def _on_both(step: _Mend) -> _Mend:
    """A repair that looks at both answers of a pair; a row that loses either of them is left out."""

    def mend(sample: Sample) -> Sample | None:
        if not sample.rejected:
            return step(sample)
        sides = sides_of(sample)
        better, worse = map(step, sides)
        if better is None or worse is None:
            return None
        unchanged = better is sides[0] and worse is sides[1]
        return sample if unchanged else replace(better, rejected=worse.messages)

    return mend


def _fix_encoding(sample: Sample) -> Sample:
    if flaws.find_mistaken_encoding(sample) is None:
        return sample
    return replace(
        sample,
        messages=tuple(_mend_message(message) for message in sample.messages),
        prompt=mend_mojibake(sample.prompt),
        completion=mend_mojibake(sample.completion),
    )


def _mend_message(message: Message) -> Message:
    return replace(message, content=mend_mojibake(message.content), extra=_mend_value(message.extra))


def _mend_value(value: Any) -> Any:
    """Structured data with every text in it mended, such as reasoning and the arguments of calls."""
    if isinstance(value, str):
        return mend_mojibake(value)
    if isinstance(value, Mapping):
        return {name: _mend_value(item) for name, item in value.items()}
    return [_mend_value(item) for item in value] if isinstance(value, list | tuple) else value


def _drop_if(*finders: Callable[[Sample], object]) -> _Mend:
    return lambda sample: None if any(find(sample) for find in finders) else sample


_ROW_REPAIRS: Mapping[str, _Mend] = {
    "fix_encoding": _on_both(_fix_encoding),
    "merge_turns": _on_both(merge_turns),
    "trim_turns": _on_both(trim_turns),
    "drop_wrong_order": _on_both(_drop_if(begins_with_answer, find_disorder)),
    "drop_damaged": _on_both(_drop_if(flaws.find_lost_letters, flaws.find_mistaken_encoding)),
    "drop_placeholders": _drop_if(flaws.find_placeholder),
    "drop_loops": _drop_if(flaws.find_loop),
    "drop_refusals": _drop_if(flaws.find_refusal),
}
