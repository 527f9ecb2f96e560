"""Which rows are measured instead of trained. Equal rows stay together, so nothing is both learned and examined."""

import hashlib
import json
from collections.abc import Sequence

from core.data.types import Sample

_FEWEST_ROWS = 10


def content_key(sample: Sample) -> bytes:
    """A hash of what a row says (not of where it stands): equal for exact duplicates only."""
    content = (
        [[message.role, message.content, dict(message.extra)] for message in sample.messages],
        sample.prompt,
        sample.completion,
        [dict(tool) for tool in sample.tools],
    )
    blob = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(blob.encode("ascii")).digest()[:16]


def hold_back(keys: Sequence[bytes], share: float, seed: int) -> frozenset[int]:
    """The rows that are kept for validation.

    Rows with the same content go to the same side. The choice depends on content and seed alone, not on the order of
    the rows. At least one row is held back where there are ten or more, and at least one is always trained.

    Args:
        keys: `content_key` of each row.
        share: wanted share of the rows, 0 to 1.
        seed: the run's seed.

    Returns:
        Indices into ``keys``; at most the wanted share, less only where a group of duplicates does not fit.
    """
    wanted = round(len(keys) * share)
    if share > 0 and len(keys) >= _FEWEST_ROWS:
        wanted = max(1, wanted)
    groups: dict[bytes, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    held: list[int] = []
    for _, key in sorted((_rank(key, seed), key) for key in groups):
        group = groups[key]
        if len(held) + len(group) <= min(wanted, len(keys) - 1):
            held.extend(group)
        if len(held) == wanted:
            break
    return frozenset(held)


def _rank(key: bytes, seed: int) -> bytes:
    return hashlib.sha256(f"validation {seed} ".encode() + key).digest()
