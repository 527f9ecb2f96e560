"""Several files in one epoch: how often the rows of each are taken, by their weights."""

import random
from collections.abc import Mapping, Sequence

from core.data.order import seed_number
from core.data.reading import FileSamples
from core.data.types import Sample
from core.spec.weights import weight_of


def mix(files: Sequence[FileSamples], weights: Mapping[str, float], seed: int) -> list[Sample]:
    """The rows that an epoch takes, file by file; a row that it takes twice is there twice.

    A weight of 2.5 takes every row twice and half of them, chosen by the seed, once more. The choice hangs on the
    file's content and the seed alone, so it is the same wherever the file lies, and in every epoch.

    Args:
        files: what was read, in the order of the spec.
        weights: as the spec states them; files without one count once.
        seed: the run's seed.
    """
    rows: list[Sample] = []
    for file in files:
        taken = taken_rows(len(file.samples), weight_of(file.facts.path, weights), file.facts.sha256, seed)
        rows.extend(file.samples[index] for index in taken)
    return rows


def taken_rows(count: int, weight: float, identity: str, seed: int) -> list[int]:
    """Indices below ``count``, each as often as the weight says; the wanted number of rows is met to the row.

    Args:
        count: rows of a file.
        weight: how often an epoch takes each of them.
        identity: the hash of the file's content; of no matter where the weight is a whole number.
        seed: the run's seed.
    """
    whole = int(weight)
    rest = round((weight - whole) * count)
    indices = list(range(count)) * whole
    if rest:
        source = random.Random(seed_number("weight", seed, identity))  # noqa: S311 (a choice, not a secret)
        ranked = sorted((source.random(), index) for index in range(count))
        indices += sorted(index for _, index in ranked[:rest])
    return indices
