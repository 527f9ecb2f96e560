"""The validation loss: the mean that is learned by, over rows that are never trained."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from core.data.types import EncodedRow
from core.engine.attention import documents
from core.engine.distributed import Group
from core.engine.loss import LossHead
from core.engine.objective import BY_TOKENS, Objective
from core.engine.passes import make_passes
from core.engine.spread import company


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes:
        loss: the mean of what is learned by: per supervised token, or per pair.
        tokens: how many tokens carry loss.
        told: what the objective tells beside the loss, divided as the loss is.
    """

    loss: float
    tokens: int
    seconds: float
    told: tuple[float, ...] = ()


def evaluate(
    head: LossHead,
    rows: Sequence[EncodedRow],
    *,
    budget: int,
    packing: bool,
    device: torch.device,
    on_pass: Callable[[int, int], bool] | None = None,
    group: Group | None = None,
    spread: bool = False,
    objective: Objective = BY_TOKENS,
) -> Evaluation | None:
    """Measures the loss without touching the model's state or any source of chance.

    Args:
        head: the loss head in use.
        rows: the validation rows.
        budget: tokens a pass.
        packing: whether rows share a pass.
        device: where the model is.
        on_pass: called with (passes done, passes in all); returning False gives up and the result is None.
        group: the processes that share the rows; where one gives up, all do.
        spread: whether they share the base as well, and so have to make equally many passes.
        objective: what is learned by.
    """
    began = time.monotonic()
    was_training = head.model.training
    head.model.eval()
    total = torch.zeros(objective.numbers, dtype=torch.float32, device=device)
    given_up = False
    own = rows if group is None else group.share(rows)
    try:
        with torch.no_grad():
            passes = list(make_passes(own, budget, packing, device))
            others = company(group, len(passes), rows, device) if group is not None and spread else []
            for index, one in enumerate((*passes, *others)):
                given_up = on_pass is not None and not on_pass(min(index, len(passes)), len(passes))
                if group is not None and spread:
                    (given_up,) = group.any_of((given_up,))
                if given_up:
                    break
                with documents(one.documents):
                    if index < len(passes):
                        total += objective.of_pass(head, one)
                    else:
                        head.summed(one)
    finally:
        head.model.train(was_training)
    numbers = [*total.tolist(), float(given_up)]
    if group is not None:
        numbers = group.sums(numbers)
    *sums, interrupted = numbers
    if interrupted:
        return None
    loss, *told = (number / max(objective.weight(rows), 1) for number in sums)
    tokens = sum(row.supervised for row in rows)
    return Evaluation(loss, tokens, time.monotonic() - began, tuple(told))
