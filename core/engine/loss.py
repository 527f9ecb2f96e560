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
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        slopes = _Slopes.of(ctx, hidden, weight, bias)
        for lost, slope in _visits(hidden, weight, bias, targets, shape):
            total += lost.sum()
            slopes.add(slope)
            del slope  # before the next chunk has its own
        ctx.save_for_backward(slopes.hidden, slopes.weight, slopes.bias)
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


class _TokenCrossEntropies(torch.autograd.Function):
    """The cross-entropy of each position, whose gradients may be weighed each by a number of its own.

    With a frozen projection the gradient of the hidden states is made in the forward visit, and weighed row by row
    later. That of a projection or a bias sums over positions, so it can be made only when the weights are known: all
    chunks are visited again then.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        shape: LogitShape,
    ) -> torch.Tensor:
        """Hidden (K, width), weight (vocabulary, width), targets (K,) -> losses (K,), float32."""
        ctx.shape, ctx.weight_dtype = shape, weight.dtype
        ctx.again = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        if ctx.again:
            ctx.save_for_backward(hidden, weight, bias, targets)
            return _losses(hidden, weight, bias, targets, shape)
        slopes = _Slopes.of(ctx, hidden, weight, bias)
        found = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        for lost, slope in _visits(hidden, weight, bias, targets, shape):
            found[slopes.end : slopes.end + lost.shape[0]] = lost
            slopes.add(slope)
            del slope
        ctx.save_for_backward(slopes.hidden)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Weighs what the forward visit prepared, or visits all chunks once more."""
        outer = grads[0]
        if not ctx.again:
            (grad_hidden,) = ctx.saved_tensors
            return (grad_hidden * outer[:, None].to(grad_hidden.dtype), None, None, None, None)
        hidden, weight, bias, targets = ctx.saved_tensors
        slopes = _Slopes.of(ctx, hidden, weight, bias)
        for lost, slope in _visits(hidden, weight, bias, targets, ctx.shape):
            slopes.add(slope.mul_(outer[slopes.end : slopes.end + lost.shape[0], None]))
            del slope
        return (
            slopes.hidden,
            None if slopes.weight is None else slopes.weight.to(ctx.weight_dtype),
            None if slopes.bias is None else slopes.bias.to(ctx.weight_dtype),
            None,
            None,
        )


@dataclass(slots=True)
class _Slopes:
    """The derivatives by hidden states, projection and bias, made of the logits' chunk by chunk.

    Attributes:
        inputs, projection: what the logits are the product of.
        hidden: in the format of the hidden states; `weight` and `bias`: in float32, None where nobody wants them.
        end: how many positions have been added.
    """

    inputs: torch.Tensor
    projection: torch.Tensor
    hidden: torch.Tensor
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    end: int = 0

    @classmethod
    def of(cls, ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> "_Slopes":
        """None yet, of what the function's inputs want."""
        wants_weight, wants_bias = ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2]
        return cls(
            hidden,
            weight,
            torch.empty_like(hidden),
            torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None,
            torch.zeros(weight.shape[0], device=weight.device) if wants_bias else None,
        )

    def add(self, slope: torch.Tensor) -> None:
        """Takes the derivative by the logits of the next positions (positions, vocabulary)."""
        start, self.end = self.end, self.end + slope.shape[0]
        narrow = slope.to(self.inputs.dtype)
        torch.mm(narrow, self.projection, out=self.hidden[start : self.end])
        if self.weight is not None:
            self.weight += (narrow.T @ self.inputs[start : self.end]).float()
        if self.bias is not None:
            self.bias += slope.sum(dim=0, dtype=torch.float32)


def _losses(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, shape: LogitShape
) -> torch.Tensor:
    """The cross-entropy of each position (K,), float32, where nobody asks for a gradient."""
    found = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
    end = 0
    for lost, scores in _visits(hidden, weight, bias, targets, shape, learns=False):
        start, end = end, end + lost.shape[0]
        found[start:end] = lost
        del scores  # before the next chunk has its own
    return found


_Visits = Iterator[tuple[torch.Tensor, torch.Tensor]]
"""For each chunk of positions their losses (positions,), and the derivative of each by its logits (positions,
vocabulary); without meaning where nobody learns."""


