"""What a pass is learned by: a loss, and what is told beside it."""

from collections.abc import Sequence
from typing import Protocol

import torch

from core.data.types import EncodedRow
from core.engine.loss import LossHead
from core.engine.passes import Pass


class Objective(Protocol):
    """A sum over rows that is to become small.

    Attributes:
        numbers: how many numbers `of_pass` gives.
    """

    @property
    def numbers(self) -> int:
        """See above."""

    def of_pass(self, head: LossHead, one: Pass) -> torch.Tensor:
        """Sums over a pass (numbers,), float32: first the loss, which is learned from, then what is told beside it.

        Call it inside `attention.documents`. It adds up: all that a step says is the sum over its passes, divided by
        `weight` of its rows, so that the size of a pass changes nothing.
        """

    def weight(self, rows: Sequence[EncodedRow]) -> int:
        """What the sums over these rows are divided by."""


class TokenObjective:
    """The mean cross-entropy of all tokens that carry loss."""

    numbers = 1

    def of_pass(self, head: LossHead, one: Pass) -> torch.Tensor:
        """The summed loss of the pass's tokens, (1,)."""
        return head.summed(one).reshape(1)

    def weight(self, rows: Sequence[EncodedRow]) -> int:
        """How many tokens carry loss."""
        return sum(row.supervised for row in rows)


BY_TOKENS = TokenObjective()
