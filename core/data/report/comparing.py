"""What rows are to each other: equal, almost equal, on both sides, or far longer than all others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.data.mixing import taken_rows
from core.data.near import Alive, text_of
from core.data.reading import file_hash, keep_some
from core.data.repairs import later_of
from core.data.report.scan import Scan
from core.data.report.sides import held_back, keys_of_files, keys_of_groups
from core.spec.sections import DataSpec
from core.spec.weights import weight_of

_FENCE = 3.0
"""Tukey's outer fence ("Exploratory Data Analysis", 1977): what lies three times the width of the middle half outside
of it is far out."""
_LEAST_SPREAD = 0.4
"""The middle half is taken to be at least so wide, in powers of e, or rows of one length would leave no room at all."""
_FEWEST = 100
"""Of fewer rows nobody can say what is usual."""


@dataclass(slots=True)
class Comparison:
    """Rows by their numbers in the table; every array of numbers ascends.

    Attributes:
        is_training: for each row whether it is on the side that is trained.
        is_kept: for each row whether it is used: left after the repairs that compare rows, taken by an epoch, and not
            left out of the validation because it is trained.
        times: for each row how often an epoch takes it, by the weights and the most rows that the spec asks for; on
            whichever side it is, and 1 for the rows of validation files.
        equal: training rows that say what one before them says.
        near: those that say almost the same, and are not equal.
        leaked: rows that are measured although a trained row resembles them.
        unmeasured: rows of validation files that are left out because they are trained.
        unused: how many training rows an epoch does not take, because of weights or of the most rows.
        dropped: how many rows each repair that compares rows left out.
        is_complete: whether the near-duplicates were looked for to the end.
    """

    is_training: Any
    is_kept: Any
    times: Any
    equal: Any
    near: Any
    leaked: Any
    unmeasured: Any
    unused: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    is_complete: bool = True


def compare_rows(scan: Scan, spec: DataSpec, seed: int, alive: Alive) -> Comparison:
    """Finds what is there twice, and what is on both sides; reads candidates once more from their files."""
    import numpy as np

    count, keys = len(scan.table), scan.table.column("keys")
    groups = _near_groups(scan, alive)
    equal = _repeated(keys[: scan.trained])
    near = np.array(sorted(_later(groups, scan)), np.int64)
    found = Comparison(
        is_training=np.arange(count) < scan.trained,
        is_kept=np.ones(count, bool),
        times=np.ones(count, np.int64),
        equal=equal,
        near=np.setdiff1d(near, equal),
        leaked=_none(),
        unmeasured=_none(),
        is_complete=scan.near.is_complete,
    )
    if "drop_duplicates" in spec.repairs:
        found.dropped["drop_duplicates"] = _drop(found, equal)
    if "drop_near_duplicates" in spec.repairs:
        found.dropped["drop_near_duplicates"] = _drop(found, near)
    pool = _take(found, scan, spec, seed, alive)
    if found.unused:  # rows are alike because of the rows that are there, not of those that nobody takes
        groups = _near_groups(scan, alive, np.flatnonzero(found.is_kept))
        kept = np.flatnonzero(found.is_kept[: scan.trained])
        found.equal = kept[_repeated(keys[kept])]
        found.near = np.setdiff1d(np.array(sorted(_later(groups, scan)), np.int64), found.equal)
    together = groups
    if spec.validation_groups == "near" and (spec.validation or spec.validation_share):
        rows = np.flatnonzero(found.is_kept)
        together = _near_groups(
            scan, alive, rows[np.argsort(scan.table.column("sides")[rows], kind="stable")]
        )  # as `core.data.split` does
    if spec.validation:
        _leave_out_trained(found, scan, spec, together)
    else:
        _hold_back(found, pool, scan, spec, seed, together)
    found.leaked = np.array(sorted(_on_both_sides(groups, found)), np.int64)
    found.equal, found.near = (rows[found.is_kept[rows]] for rows in (found.equal, found.near))
    return found


def _leave_out_trained(found: Comparison, scan: Scan, spec: DataSpec, groups: Sequence[Sequence[int]]) -> None:
    """Rows of validation files that are trained are not measured; nor those that resemble one, if the spec says so."""
    import numpy as np

    keys = scan.table.column("sides")
    known = np.isin(keys[scan.trained :], keys[: scan.trained][found.is_kept[: scan.trained]])
    if spec.validation_groups == "near":
        known[np.array(list(_on_both_sides(groups, found)), np.int64) - scan.trained] = True
    found.unmeasured = scan.trained + np.flatnonzero(known)
    found.is_kept[found.unmeasured] = False


def _take(found: Comparison, scan: Scan, spec: DataSpec, seed: int, alive: Alive) -> Any:
    """The rows that an epoch takes, some of them several times: what `core.data.mixing` does, with numbers of rows."""
    import numpy as np

    weights = [weight_of(name, spec.weights) for name in spec.train]
    if not spec.max_rows and all(weight == 1 for weight in weights):
        return np.flatnonzero(found.is_kept[: scan.trained])
    pool: list[int] = []
    start = 0
    for file, weight, stop in zip(scan.files, weights, scan.stops, strict=False):
        rows = start + np.flatnonzero(found.is_kept[start:stop])
        identity = file_hash(file, alive) if weight % 1 else ""
        pool += rows[np.array(taken_rows(len(rows), weight, identity, seed), np.int64)].tolist()
        start = stop
    taken = np.array(keep_some(pool, spec.max_rows, seed), np.int64)
    found.times[: scan.trained] = np.bincount(taken, minlength=scan.trained)
    is_unused = found.is_kept & (found.times == 0)
    found.unused = int(is_unused.sum())
    found.is_kept[is_unused] = False
    return taken


def _hold_back(
    found: Comparison, rows: Any, scan: Scan, spec: DataSpec, seed: int, groups: Sequence[Sequence[int]]
) -> None:
    """Takes rows out of those that an epoch would take."""
    keys = scan.table.column("sides")
    if spec.validation_share and spec.validation_groups == "near":
        keys = keys_of_groups(keys, [[row for row in group if found.is_kept[row]] for group in groups])
    keys = keys[rows]
    if spec.validation_share and spec.validation_groups == "file":
        keys = keys_of_files(keys, scan.table.file_numbers()[rows])
    found.is_training[rows[held_back(keys, spec.validation_share, seed)]] = False


def unusual_answers(scan: Scan, is_counted: Any) -> tuple[Any, Any]:
    """Training rows whose answers have far fewer, and far more tokens than those of all others."""
    import numpy as np

    answers = scan.table.column("answers")
    rows = np.flatnonzero(is_counted & (answers > 0))
    if len(rows) < _FEWEST:
        return _none(), _none()
    sizes = np.log(answers[rows])
    low, high = np.percentile(sizes, (25, 75))
    reach = _FENCE * max(high - low, _LEAST_SPREAD)
    return rows[sizes < low - reach], rows[sizes > high + reach]


def _near_groups(scan: Scan, alive: Alive, order: Any = None) -> tuple[tuple[int, ...], ...]:
    """Rows that say almost the same: of all, or of those with these numbers, compared in their order."""

    def read(rows: Sequence[int]) -> Iterator[tuple[int, str]]:
        return ((row, text_of(sample)) for row, sample in scan.again(rows))

    return scan.near.groups(read, alive=alive, order=order)


def _repeated(keys: Any) -> Any:
    """Rows whose key a row before them has."""
    import numpy as np

    _, first = np.unique(keys, return_index=True)
    is_repeated = np.ones(len(keys), bool)
    is_repeated[first] = False
    return np.flatnonzero(is_repeated)


def _later(groups: Sequence[Sequence[int]], scan: Scan) -> Iterator[int]:
    """The training rows of each group but the first; of pairs but the first with each worse answer."""
    for group in groups:
        yield from later_of((row, scan.table.worse_of(row)) for row in group if row < scan.trained)


def _on_both_sides(groups: Sequence[Sequence[int]], found: Comparison) -> Iterator[int]:
    """The validation rows of groups with training rows."""
    for group in groups:
        kept = [row for row in group if found.is_kept[row]]
        if any(found.is_training[row] for row in kept):
            yield from (row for row in kept if not found.is_training[row])


def _drop(found: Comparison, rows: Any) -> int:
    """Leaves rows out, and says how many of them were still there."""
    count = int(found.is_kept[rows].sum())
    found.is_kept[rows] = False
    return count


def _none() -> Any:
    import numpy as np

    return np.zeros(0, np.int64)
