"""From encoded rows to tensors: one packed row per pass, with everything about it computed once, on the host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.data.packing import pack
from core.data.types import EncodedRow, Pair
from core.engine.attention import Documents
from core.engine.placing import to_device


@dataclass(frozen=True, slots=True)
class Answers:
    """Which tokens of a pass belong to which of two answers, for P pairs: 2P documents, the chosen of each pair first.

    Attributes:
        owners: (K,) the document of each supervised token, ascending.
        lengths: (2P,) supervised tokens of each document.
        reference: (P, 2) float64, log-probabilities of the chosen and the rejected answer before the training; None
            where one of them has not been measured.
    """

    owners: torch.Tensor
    lengths: torch.Tensor
    reference: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward (and backward) through the model.

    Attributes:
        tokens: (1, T) token ids of all documents, one after another; there is no padding.
        positions: (1, T) positions that start again at 0 in each document.
        documents: where the documents begin and end.
        keep: (K,) indices of the positions whose next token carries loss.
        targets: (K,) those next tokens; labels are shifted here and nowhere else.
        answers: what is known of the answers where the rows are pairs of them.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    documents: Documents
    keep: torch.Tensor
    targets: torch.Tensor
    answers: Answers | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model."""
        return self.tokens.shape[1]

    @property
    def num_supervised(self) -> int:
        """Tokens that carry loss."""
        return self.keep.shape[0]


def make_pass(rows: Sequence[EncodedRow], device: torch.device) -> Pass:
    """Lays rows one after another; the two answers of a pair are documents of their own.

    The first token of a document is never a target, so none predicts its neighbour.
    """
    texts = [text for row in rows for text in row.documents]
    marks = np.frombuffer(b"".join(text.marks for text in texts), np.uint8)
    lengths = np.array([len(text) for text in texts], np.int64)
    firsts = np.cumsum(lengths) - lengths
    learned = marks.astype(bool)
    learned[firsts[lengths > 0]] = False
    ids = torch.from_numpy(np.frombuffer(b"".join(text.ids for text in texts), np.int32).astype(np.int64))
    chosen = torch.from_numpy(np.flatnonzero(learned) - 1)
    positions = torch.from_numpy(np.arange(len(marks)) - np.repeat(firsts, lengths))
    pairs = [row for row in rows if isinstance(row, Pair)]
    return Pass(
        tokens=to_device(ids[None], device),
        positions=to_device(positions[None], device),
        documents=Documents.of_lengths(tuple(len(text) for text in texts), device),
        keep=to_device(chosen, device),
        targets=to_device(ids[chosen + 1], device),
        answers=_answers(pairs, np.repeat(np.arange(len(texts)), lengths)[learned], device) if pairs else None,
    )


def _answers(
    pairs: Sequence[Pair], owners: "np.ndarray[tuple[int], np.dtype[np.int64]]", device: torch.device
) -> Answers:
    measured = [pair.reference for pair in pairs if pair.reference is not None]
    whole = len(measured) == len(pairs)
    return Answers(
        owners=to_device(torch.from_numpy(owners), device),
        lengths=to_device(torch.from_numpy(np.bincount(owners, minlength=2 * len(pairs))), device),
        reference=to_device(torch.tensor(measured, dtype=torch.float64), device) if whole else None,
    )


def make_passes(rows: Sequence[EncodedRow], budget: int, packing: bool, device: torch.device) -> Iterator[Pass]:
    """The rows of a step (or of a validation set) as passes of at most ``budget`` tokens each; no row is split.

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
