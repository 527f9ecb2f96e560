"""Which rows a step learns from: a pure function of the number of rows, the batch, the seed and the step.

Nothing about the order is ever stored; a run that resumes asks again. The shuffle rests on two promises of Python's
documentation only: an integer seed gives the same generator, and ``random()`` gives the same sequence in every
version. ``shuffle``, ``sample`` and ``randrange`` make no such promise and are not used.
"""

import functools
import hashlib
import random


def seed_number(*parts: object) -> int:
    """An integer seed made of ``parts``, the same on every machine and in every Python version."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:16], "big")


@functools.lru_cache(maxsize=4)
def permutation(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The order of one epoch: every index below ``rows`` once (Fisher and Yates, from the end)."""
    source = random.Random(seed_number("order", seed, epoch))  # noqa: S311 (an order, not a secret)
    order = list(range(rows))
    for last in range(rows - 1, 0, -1):
        other = int(source.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return tuple(order)


def steps_per_epoch(rows: int, effective_batch: int) -> int:
    """How many steps see every row once; the last one may be smaller.

    Raises:
        ValueError: there are no rows, or the batch is not positive.
    """
    if rows < 1 or effective_batch < 1:
        raise ValueError(f"an epoch needs rows and a batch, got {rows} rows and a batch of {effective_batch}")
    return -(-rows // effective_batch)


def epoch_of(rows: int, effective_batch: int, step: int) -> int:
    """The 0-based epoch that a 0-based step belongs to."""
    return step // steps_per_epoch(rows, effective_batch)


def epochs_done(rows: int, effective_batch: int, steps: int) -> float:
    """How much of the data has been seen after so many steps: 1.5 is one epoch and half of the rows of the second."""
    whole, rest = divmod(steps, steps_per_epoch(rows, effective_batch))
    return whole + min(rest * effective_batch, rows) / rows


def step_rows(rows: int, effective_batch: int, seed: int, step: int) -> tuple[int, ...]:
    """The indices of the rows that the 0-based ``step`` learns from.

    Raises:
        ValueError: there are no rows, the batch is not positive, or the step is negative.
    """
    if step < 0:
        raise ValueError(f"steps are counted from 0, got {step}")
    epoch, position = divmod(step, steps_per_epoch(rows, effective_batch))
    start = position * effective_batch
    return permutation(rows, seed, epoch)[start : start + effective_batch]
