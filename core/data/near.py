"""Rows that say almost the same: found by MinHash and banding, and proved by the resemblance of their words.

The resemblance of two texts is the share of their shingles that both have (Broder 1997, "On the resemblance and
containment of documents"). MinHash with one permutation (Li, Owen and Zhang 2012), with empty bins filled by rotation
(Shrivastava and Li 2014), makes a short signature of each text; texts whose signatures agree in a band become
candidates (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4); and what is called a near-duplicate
was compared shingle by shingle.
"""

import itertools
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from core.data.shingles import mixed, shingle
from core.data.types import Sample

THRESHOLD = 0.8
"""From this resemblance on two rows are near-duplicates: what Lee et al. 2022, "Deduplicating training data makes
language models better", and RefinedWeb (Penedo et al. 2023) call so."""

BANDS, BAND_VALUES = 10, 5
"""Ten bands of five values: two texts become candidates with a chance of 1 - (1 - s^5)^10 at a resemblance of s, which
is 0.98 at 0.8, 0.9997 at 0.9, and 0.02 at 0.3."""

MOST_SHINGLES = 4096
"""Of longer texts the smallest so many hashes are compared (a bottom-k sketch, Broder 1997): the resemblance is then
known to 1.6 % (one over the root of their number)."""

COMPARISONS = (100_000, 2)
"""So many pairs are compared at most, and so many more for each text: some ten microseconds each, a bounded time."""

_LEADERS = 4
"""Rows of one bucket are compared with at most so many others of it, which bounds the time where buckets are large."""

_BATCH = 256
_PIECE = 16_384
"""Texts whose bands are read at once."""

_VALUE_BYTES = 4
_EMPTY = 0xFFFFFFFF

Alive = Callable[[], None]
Read = Callable[[Sequence[int]], Iterable[tuple[int, str]]]
"""Gives the texts with these numbers (ascending) once more, in their order."""


def text_of(sample: Sample) -> str:
    """What of a row is compared: everything but the system text, which many rows share and which says nothing new."""
    if sample.messages:
        return "\n".join(message.content for message in sample.messages if message.role != "system")
    return f"{sample.prompt}\n{sample.completion}"


def near_groups(
    samples: Sequence[Sample], *, threshold: float = THRESHOLD, alive: Alive | None = None
) -> tuple[tuple[int, ...], ...]:
    """Groups of rows that say the same or almost the same; rows that are like no other are in none.

    Args:
        samples: the rows.
        threshold: the least resemblance, above 0 and up to 1.
        alive: called now and then; what it raises ends the work.

    Returns:
        Indices into ``samples``, ascending within a group, groups by their first row. No row is in two groups.
    """
    with NearIndex() as index:
        for start in range(0, len(samples), _BATCH):
            index.add([text_of(sample) for sample in samples[start : start + _BATCH]])
            if alive:
                alive()
        return index.groups(lambda wanted: ((row, text_of(samples[row])) for row in wanted), threshold, alive)


