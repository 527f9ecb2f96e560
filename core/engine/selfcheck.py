"""Before the first step: proof on the loaded model that packing keeps documents apart and that our loss head is right.

The same two short documents go through the model packed with our head, and one by one with the model's own head. What
the numbers do not confirm is not used. The attention kernel is read from the profiler, not from the settings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from core.data.types import Encoded
from core.engine.attention import documents
from core.engine.kernels.block_attention import NAME as BLOCK_ATTENTION
from core.engine.loss import LossHead
from core.engine.passes import Pass, make_pass
from core.errors import FailureKind, JobError

SAMPLE_TOKENS = 48
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}

# What the kernels are called in a profile, most specific first.
_KERNELS = (
    (BLOCK_ATTENTION, "flash attention (CPU, by blocks of rows)"),
    ("_flash_attention_forward", "flash attention (varlen)"),
    ("_scaled_dot_product_flash_attention_for_cpu", "flash attention (CPU)"),
    ("_scaled_dot_product_flash_attention", "flash attention"),
    ("_scaled_dot_product_cudnn_attention", "cuDNN attention"),
    ("_scaled_dot_product_efficient_attention", "memory-efficient attention"),
    ("_scaled_dot_product_attention_math", "plain attention (math)"),
    ("aten::softmax", "plain attention (eager)"),
)


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What was found out.

    Attributes:
        head: the loss head to use: chunked where it agrees with the model's own, else stock.
        packing: whether packed documents were seen to stay apart.
        attention: the kernel that ran, in words.
        difference: relative difference of the losses with what is used.
    """

    head: LossHead
    packing: bool
    attention: str
    difference: float


def self_check(head: LossHead, rows: Sequence[Encoded], *, packing: bool, device: torch.device) -> SelfCheck:
    """Runs the check on (the beginnings of) two rows that carry loss."""
    samples = _two_short(rows)
    was_training = head.model.training
    head.model.eval()
    try:
        with torch.no_grad():
            stock = replace(head, kind="stock")
            alone = [make_pass([row], device) for row in samples]
            truth = sum(_loss(stock, one) for one in alone)
            if not math.isfinite(truth):
                raise JobError(
                    FailureKind.NON_FINITE,
                    "The loss of the untrained base model is not a number, on the first two rows already.",
                    "Compute in bf16 or fp32 if this was float16; otherwise the model's files are damaged: fetch them "
                    "again.",
                )
            tolerance = _TOLERANCE[_dtype_of(head.model)]
            together = make_pass(samples, device)
            attempts = [(head, packing), (stock, packing), (head, False), (stock, False)]
            candidate, packed, difference = stock, False, 0.0
            for candidate, packed in dict.fromkeys(attempts):
                found = _loss(candidate, together) if packed else sum(_loss(candidate, one) for one in alone)
                difference = abs(found - truth) / max(abs(truth), 1e-6)
                if difference <= tolerance:
                    break
            return SelfCheck(
                candidate, packed, _observe_attention(candidate, together if packed else alone[0]), difference
            )
    finally:
        head.model.train(was_training)


def _loss(head: LossHead, one: Pass) -> float:
    with documents(one.documents):
        return float(head.summed(one))


def _observe_attention(head: LossHead, one: Pass) -> str:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile, documents(one.documents):
        head.summed(one)
    names = {event.key for event in profile.key_averages()}
    for fragment, words in _KERNELS:
        if any(fragment in name for name in names):
            return words
    return "unknown"


def _two_short(rows: Sequence[Encoded]) -> list[Encoded]:
    """Two windows of at most `SAMPLE_TOKENS` tokens that end in supervised ones."""
    chosen = []
    for row in rows:
        last = max((index for index, trained in enumerate(row.trained) if trained), default=0)
        if last == 0:
            continue
        end = min(last + 1, len(row.tokens))
        start = max(0, end - SAMPLE_TOKENS)
        chosen.append(Encoded(row.tokens[start:end], (False, *row.trained[start + 1 : end]), row.place))
        if len(chosen) == 2:
            break
    return chosen if len(chosen) == 2 else chosen * 2


def _dtype_of(model: nn.Module) -> torch.dtype:
    """The type activations have: that of the norms and embeddings, which no quantization touches."""
    return next((p.dtype for p in model.parameters() if p.dtype in _TOLERANCE), torch.float32)
