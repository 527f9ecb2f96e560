"""Which rows are held back for validation: what `core.data.split` does, with arrays and for millions of rows."""

import itertools
from collections.abc import Sequence
from typing import Any

from core.data.split import rank_of, wanted_rows

_BLOCK = 10_000
"""Numbers are turned into Python's objects, which are large, so many at a time."""


def held_back(keys: Any, share: float, seed: int) -> Any:
    """The places of the rows that are held back, ascending; the same as `core.data.split.hold_back`.

    Args:
        keys: of each row 16 bytes that all rows share which have to be on the same side.
        share: wanted share of the rows, 0 to 1.
        seed: the run's seed.
    """
    import numpy as np

    wanted = wanted_rows(len(keys), share)
    if not wanted:
        return np.zeros(0, np.int64)
    ranks = np.empty(len(keys), "V16")
    for start in range(0, len(keys), _BLOCK):
        block = b"".join(rank_of(bytes(key), seed)[:16] for key in keys[start : start + _BLOCK])
        ranks[start : start + _BLOCK] = np.frombuffer(block, "V16")
    order = np.argsort(ranks, kind="stable")  # rows with one key follow each other
    begins = np.ones(len(keys), bool)
    for start in range(1, len(keys), _BLOCK):
        piece = ranks[order[start - 1 : start + _BLOCK]]
        begins[start : start + _BLOCK] = piece[1:] != piece[:-1]
    edges = np.append(np.flatnonzero(begins), len(keys))
    chosen, count = np.zeros(len(keys), bool), 0
    for start in range(0, len(edges) - 1, _BLOCK):
        for begin, end in itertools.pairwise(edges[start : start + _BLOCK + 1].tolist()):
            if count + end - begin <= wanted:
                chosen[order[begin:end]] = True
                count += end - begin
        if count == wanted:
            break
    return np.flatnonzero(chosen)


def keys_of_groups(keys: Any, groups: Sequence[Sequence[int]]) -> Any:
    """The keys, with the smallest one of each group for all of its rows."""
    joined = keys.copy()
    for group in groups:
        if rows := list(group):
            joined[rows] = min(bytes(key) for key in keys[rows])
    return joined


def keys_of_files(keys: Any, files: Any) -> Any:
    """The keys, with the smallest one of a file for all of its rows; files with an equal row are as one.

    Args:
        keys: of each row.
        files: the number of the file that each row stands in, from 0 on.
    """
    import numpy as np

    distinct, ranks = np.unique(keys, return_inverse=True)
    roots = np.arange(int(files.max(initial=-1)) + 1)

    def root(file: int) -> int:
        while (above := int(roots[file])) != file:
            roots[file] = roots[above]
            file = int(roots[file])
        return file

    order = np.argsort(ranks, kind="stable")
    is_shared = ranks[order[1:]] == ranks[order[:-1]]
    for one, other in np.unique(np.stack([files[order[:-1]], files[order[1:]]], axis=1)[is_shared], axis=0).tolist():
        low, high = sorted((root(one), root(other)))
        roots[high] = low
    owners = np.array([root(file) for file in range(len(roots))], np.int64)[files]
    least = np.full(len(roots), len(distinct), np.int64)
    np.minimum.at(least, owners, ranks)
    return distinct[least[owners]]
