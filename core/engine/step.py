"""One optimizer step: rows in, gradients over all passes, clipped, applied. It knows no run folder and no events.

Nothing in a pass waits for the device; the one wait of a step is the check that its gradients are finite.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from core.data.types import EncodedRow
from core.engine.attention import documents
from core.engine.distributed import Group
from core.engine.loss import LossHead
from core.engine.masters import Masters
from core.engine.objective import BY_TOKENS, Objective
from core.engine.passes import Pass
from core.engine.scaling import LossScale


class Learner(Protocol):
    """What a step touches: the loss head around the model, the masters, and the rule that moves them."""

    device: torch.device
    head: LossHead
    masters: Masters
    optimizer: torch.optim.Optimizer
    scale: LossScale
    group: Group | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gradients of one step came to.

    Attributes:
        told: what the objective tells beside the loss, divided as the loss is.
    """

    loss: float
    grad_norm: float
    tokens: int
    supervised: int
    passes: int
    told: tuple[float, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether the step may be applied."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def accumulate(
    learner: Learner,
    rows: Sequence[EncodedRow],
    passes: Iterable[Pass],
    max_grad_norm: float,
    company: Sequence[Pass] = (),
    objective: Objective = BY_TOKENS,
) -> Outcome:
    """Gradients of the mean loss over all of ``rows``, in the masters and clipped.

    Args:
        learner: what learns.
        rows: the rows of this step, those of all processes.
        passes: this process's share of them as tensors; how many share a pass changes nothing but the memory and the
            time needed.
        max_grad_norm: the norm that gradients are cut to; 0 leaves them.
        company: passes that are made only because other processes have more (`core.engine.spread`).
        objective: what is learned by; it says what the mean is over.
    """
    weight = learner.scale.factor / max(objective.weight(rows), 1)
    total = torch.zeros(objective.numbers, dtype=torch.float32, device=learner.device)
    count = 0
    for one in passes:
        with documents(one.documents):  # the backward pass too: recomputed layers ask for the documents again
            sums = objective.of_pass(learner.head, one) * weight
            sums[0].backward()
        total += sums.detach()
        count += 1
    if company:
        _keep_company(learner, company)
    if learner.group is not None:
        count = learner.group.add_gradients(learner.masters, total, count)
    if learner.scale.enabled:
        learner.masters.scale_gradients(1.0 / learner.scale.factor)
    limit = max_grad_norm if max_grad_norm > 0 else math.inf
    norm = torch.nn.utils.clip_grad_norm_(learner.masters.masters, limit)
    numbers = torch.cat([norm.float().reshape(1), total / learner.scale.factor])
    norm_value, loss_value, *told = numbers.tolist()  # the step's one wait
    tokens, supervised = sum(len(row) for row in rows), sum(row.supervised for row in rows)
    return Outcome(loss_value, norm_value, tokens, supervised, count, tuple(told))


def _keep_company(learner: Learner, passes: Sequence[Pass]) -> None:
    """Goes through the model and back, and leaves every gradient as it was, also those that are not there."""
    own = learner.masters.take_gradients()
    for one in passes:
        with documents(one.documents):
            learner.head.summed(one).backward()
    learner.masters.clear_gradients()
    learner.masters.give_gradients(own)


def apply(learner: Learner, outcome: Outcome) -> None:
    """Moves the masters and publishes them if the gradients are finite; forgets the gradients either way."""
    if outcome.finite:
        learner.optimizer.step()
        learner.masters.publish()
    learner.masters.clear_gradients()
