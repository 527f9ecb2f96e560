"""Several rows in one pass: first-fit decreasing, which wastes little and needs no luck."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], budget: int) -> tuple[tuple[int, ...], ...]:
    """Groups rows into passes of at most ``budget`` tokens.

    Longest rows first, each into the first pass that still has room; equal lengths keep their order. Takes
    n·log(n) time, so a whole validation set can be packed at once.

    Args:
        lengths: tokens of each row.
        budget: tokens that one pass may hold. A single longer row gets a pass of its own.

    Returns:
        Indices into ``lengths``, every one exactly once; ascending within a pass, passes by their first row.

    Raises:
        ValueError: the budget is not positive or a length is negative.
    """
    if budget < 1:
        raise ValueError(f"a pass must hold at least one token, got a budget of {budget}")
    if any(length < 0 for length in lengths):
        raise ValueError("a row cannot have a negative number of tokens")
    room = _Room(len(lengths), budget)
    passes: dict[int, list[int]] = {}
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        passes.setdefault(room.take(min(lengths[index], budget)), []).append(index)
    return tuple(sorted(tuple(sorted(group)) for group in passes.values()))


class _Room:
    """The free tokens of every pass as a tournament tree: finds the first pass with enough room in log(n) steps."""

    def __init__(self, count: int, budget: int) -> None:
        self._leaves = 1
        while self._leaves < count:
            self._leaves *= 2
        self._free = [budget] * (2 * self._leaves)

    def take(self, length: int) -> int:
        """The first pass that holds ``length`` more tokens, which are taken from it."""
        node = 1
        while node < self._leaves:
            node *= 2
            if self._free[node] < length:
                node += 1
        found = node - self._leaves
        self._free[node] -= length
        while node > 1:
            node //= 2
            self._free[node] = max(self._free[2 * node], self._free[2 * node + 1])
        return found
