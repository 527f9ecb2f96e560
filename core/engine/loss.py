"""The loss head: cross-entropy only where a token is supervised, in chunks, without ever holding all logits.

The vocabulary projection of a long row would be the largest tensor of the whole step. Here logits exist for one chunk
of positions at a time, and the gradient of the hidden states is computed in the same visit, so nothing is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from core.engine.passes import Pass

CHUNK_BYTES = 128 * 1024**2
SMALLEST_CHUNK = 64
CACHED_CHUNK, CACHED_BYTES = 256, 4 * 1024**2
"""Positions whose logits a processor holds (products of 256 rows were the fastest of 64 to 682), and scores in float32
that it works on at a time."""


@dataclass(frozen=True, slots=True)
class LogitShape:
    """What a model does to its logits after the projection: multiply by ``scale``, then cap softly at ``softcap``."""

    scale: float = 1.0
    softcap: float | None = None


def logit_shape(config: Any) -> LogitShape:
    """Reads the shape from a transformers config (Granite divides, Cohere multiplies, Gemma 2 caps)."""
    scale = 1.0
    if getattr(config, "logits_scaling", None):
        scale /= float(config.logits_scaling)
    if getattr(config, "logit_scale", None):
        scale *= float(config.logit_scale)
    cap = getattr(config, "final_logit_softcapping", None)
    return LogitShape(scale, float(cap) if cap else None)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of ``hidden @ weight.T``; the gradient is made in the forward visit of each chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        shape: LogitShape,
    ) -> torch.Tensor:
        """Hidden (K, width), weight (vocabulary, width), targets (K,) -> scalar, float32."""
        wants_weight = ctx.needs_input_grad[1]
        wants_bias = bias is not None and ctx.needs_input_grad[2]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        grad_bias = torch.zeros(weight.shape[0], device=weight.device) if wants_bias else None
        visit = _by_rows if _prefers_rows(hidden) else _at_once
        start = 0
        for lost, slope in visit(hidden, weight, bias, targets[:, None], shape):
            total += lost
            end = start + slope.shape[0]
            narrow = slope.to(hidden.dtype)
            torch.mm(narrow, weight, out=grad_hidden[start:end])
            if grad_weight is not None:
                grad_weight += (narrow.T @ hidden[start:end]).float()
            if grad_bias is not None:
                grad_bias += slope.sum(dim=0, dtype=torch.float32)
            start = end
            del slope, narrow  # before the next chunk has its own
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scales what the forward visit prepared; called once."""
        outer = grads[0]
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        return (
            grad_hidden * outer.to(grad_hidden.dtype),
            None if grad_weight is None else (grad_weight * outer).to(ctx.weight_dtype),
            None if grad_bias is None else (grad_bias * outer).to(ctx.weight_dtype),
            None,
            None,
        )


_Visits = Iterator[tuple[torch.Tensor, torch.Tensor]]
"""For each chunk of positions the summed loss, and its derivative by the logits (positions, vocabulary)."""


def _prefers_rows(hidden: torch.Tensor) -> bool:
    """Whether a cache decides the speed, as on a processor, and not the number of kernels."""
    return hidden.is_cpu


