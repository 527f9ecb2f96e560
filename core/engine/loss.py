"""The loss head: cross-entropy only where a token is supervised, in chunks, without ever holding all logits.

The vocabulary projection of a long row would be the largest tensor of the whole step. Here logits exist for one chunk
of positions at a time, and the gradient of the hidden states is computed in the same visit, so nothing is kept.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from core.engine.passes import Pass

CHUNK_BYTES = 128 * 1024**2
CACHED_BYTES = 4 * 1024**2
"""Scores that a processor works on at a time."""


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
        chunk = max(64, CHUNK_BYTES // (weight.shape[0] * 4))
        wants_weight = ctx.needs_input_grad[1]
        wants_bias = bias is not None and ctx.needs_input_grad[2]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        grad_bias = torch.zeros(weight.shape[0], device=weight.device) if wants_bias else None
        for start in range(0, hidden.shape[0], chunk):
            part, aim = hidden[start : start + chunk], targets[start : start + chunk, None]
            slope = functional.linear(part, weight, bias)
            if _by_rows(slope):
                total += _make_slope_by_rows(slope, aim, shape)
            else:
                slope = slope.float()
                if shape.scale != 1.0:
                    slope.mul_(shape.scale)
                damping = None
                if shape.softcap is not None:
                    slope.div_(shape.softcap).tanh_()
                    damping = 1.0 - slope.square()
                    slope.mul_(shape.softcap)
                total += (torch.logsumexp(slope, dim=-1) - slope.gather(1, aim)[:, 0]).sum()
                slope = torch.softmax(slope, dim=-1)
                slope.scatter_add_(1, aim, torch.full_like(aim, -1, dtype=slope.dtype))
                if damping is not None:
                    slope.mul_(damping)
                if shape.scale != 1.0:
                    slope.mul_(shape.scale)
            narrow = slope.to(hidden.dtype)
            grad_hidden[start : start + chunk] = narrow @ weight
            if grad_weight is not None:
                grad_weight += (narrow.T @ part).float()
            if grad_bias is not None:
                grad_bias += slope.sum(dim=0, dtype=torch.float32)
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


def _by_rows(logits: torch.Tensor) -> bool:
    """Whether a cache decides the speed, as on a processor, and not the number of kernels."""
    return logits.is_cpu


def _make_slope_by_rows(logits: torch.Tensor, aim: torch.Tensor, shape: LogitShape) -> torch.Tensor:
    """Makes the logits the derivative of the summed loss by them, and returns that loss.

    A few rows at a time, whose float32 copies stay in the processor's cache.
    """
    rows = max(1, CACHED_BYTES // (logits.shape[1] * 4))
    lost = torch.zeros((), dtype=torch.float32)
    for some, target in zip(logits.split(rows), aim.split(rows), strict=True):
        scores = some.float() if shape == LogitShape() else some.float() * shape.scale
        bent = None
        if shape.softcap is not None:
            bent = torch.tanh(scores / shape.softcap)
            scores = bent * shape.softcap
        slope = scores.sub_(scores.amax(dim=-1, keepdim=True))
        aimed = slope.gather(1, target)
        total = slope.exp_().sum(dim=-1, keepdim=True)
        lost += (total.log() - aimed).sum()
        slope.mul_(total.reciprocal())
        slope.scatter_add_(1, target, torch.full_like(target, -1, dtype=slope.dtype))
        if bent is not None:
            slope.mul_(1.0 - bent.square())
        some.copy_(slope if shape.scale == 1.0 else slope.mul_(shape.scale))
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