def _visits(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    shape: LogitShape,
    *,
    learns: bool = True,
) -> _Visits:
    visit = _by_rows if _prefers_rows(hidden) else _at_once
    return visit(hidden, weight, bias, targets[:, None], shape, learns=learns)


def _prefers_rows(hidden: torch.Tensor) -> bool:
    """Whether a cache decides the speed, as on a processor, and not the number of kernels."""
    return hidden.is_cpu


def _at_once(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    aims: torch.Tensor,
    shape: LogitShape,
    *,
    learns: bool,
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
            damping = 1.0 - scores.square() if learns else None
            scores.mul_(shape.softcap)
        slope = torch.log_softmax(scores, dim=-1)
        del scores
        lost = -slope.gather(1, aim)[:, 0]
        if learns:
            slope.exp_()  # where the logarithms lay: of everything as large there are two at most, and few kernels
            slope.scatter_add_(1, aim, torch.full_like(aim, -1, dtype=slope.dtype))
            if damping is not None:
                slope.mul_(damping)
            if shape.scale != 1.0:
                slope.mul_(shape.scale)
        yield lost, slope
        del slope, damping


def _by_rows(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    aims: torch.Tensor,
    shape: LogitShape,
    *,
    learns: bool,
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
        lost = [
            _make_slope(some, target, shape, room[: some.shape[0]], learns=learns)
            for some, target in zip(slopes.split(rows), aim.split(rows), strict=True)
        ]
        yield torch.cat(lost), slopes


def _make_slope(
    logits: torch.Tensor, aim: torch.Tensor, shape: LogitShape, room: torch.Tensor, *, learns: bool
) -> torch.Tensor:
    """Makes the logits the derivatives of the losses by them, where wanted, and returns the losses (rows,).

    ``room`` is overwritten.
    """
    scores = room.copy_(logits)
    if shape.scale != 1.0:
        scores.mul_(shape.scale)
    bent = None
    if shape.softcap is not None:
        scores.div_(shape.softcap).tanh_()
        bent = scores.clone() if learns else None
        scores.mul_(shape.softcap)
    slope = scores.sub_(scores.amax(dim=-1, keepdim=True))
    aimed = slope.gather(1, aim)
    total = slope.exp_().sum(dim=-1, keepdim=True)
    lost = (total.log() - aimed)[:, 0]
    if not learns:
        return lost
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
        if self.kind == "stock":
            return functional.cross_entropy(self._logits(step), step.targets, reduction="sum")
        parts = self._parts(step)
        if not torch.is_grad_enabled():
            return _losses(*parts, step.targets, self.shape).sum()
        summed: torch.Tensor = _ChunkedCrossEntropy.apply(*parts, step.targets, self.shape)
        return summed

    def token_losses(self, step: Pass) -> torch.Tensor:
        """Loss of each supervised token of a pass (K,), float32; call it inside `attention.documents`."""
        if self.kind == "stock":
            return functional.cross_entropy(self._logits(step), step.targets, reduction="none")
        parts = self._parts(step)
        if not torch.is_grad_enabled():
            return _losses(*parts, step.targets, self.shape)
        losses: torch.Tensor = _TokenCrossEntropies.apply(*parts, step.targets, self.shape)
        return losses

    def _logits(self, step: Pass) -> torch.Tensor:
        """The model's own logits at the supervised positions (K, vocabulary), float32."""
        logits: torch.Tensor = self.model(**_inputs(step), logits_to_keep=step.keep).logits[0].float()
        return logits

    def _parts(self, step: Pass) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Hidden states of the supervised positions (K, width), and the projection's weight and bias."""
        hidden = self.backbone(**_inputs(step)).last_hidden_state[0]
        weight, bias = self.projection.weight, getattr(self.projection, "bias", None)
        assert isinstance(weight, torch.Tensor)
        return hidden.index_select(0, step.keep), weight, bias


def _inputs(step: Pass) -> dict[str, Any]:
    return {"input_ids": step.tokens, "position_ids": step.positions, "use_cache": False}


def make_loss_head(causal: Any) -> LossHead:
    """The chunked head where the projection is a plain linear layer, else the model's own."""
    backbone = getattr(causal, causal.base_model_prefix)
    projection = causal.get_output_embeddings()
    config = causal.config
    plain = type(projection) is nn.Linear
    return LossHead("chunked" if plain else "stock", causal, backbone, projection, logit_shape(config))