class NearIndex:
    """Signatures of texts, 8 bytes each in memory and 40 on disk, and the groups that they form.

    Use it as a context manager, or close it: it holds temporary files.

    Attributes:
        is_complete: whether every candidate was compared; else some near-duplicates may not have been found, because
            there were more of them than a bounded time allows.
    """

    def __init__(self) -> None:
        self.is_complete = True
        self._wholes: list[Any] = []
        self._bands = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the index)
        self._count = 0

    def add(self, texts: Sequence[str]) -> None:
        """More texts; they are numbered in the order in which they come."""
        import numpy as np

        found = shingle(texts)
        wholes = np.zeros(len(texts), np.uint64)
        np.add.at(wholes, found.rows, found.values)
        self._wholes.append(wholes)
        _signatures(found.values, found.rows, len(texts)).tofile(self._bands)
        self._count += len(texts)

    def groups(
        self, read: Read, threshold: float = THRESHOLD, alive: Alive | None = None, *, order: Any = None
    ) -> tuple[tuple[int, ...], ...]:
        """The groups of texts that resemble each other; those without a word are in none.

        Args:
            read: gives texts once more.
            threshold: the least resemblance, above 0 and up to 1.
            alive: called now and then; what it raises ends the work.
            order: the numbers of the texts that are compared, in the order in which they are; None for all, ascending.
                Two that both resemble a third one are in one group only because of it, and of many that resemble each
                other in a chain not every pair is compared, so the groups hang on both.
        """
        import numpy as np

        if not self._count:
            return ()
        wholes = np.concatenate(self._wholes)
        self._wholes = [wholes]
        rows = np.arange(self._count) if order is None else order
        roots, firsts = _equal_texts(wholes, rows[wholes[rows] != 0])
        forest = _Forest(roots)
        buckets = list(self._buckets(firsts))
        with _Sketches() as sketches:
            wanted = np.unique(np.concatenate([rows for rows, _ in buckets])) if buckets else np.zeros(0, np.int64)
            sketches.fill(read, wanted, alive)
            self._join(buckets, sketches, forest, threshold, alive)
        return forest.groups()

    def _buckets(self, rows: Any) -> Iterator[tuple[Any, Any]]:
        """For each band the rows that share its value with another, bucket by bucket, and where the buckets begin."""
        import numpy as np

        if not len(rows):
            return
        for band in range(BANDS):
            values = self._read_band(band)[rows]
            order = np.argsort(values, kind="stable")
            ordered = values[order]
            same = ordered[1:] == ordered[:-1]
            kept = np.zeros(len(rows), bool)
            kept[1:] |= same
            kept[:-1] |= same
            begins = np.ones(len(rows), bool)
            begins[1:] = ~same
            if kept.any():
                yield rows[order[kept]], np.flatnonzero(begins[kept])

    def _read_band(self, band: int) -> Any:
        """The values of one band, read piece by piece: a map of the file would be memory as long as it is looked at."""
        import numpy as np

        values = np.empty(self._count, np.uint32)
        self._bands.seek(0)
        for start in range(0, self._count, _PIECE):
            piece = np.fromfile(self._bands, np.uint32, min(_PIECE, self._count - start) * BANDS)
            values[start : start + _PIECE] = piece[band::BANDS]
        self._bands.seek(0, os.SEEK_END)
        return values

    def _join(
        self,
        buckets: Sequence[tuple[Any, Any]],
        sketches: "_Sketches",
        forest: "_Forest",
        threshold: float,
        alive: Alive | None,
    ) -> None:
        import numpy as np

        budget = COMPARISONS[0] + COMPARISONS[1] * self._count
        for rows, begins in buckets:
            for number, bucket in enumerate(np.split(rows, begins[1:])):
                if alive and number % _BATCH == 0:
                    alive()
                leaders: list[int] = []
                for row in bucket.tolist():
                    found = False
                    for leader in leaders:
                        if forest.find(leader) == forest.find(row):
                            found = True
                            break
                        if budget <= 0:
                            self.is_complete = False
                            return
                        budget -= 1
                        if sketches.resemblance(leader, row) >= threshold:
                            forest.join(leader, row)
                            found = True
                            break
                    if not found and len(leaders) < _LEADERS:
                        leaders.append(row)

    def close(self) -> None:
        """Deletes the temporary file."""
        self._bands.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _equal_texts(wholes: Any, rows: Any) -> tuple[Any, Any]:
    """For every text the first one with the same shingles, and those first ones, of which alone others can be like.

    As `numpy.unique` would tell, with half of its arrays: those of a million texts are eight megabytes each.
    """
    import numpy as np

    values = wholes[rows]
    order = np.argsort(values, kind="stable")
    values = values[order]
    begins = np.ones(len(rows), bool)
    begins[1:] = values[1:] != values[:-1]
    del values
    alike = rows[order]
    firsts = rows[np.sort(order[begins])]
    del order
    roots = np.arange(len(wholes))
    roots[alike] = np.repeat(alike[begins], np.diff(np.flatnonzero(begins), append=len(rows)))
    return roots, firsts


