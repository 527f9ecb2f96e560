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
            for index, one in enumerate(passes):
                if on_pass is not None and not on_pass(index, len(passes)):
                    given_up = True
                    break
                with documents(one.documents):
                    total += head.summed(one)
                tokens += one.num_supervised
    finally:
        head.model.train(was_training)
    summed, counted, interrupted = float(total), float(tokens), float(given_up)
    if group is not None:
        summed, counted, interrupted = group.sums([summed, counted, interrupted])
    if interrupted:
        return None
    return Evaluation(summed / max(counted, 1), int(counted), time.monotonic() - began)
