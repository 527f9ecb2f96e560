"""The validation loss: token-weighted mean over rows that are never trained."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from core.data.types import Encoded
from core.engine.attention import documents
from core.engine.distributed import Group
from core.engine.loss import LossHead
from core.engine.passes import make_passes
from core.engine.spread import company


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Mean loss per supervised token, the number of those tokens, and the time it took."""

    loss: float
    tokens: int
    seconds: float


def evaluate(
    head: LossHead,
    rows: Sequence[Encoded],
    *,
    budget: int,
    packing: bool,
    device: torch.device,
    on_pass: Callable[[int, int], bool] | None = None,
    group: Group | None = None,
    spread: bool = False,
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
    """
    began = time.monotonic()
    was_training = head.model.training
    head.model.eval()
    total = torch.zeros((), dtype=torch.float32, device=device)
    tokens = 0
    given_up = False
    own = rows if group is None else group.share(rows)
    try:
        with torch.no_grad():
            passes = list(make_passes(own, budget, packing, device))
            others = company(group, passes, rows, device) if group is not None and spread else []
            for index, one in enumerate((*passes, *others)):
                given_up = on_pass is not None and not on_pass(min(index, len(passes)), len(passes))
                if group is not None and spread:
                    (given_up,) = group.any_of((given_up,))
                if given_up:
                    break
                with documents(one.documents):
                    summed_here = head.summed(one)
                if index < len(passes):
                    total += summed_here
                    tokens += one.num_supervised
    finally:
        head.model.train(was_training)
    summed, counted, interrupted = float(total), float(tokens), float(given_up)
    if group is not None:
        summed, counted, interrupted = group.sums([summed, counted, interrupted])
    if interrupted:
        return None
    return Evaluation(summed / max(counted, 1), int(counted), time.monotonic() - began)