def _at_once(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, aims: torch.Tensor, shape: LogitShape
) -> _Visits:
    """All positions of a chunk in each operation; slopes in float32."""
    chunk = max(SMALLEST_CHUNK, CHUNK_BYTES // (weight.shape[0] * 4))
    for part, aim in zip(hidden.split(chunk), aims.split(chunk), strict=True):
        scores = functional.linear(part, weight, bias).float()
        if shape.scale != 1.0:
            scores.mul_(shape.scale)
        damping = None
        if shape.softcap is not None:
            scores.div_(shape.softcap).tanh_()
            damping = 1.0 - scores.square()
            scores.mul_(shape.softcap)
        slope = torch.log_softmax(scores, dim=-1)
        del scores
        lost = -slope.gather(1, aim).sum()
        slope.exp_()  # where the logarithms lay: of everything as large there are two at most, and few kernels
        slope.scatter_add_(1, aim, torch.full_like(aim, -1, dtype=slope.dtype))
        if damping is not None:
            slope.mul_(damping)
        if shape.scale != 1.0:
            slope.mul_(shape.scale)
        yield lost, slope
        del slope, damping


def _by_rows(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, aims: torch.Tensor, shape: LogitShape
) -> _Visits:
    """A few rows at a time whose float32 scores stay in the processor's cache; slopes in the type of ``hidden``.

    All chunks use the same memory, which the system would clear page by page for each of them otherwise; so what is
    yielded holds until the next is asked for.
    """
    chunk = min(CACHED_CHUNK, max(SMALLEST_CHUNK, CHUNK_BYTES // (weight.shape[0] * 4)), hidden.shape[0])
    rows = min(chunk, max(1, CACHED_BYTES // (weight.shape[0] * 4)))
    logits = hidden.new_empty(chunk, weight.shape[0])
    room = torch.empty(rows, weight.shape[0])
    for part, aim in zip(hidden.split(max(1, chunk)), aims.split(max(1, chunk)), strict=True):
        slopes = logits[: part.shape[0]]
        if bias is None:
            torch.mm(part, weight.t(), out=slopes)
        else:
            torch.addmm(bias, part, weight.t(), out=slopes)
        lost = torch.zeros(())
        for some, target in zip(slopes.split(rows), aim.split(rows), strict=True):
            lost += _make_slope(some, target, shape, room[: some.shape[0]])
        yield lost, slopes


def _make_slope(logits: torch.Tensor, aim: torch.Tensor, shape: LogitShape, room: torch.Tensor) -> torch.Tensor:
    """Makes the logits the derivative of the summed loss by them, and returns that loss; ``room`` is overwritten."""
    scores = room.copy_(logits)
    if shape.scale != 1.0:
        scores.mul_(shape.scale)
    bent = None
    if shape.softcap is not None:
        bent = scores.div_(shape.softcap).tanh_().clone()
        scores.mul_(shape.softcap)
    slope = scores.sub_(scores.amax(dim=-1, keepdim=True))
    aimed = slope.gather(1, aim)
    total = slope.exp_().sum(dim=-1, keepdim=True)
    lost = (total.log() - aimed).sum()
    slope.mul_(total.reciprocal())
    slope.scatter_add_(1, aim, torch.full_like(aim, -1, dtype=slope.dtype))
    if bent is not None:
        slope.mul_(1.0 - bent.square())
    logits.copy_(slope if shape.scale == 1.0 else slope.mul_(shape.scale))
    return lost


@dataclass(frozen=True, slots=True)
class LossHead:
    """Computes the summed loss of a pass in one of two ways.

    Attributes:
        kind: ``chunked`` (ours) or ``stock`` (the model's own head at the supervised positions, for models whose head
            does more than we know; found out by the self-check).
        model: the causal language model, adapters inside.
    """

    kind: Literal["chunked", "stock"]
    model: nn.Module
    backbone: nn.Module
    projection: nn.Module
    shape: LogitShape

    def summed(self, step: Pass) -> torch.Tensor:
        """Sum of token losses over the supervised tokens of a pass, float32; call it inside `attention.documents`."""
        inputs = {"input_ids": step.tokens, "position_ids": step.positions, "use_cache": False}
        if self.kind == "stock":
            logits = self.model(**inputs, logits_to_keep=step.keep).logits[0].float()
            return functional.cross_entropy(logits, step.targets, reduction="sum")
        hidden = self.backbone(**inputs).last_hidden_state[0]
        kept = hidden.index_select(0, step.keep)
        weight, bias = self.projection.weight, getattr(self.projection, "bias", None)
        assert isinstance(weight, torch.Tensor)
        summed: torch.Tensor = _ChunkedCrossEntropy.apply(kept, weight, bias, step.targets, self.shape)
        return summed


def make_loss_head(causal: Any) -> LossHead:
    """The chunked head where the projection is a plain linear layer, else the model's own."""
    backbone = getattr(causal, causal.base_model_prefix)
    projection = causal.get_output_embeddings()
    config = causal.config
    plain = type(projection) is nn.Linear
    return LossHead("chunked" if plain else "stock", causal, backbone, projection, logit_shape(config))
