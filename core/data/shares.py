"""How the rows of a step are shared among processes: a pure function, so that every process knows all shares."""

from collections.abc import Sequence


def shares(lengths: Sequence[int], processes: int) -> tuple[tuple[int, ...], ...]:
    """The positions of the rows that each process takes, of rows with these lengths in tokens.

    Longest first, each to the process with the fewest tokens so far (Graham 1969: at most 4/3 of the best balance);
    within a share, rows keep their order. Processes may go without when there are fewer rows than processes.
    """
    taken: list[list[int]] = [[] for _ in range(processes)]
    tokens = [0] * processes
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        least = min(range(processes), key=tokens.__getitem__)
        taken[least].append(index)
        tokens[least] += lengths[index]
    return tuple(tuple(sorted(share)) for share in taken)
