"""From encoded rows to tensors: one packed row per pass, with everything about it computed once, on the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from core.data.packing import pack
from core.data.types import Encoded
from core.engine.attention import Documents


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
    tokens: list[int] = []
    positions: list[int] = []
    keep: list[int] = []
    for row in rows:
        start = len(tokens)
        tokens.extend(row.tokens)
        positions.extend(range(len(row.tokens)))
        keep.extend(start + index - 1 for index, trained in enumerate(row.trained) if trained and index > 0)
    ids = torch.tensor(tokens, dtype=torch.long)
    chosen = torch.tensor(keep, dtype=torch.long)
    return Pass(
        tokens=ids[None].to(device),
        positions=torch.tensor(positions, dtype=torch.long)[None].to(device),
        documents=Documents.of_lengths(tuple(len(row.tokens) for row in rows), device),
        keep=chosen.to(device),
        targets=ids[chosen + 1].to(device),
    )


def make_passes(rows: Sequence[Encoded], budget: int, packing: bool, device: torch.device) -> Iterator[Pass]:
    """The rows of a step (or of a validation set) as passes of at most ``budget`` tokens each.

    Passes without a supervised token are left out: they would cost time and teach nothing.
    """
    if packing:
        groups: Sequence[Sequence[int]] = pack([len(row.tokens) for row in rows], budget)
    else:
        groups = [[index] for index in range(len(rows))]
    for group in groups:
        made = make_pass([rows[index] for index in group], device)
        if made.num_supervised:
            yield made
