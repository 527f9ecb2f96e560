"""The loss of each row by itself, measured as training measures the loss of all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from core.data.packing import pack
from core.data.types import EncodedRow
from core.engine.attention import documents
from core.engine.loss import LossHead
from core.engine.passes import make_pass


def row_losses(
    head: LossHead,
    rows: Sequence[EncodedRow],
    *,
    budget: int,
    packing: bool,
    device: torch.device,
    on_pass: Callable[[int, int], bool],
) -> list[float] | None:
    """Summed loss in nats over the tokens that carry loss, for each row; the same passes that `evaluate` makes.

    Args:
        head: the loss head in use.
        rows: each with at least one token that carries loss.
        budget: tokens a pass.
        packing: whether rows share a pass.
        device: where the model is.
        on_pass: called with (passes done, passes in all); returning False gives up and the result is None.
    """
    found = document_losses(head, rows, budget=budget, packing=packing, device=device, on_pass=on_pass)
    return None if found is None else [sum(one) for one in found]


def document_losses(
    head: LossHead,
    rows: Sequence[EncodedRow],
    *,
    budget: int,
    packing: bool,
    device: torch.device,
    on_pass: Callable[[int, int], bool],
) -> list[tuple[float, ...]] | None:
    """`row_losses` with a sum for each document of a row: of a pair, the chosen answer's and the rejected one's."""
    groups = groups_of(rows, budget, packing=packing)
    sums: list[tuple[float, ...]] = [()] * len(rows)
    with measuring(head):
        for done, group in enumerate(groups):
            if not on_pass(done, len(groups)):
                return None
            for index, found in zip(group, pass_losses(head, [rows[index] for index in group], device), strict=True):
                sums[index] = found
    return sums


def groups_of(rows: Sequence[EncodedRow], budget: int, *, packing: bool) -> Sequence[Sequence[int]]:
    """Which rows share a pass of at most so many tokens, by their positions."""
    if packing:
        return pack([len(row) for row in rows], budget)
    return [(index,) for index in range(len(rows))]


@contextmanager
def measuring(head: LossHead) -> Iterator[None]:
    """Has the model compute as it does when it is measured: without dropout, noise and gradients."""
    was_training = head.model.training
    head.model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        head.model.train(was_training)


def pass_losses(head: LossHead, rows: Sequence[EncodedRow], device: torch.device) -> list[tuple[float, ...]]:
    """The summed loss of each document of each row, for rows that share one pass; call it inside `measuring`."""
    step = make_pass(rows, device)
    with documents(step.documents):
        lost = head.token_losses(step).double().cpu()
    # the document of each position; a token is predicted from the one before it, in the same document
    owners = np.searchsorted(step.documents.bounds, step.keep.cpu().numpy(), side="right") - 1
    sums = iter(np.bincount(owners, lost.numpy(), sum(len(row.documents) for row in rows)).tolist())
    return [tuple(next(sums) for _ in row.documents) for row in rows]
