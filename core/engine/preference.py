"""Learning from two answers to one prompt, of which the first is to be preferred.

- DPO: Rafailov et al. 2023 (Direct Preference Optimization, arXiv 2305.18290), equation 7. It compares the model with
  what it was as the run began, whose log-probabilities are measured once (`core.engine.reference`).
- ORPO: Hong et al. 2024 (ORPO: Monolithic Preference Optimization without Reference Model, arXiv 2403.07691),
  equations 6 and 7.

Both answers of a pair go through the model in one pass, as documents of their own. Log-probabilities of whole answers
are summed in float64: a difference of two sums of a thousand numbers each is all that is learned from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from core.data.types import EncodedRow
from core.engine.loss import LossHead
from core.engine.objective import BY_TOKENS, Objective
from core.engine.passes import Answers, Pass
from core.spec.run_spec import RunSpec

_SUREST = -1e-7
"""The highest mean log-probability of a token that odds are made of: at 0 they are infinite, and float32 knows hardly a
probability between this one and 1."""


def objective_of(spec: RunSpec) -> Objective:
    """What a run learns by."""
    training = spec.training
    if spec.data.train_on != "preferences":
        return BY_TOKENS
    if training.preference_loss == "orpo":
        return OrpoObjective(training.preference_beta)
    return DpoObjective(training.preference_beta, training.chosen_weight)


def needs_reference(spec: RunSpec) -> bool:
    """Whether a run has to know what its model was like before it."""
    return spec.data.train_on == "preferences" and spec.training.preference_loss == "dpo"


class _PairObjective:
    """What is the same for pairs, however they are learned from."""

    numbers = 3

    def weight(self, rows: Sequence[EncodedRow]) -> int:
        """How many pairs there are."""
        return len(rows)


@dataclass(frozen=True, slots=True)
class DpoObjective(_PairObjective):
    """To prefer the chosen answer more than the model did as the run began.

    Attributes:
        beta: how much a difference of log-probabilities counts; more keeps the model closer to what it was.
        chosen_weight: how much the chosen answer's own loss, a mean over its tokens, counts beside the preference.
    """

    beta: float
    chosen_weight: float = 0.0

    def of_pass(self, head: LossHead, one: Pass) -> torch.Tensor:
        """The summed loss, how many pairs are preferred rightly (a tie counts half), and the summed margins.

        A margin is β times how much more likely the chosen answer has become, against the rejected one.

        Raises:
            ValueError: the pass has no pairs whose reference was measured.
        """
        answers = one.answers
        if answers is None or answers.reference is None:
            raise ValueError("DPO needs pairs with the log-probabilities of both answers before the training")
        likely = _log_probabilities(head, one, answers)
        gained = likely - answers.reference
        margins = self.beta * (gained[:, 0] - gained[:, 1])
        loss = -functional.logsigmoid(margins)
        if self.chosen_weight:
            loss = loss - self.chosen_weight * likely[:, 0] / _lengths(answers)[:, 0]
        return _told(loss, margins)


@dataclass(frozen=True, slots=True)
class OrpoObjective(_PairObjective):
    """To learn the chosen answer, with odds above those of the rejected one.

    Attributes:
        beta: how much the odds count beside the chosen answer's own loss (lambda in the paper).
    """

    beta: float

    def of_pass(self, head: LossHead, one: Pass) -> torch.Tensor:
        """The summed loss, how many pairs are preferred rightly (a tie counts half), and the summed log odds ratios.

        Raises:
            ValueError: the pass has no pairs.
        """
        answers = one.answers
        if answers is None:
            raise ValueError("ORPO needs pairs")
        means = _log_probabilities(head, one, answers) / _lengths(answers)
        odds = means - _log_of_rest(means.clamp(max=_SUREST))
        ratios = odds[:, 0] - odds[:, 1]
        return _told(-means[:, 0] - self.beta * functional.logsigmoid(ratios), ratios)


def _log_probabilities(head: LossHead, one: Pass, answers: Answers) -> torch.Tensor:
    """Of all tokens of each answer together, (P, 2), float64: the chosen one first."""
    losses = head.token_losses(one).double()
    sums = losses.new_zeros(answers.lengths.shape).index_add(0, answers.owners, losses)
    return -sums.view(-1, 2)


def _lengths(answers: Answers) -> torch.Tensor:
    """Tokens that carry loss, (P, 2); none has fewer than one, or the pair would have been left out."""
    return answers.lengths.clamp(min=1).view(-1, 2)


def _log_of_rest(logs: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x below 0, accurate at both ends (Mächler 2012, Accurately Computing log(1 - exp(-|a|)))."""
    return torch.where(logs > -math.log(2), torch.log(-torch.expm1(logs)), torch.log1p(-torch.exp(logs)))


def _told(losses: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """The sums over a pass's pairs, (3,), float32; only the first is learned from."""
    margins = margins.detach()
    preferred = (1 + torch.sign(margins)) / 2
    return torch.stack([losses.sum(), preferred.sum(), margins.sum()]).float()
