"""Before the first step: proof on the loaded model that packing and our head are right, and that nothing looks ahead.

The same two short documents go through the model packed with our head, and one by one with the model's own head. What
the numbers do not confirm is not used. The attention kernel is read from the profiler, not from the settings.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from core.data.types import Encoded, EncodedRow
from core.engine import attention
from core.engine.attention import documents
from core.engine.attention_proof import Proof, observe
from core.engine.loss import LossHead
from core.engine.passes import Pass, make_pass
from core.errors import FailureKind, JobError

SAMPLE_TOKENS = 48
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What was found out.

    Attributes:
        head: the loss head to use: chunked where it agrees with the model's own, else stock.
        packing: whether packed documents were seen to stay apart.
        proof: the attention kernels that ran in a forward and a backward pass.
        difference: relative difference of the losses with what is used.
    """

    head: LossHead
    packing: bool
    proof: Proof
    difference: float

    @property
    def attention(self) -> str:
        """The kernel that ran, in words."""
        return self.proof.words


def self_check(head: LossHead, rows: Sequence[EncodedRow], *, packing: bool, device: torch.device) -> SelfCheck:
    """Runs the check on pieces of two documents that carry loss."""
    samples = _two_short(rows)
    was_training = head.model.training
    head.model.eval()
    try:
        with torch.no_grad():
            stock = replace(head, kind="stock")
            alone = [make_pass([row], device) for row in samples]
            before = attention.calls()
            truth = sum(_loss(stock, one) for one in alone)
            asks = attention.calls() > before  # else nobody in the model knows where a row ends
            if not math.isfinite(truth):
                raise JobError(
                    FailureKind.NON_FINITE,
                    "The loss of the untrained base model is not a number, on the first two rows already.",
                    "Compute in bf16 or fp32 if this was float16; otherwise the model's files are damaged: fetch them "
                    "again.",
                )
            tolerance = _TOLERANCE[_dtype_of(head.model)]
            _require_no_foresight(stock, samples[0], device, tolerance)
            together = make_pass(samples, device)
            attempts = [(head, packing), (stock, packing), (head, False), (stock, False)]
            candidate, packed, difference = stock, False, 0.0
            for candidate, packed in dict.fromkeys(attempts):
                if packed and not asks:
                    continue
                found = _loss(candidate, together) if packed else sum(_loss(candidate, one) for one in alone)
                difference = abs(found - truth) / max(abs(truth), 1e-6)
                if difference <= tolerance:
                    break
    finally:
        head.model.train(was_training)
    one = make_pass(_beyond_window(head.model, rows) or (samples if packed else samples[:1]), device)
    return SelfCheck(candidate, packed, _observe(candidate, one), difference)


def _loss(head: LossHead, one: Pass) -> float:
    with documents(one.documents):
        return float(head.summed(one))


def _require_no_foresight(head: LossHead, row: Encoded, device: torch.device, tolerance: float) -> None:
    """Proves that what comes later in a row changes nothing before it.

    Raises:
        JobError: the model looks ahead, so that it would learn to copy what it is to foretell.
    """
    marked = [index for index, trained in enumerate(row.trained) if trained]
    end = marked[(len(marked) - 1) // 2] + 1
    trained = row.trained[:end]
    short, long = Encoded(row.tokens[:end], trained), Encoded(row.tokens, (*trained, *[False] * (len(row) - end)))
    before, after = (_loss(head, make_pass([one], device)) for one in (short, long))
    if abs(after - before) > tolerance * max(abs(before), 1e-6):
        raise JobError(
            FailureKind.UNSUPPORTED,
            f"This model sees the tokens that it is to foretell: its loss on the first {end} tokens of a row is "
            f"{before:.3g} alone and {after:.3g} with the rest behind them.",
            "Please report this with the model's config.json; “hardware.attention: eager” may help meanwhile.",
        )


def _observe(head: LossHead, one: Pass) -> Proof:
    """What a step would run, recomputed layers included; leaves no gradient and no random number drawn behind."""
    trained = [parameter for parameter in head.model.parameters() if parameter.requires_grad]

    def differentiate(loss: torch.Tensor) -> None:
        if trained:
            torch.autograd.grad(loss, trained, allow_unused=True)

    was_training = head.model.training
    devices = [one.tokens.device] if one.tokens.is_cuda else []
    head.model.train()
    try:
        with torch.random.fork_rng(devices=devices), documents(one.documents):
            return observe(lambda: head.summed(one), differentiate=differentiate)
    finally:
        head.model.train(was_training)


def _beyond_window(model: nn.Module, rows: Sequence[EncodedRow]) -> list[Encoded]:
    """A document that a sliding window does not cover, where there is one: another kernel may run for it."""
    window = getattr(getattr(model, "config", None), "sliding_window", None)
    if not window:
        return []
    for text in _documents(rows):
        if len(text) > window:
            end = min(len(text), window + SAMPLE_TOKENS)
            return [Encoded(text.tokens[:end], (False, *text.trained[1:end]), text.place)]
    return []


def _two_short(rows: Sequence[EncodedRow]) -> list[Encoded]:
    """Two windows of at most `SAMPLE_TOKENS` tokens that end in supervised ones."""
    chosen = []
    for text in _documents(rows):
        last = max((index for index, trained in enumerate(text.trained) if trained), default=0)
        if last == 0:
            continue
        end = min(last + 1, len(text.tokens))
        start = max(0, end - SAMPLE_TOKENS)
        chosen.append(Encoded(text.tokens[start:end], (False, *text.trained[start + 1 : end]), text.place))
        if len(chosen) == 2:
            break
    return chosen if len(chosen) == 2 else chosen * 2


def _documents(rows: Sequence[EncodedRow]) -> Iterator[Encoded]:
    for row in rows:
        yield from row.documents


def _dtype_of(model: nn.Module) -> torch.dtype:
    """The type activations have: that of the norms and embeddings, which no quantization touches."""
    return next((p.dtype for p in model.parameters() if p.dtype in _TOLERANCE), torch.float32)
