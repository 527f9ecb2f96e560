"""From encoded rows to tensors: one packed row per pass, with everything about it computed once, on the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.data.packing import pack
from core.data.types import Encoded
from core.engine.attention import Documents
from core.engine.placing import to_device


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward (and backward) through the model.

    Attributes:
        tokens: (1, T) token ids of all documents, one after another; there is no padding.
        positions: (1, T) positions that start again at 0 in each document.
        documents: where the documents begin and end.
        keep: (K,) indices of the positions whose next token carries loss.
        targets: (K,) those next tokens; labels are shifted here and nowhere else.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    documents: Documents
    keep: torch.Tensor
    targets: torch.Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model."""
        return self.tokens.shape[1]

    @property
    def num_supervised(self) -> int:
        """Tokens that carry loss."""
        return self.keep.shape[0]


def make_pass(rows: Sequence[Encoded], device: torch.device) -> Pass:
    """Lays rows one after another. The first token of a row is never a target, so no row predicts its neighbour."""
    marks = np.frombuffer(b"".join(row.marks for row in rows), np.uint8)
    lengths = np.array([len(row) for row in rows], np.int64)
    firsts = np.cumsum(lengths) - lengths
    learned = marks.astype(bool)
    learned[firsts[lengths > 0]] = False
    ids = torch.from_numpy(np.frombuffer(b"".join(row.ids for row in rows), np.int32).astype(np.int64))
    chosen = torch.from_numpy(np.flatnonzero(learned) - 1)
    positions = torch.from_numpy(np.arange(len(marks)) - np.repeat(firsts, lengths))
    return Pass(
        tokens=to_device(ids[None], device),
        positions=to_device(positions[None], device),
        documents=Documents.of_lengths(tuple(len(row) for row in rows), device),
        keep=to_device(chosen, device),
        targets=to_device(ids[chosen + 1], device),
    )


def make_passes(rows: Sequence[Encoded], budget: int, packing: bool, device: torch.device) -> Iterator[Pass]:
    """The rows of a step (or of a validation set) as passes of at most ``budget`` tokens each.

    Passes without a supervised token are left out: they would cost time and teach nothing.
    """
    if packing:
        groups: Sequence[Sequence[int]] = pack([len(row) for row in rows], budget)
    else:
        groups = [[index] for index in range(len(rows))]
    for group in groups:
        made = make_pass([rows[index] for index in group], device)
        if made.num_supervised:
            yield made
