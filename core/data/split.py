"""Which rows are measured instead of trained. What belongs together stays together, so nothing learned is examined."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from core.data.near import near_groups
from core.data.sides import answers_of
from core.data.types import Sample
from core.spec.sections import ValidationGroups

_FEWEST_ROWS = 10
_quoted = json.encoder.encode_basestring_ascii
"""What the encoder itself does to a text. Most rows are words alone, whose JSON is written faster without it."""

_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=True, default=str)


def content_key(sample: Sample) -> bytes:
    """A hash of what a row says (not of where it stands): equal for exact duplicates only."""
    if sample.rejected:
        own = [[turn.role, turn.content, dict(turn.extra)] for turn in sample.rejected]
        return _hashed(_ENCODER.encode([side_key(sample).hex(), own]))
    if sample.messages and not sample.tools and not any(message.extra for message in sample.messages):
        turns = ", ".join([f"[{_quoted(turn.role)}, {_quoted(turn.content)}, {{}}]" for turn in sample.messages])
        return _hashed(f"[[{turns}], {_quoted(sample.prompt)}, {_quoted(sample.completion)}, []]")
    content = (
        [[message.role, message.content, dict(message.extra)] for message in sample.messages],
        sample.prompt,
        sample.completion,
        [dict(tool) for tool in sample.tools],
    )
    return _hashed(_ENCODER.encode(content))


def side_key(sample: Sample) -> bytes:
    """The same without the worse answer of a pair: rows that agree in it have to be on the same side."""
    return content_key(replace(sample, rejected=()) if sample.rejected else sample)


def worse_key(sample: Sample) -> bytes:
    """A hash of the worse answer of a pair alone, whatever it answers; empty for any other row."""
    if not sample.rejected:
        return b""
    return _hashed(_ENCODER.encode([[turn.role, turn.content, dict(turn.extra)] for turn in answers_of(sample)[1]]))


def _hashed(blob: str) -> bytes:
    return hashlib.sha256(blob.encode("ascii")).digest()[:16]


def group_keys(
    samples: Sequence[Sample], groups: ValidationGroups, *, alive: Callable[[], None] | None = None
) -> list[bytes]:
    """A key for each row that is the same for all rows that have to be on the same side, and only for those.

    It hangs on what the rows say and not on their order: the smallest `side_key` of all rows that belong together, be
    it directly or through others. Pairs with the same prompt and the same better answer count as equal.

    Args:
        samples: the rows, repeated ones included.
        groups: what belongs together besides equal rows, as the spec says it.
        alive: called now and then; what it raises ends the work.
    """
    keys = [side_key(sample) for sample in samples]
    if groups == "equal":
        return keys
    by_key = dict(zip(keys, samples, strict=True))
    ordered = sorted(by_key)  # near-duplicates are looked for in an order of their own: the result may hang on it
    if groups == "near":
        joined = near_groups([by_key[key] for key in ordered], alive=alive)
        return _joined(keys, ([ordered[place] for place in group] for group in joined))
    files: dict[str, list[bytes]] = {}
    for key, sample in zip(keys, samples, strict=True):
        files.setdefault(sample.place.rpartition(":")[0], []).append(key)
    return _joined(keys, files.values())


def _joined(keys: Sequence[bytes], groups: Iterable[Sequence[bytes]]) -> list[bytes]:
    """For each key the smallest one of all those that groups connect it with."""
    roots = {key: key for key in keys}

    def root(key: bytes) -> bytes:
        while roots[key] != key:
            roots[key] = roots[roots[key]]
            key = roots[key]
        return key

    for group in groups:
        for key in group[1:]:
            one, other = sorted((root(group[0]), root(key)))
            roots[other] = one
    return [root(key) for key in keys]


def hold_back(keys: Sequence[bytes], share: float, seed: int) -> frozenset[int]:
    """The rows that are kept for validation.

    Rows with the same key go to the same side. The choice depends on the keys and the seed alone, not on the order of
    the rows. At least one row is held back where there are ten or more, and at least one is always trained.

    Args:
        keys: of each row, as `group_keys` makes them.
        share: wanted share of the rows, 0 to 1.
        seed: the run's seed.

    Returns:
        Indices into ``keys``; at most the wanted share, less only where a group does not fit.
    """
    wanted = wanted_rows(len(keys), share)
    groups: dict[bytes, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    held: list[int] = []
    for _, key in sorted((rank_of(key, seed), key) for key in groups):
        group = groups[key]
        if len(held) + len(group) <= wanted:
            held.extend(group)
        if len(held) == wanted:
            break
    return frozenset(held)


def wanted_rows(count: int, share: float) -> int:
    """How many of so many rows are held back if every group of equal rows fits."""
    wanted = round(count * share)
    if share > 0 and count >= _FEWEST_ROWS:
        wanted = max(1, wanted)
    return max(0, min(wanted, count - 1))


def rank_of(key: bytes, seed: int) -> bytes:
    """Where a group of equal rows stands in the order in which groups are held back."""
    return hashlib.sha256(f"validation {seed} ".encode() + key).digest()