def _signatures(values: Any, rows: Any, count: int) -> Any:
    """The hash of each band of each text, made of the smallest shingle hash in each bin."""
    import numpy as np

    bins = BANDS * BAND_VALUES
    table = np.full((count, bins), _EMPTY, np.uint32)
    places = rows * bins + (((values & np.uint64(_EMPTY)) * np.uint64(bins)) >> np.uint64(32)).astype(np.int64)
    np.minimum.at(table.reshape(-1), places, (values >> np.uint64(32)).astype(np.uint32))
    table = _without_holes(table)
    whole = np.zeros((count, BANDS), np.uint64)
    for part in range(BAND_VALUES):
        whole = mixed(whole + table[:, part::BAND_VALUES].astype(np.uint64) + np.uint64(1 + part))
    return (whole >> np.uint64(32)).astype(np.uint32)


def _without_holes(table: Any) -> Any:
    """Empty bins take the value of the next one that is not, changed by how far it is (Shrivastava and Li 2014)."""
    import numpy as np

    bins = table.shape[1]
    twice = np.concatenate([table, table], axis=1)
    places = np.where(twice != _EMPTY, np.arange(2 * bins), 2 * bins - 1)
    nearest = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1][:, :bins]
    far = (nearest - np.arange(bins)).astype(np.uint32)
    return np.take_along_axis(twice, nearest, axis=1) + far * np.uint32(0x9E3779B1)


class _Forest:
    """Which rows hang together, as trees whose root is the first row."""

    def __init__(self, roots: Any) -> None:
        self.roots = roots

    def find(self, row: int) -> int:
        """The root of a row's tree."""
        path = []
        while (above := int(self.roots[row])) != row:
            path.append(row)
            row = above
        for passed in path:
            self.roots[passed] = row
        return row

    def join(self, one: int, other: int) -> None:
        """Two trees become one."""
        first, second = sorted((self.find(one), self.find(other)))
        self.roots[second] = first

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The trees of more than one row."""
        import numpy as np

        roots = self.roots
        while not np.array_equal(above := roots[roots], roots):
            roots = above
        order = np.argsort(roots, kind="stable")
        begins = np.flatnonzero(np.diff(roots[order], prepend=-1))
        sizes = np.diff(begins, append=len(order))
        return tuple(
            tuple(order[begin : begin + size].tolist())
            for begin, size in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True)
        )


class _Sketches:
    """The shingles of candidates, on disk: of each text all, or the smallest so many."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the sketches)
        self._rows: Any = None
        self._ends = array("Q")

    def fill(self, read: Read, rows: Any, alive: Alive | None) -> None:
        """Reads the texts once more and keeps their shingles."""
        import numpy as np

        known = array("q")
        total = 0
        texts = iter(read(array("q", rows.astype(np.int64).tobytes())))
        while batch := list(itertools.islice(texts, _BATCH)):
            known.extend(row for row, _ in batch)
            found = shingle([text for _, text in batch])
            starts = np.searchsorted(found.rows, np.arange(len(batch) + 1))
            for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
                kept = np.unique(found.values[start:stop] >> np.uint64(32))[:MOST_SHINGLES].astype(np.uint32)
                kept.tofile(self._file)
                total += len(kept)
                self._ends.append(total)
            if alive:
                alive()
        self._rows = np.frombuffer(known, np.int64) if known else np.zeros(0, np.int64)

    def resemblance(self, one: int, other: int) -> float:
        """The share of the shingles that both texts have among those that either has; 0 where one is gone."""
        import numpy as np

        first, second = self._of(one), self._of(other)
        if not len(first) or not len(second):
            return 0.0
        both = np.intersect1d(first, second, assume_unique=True)
        if max(len(first), len(second)) < MOST_SHINGLES:
            return len(both) / (len(first) + len(second) - len(both))
        # Of a text whose hashes were cut off, nothing is known beyond the largest that was kept.
        known = min(int(part[-1]) for part in (first, second) if len(part) == MOST_SHINGLES)
        either = np.union1d(first, second)
        return float(np.count_nonzero(both <= known) / np.count_nonzero(either <= known))

    def _of(self, row: int) -> Any:
        import numpy as np

        place = int(np.searchsorted(self._rows, row))
        if place == len(self._rows) or self._rows[place] != row:
            return np.zeros(0, np.uint32)
        start, stop = self._ends[place - 1] if place else 0, self._ends[place]
        self._file.seek(start * _VALUE_BYTES)  # a map of the file would be memory wherever it was looked at
        return np.frombuffer(self._file.read((stop - start) * _VALUE_BYTES), np.uint32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
