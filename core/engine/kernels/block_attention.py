"""Causal attention by document on processors that multiply in bfloat16: blocks of rows, written as matrix products.

PyTorch's flash kernel for the CPU multiplies small tiles one at a time; its backward pass reaches a tenth of what the
same products reach as batches. Here a block of queries meets all keys it may see in one batched product. As in flash
attention (arXiv 2205.14135) the scores of long documents are not kept: the backward pass makes them again, block by
block. Those of a document's first block are, which a token has at most `BLOCK_ROWS` of for each head; making them again
took a thirtieth of a step. All documents of a pass are one node of the graph, so that no gradient is padded to the
length of the pass for each of them.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

NAME = "lowrank::block_attention"
"""What a profile calls it."""

BLOCK_ROWS = 256
"""Queries a block. Measured with 128, 256 and 512: within 3 % of the fastest at documents of 150 to 1,000 tokens."""


def block_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: Sequence[int], scaling: float | None
) -> torch.Tensor:
    """Attention of each document to itself.

    Args:
        query: (1, heads, tokens, width).
        key: (1, key heads, tokens, width); heads are a multiple of key heads.
        value: as ``key``.
        bounds: where documents begin, and where the last one ends.
        scaling: factor of the scores; one over the root of the width if None.

    Returns:
        (1, tokens, heads, width)
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended: torch.Tensor = _BlockAttention.apply(query, key, value, tuple(bounds), scale)
    return attended


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bounds: tuple[int, ...],
        scale: float,
    ) -> torch.Tensor:
        with torch.profiler.record_function(NAME):
            groups, mask, learns = key.shape[1], _mask(query, scale), any(ctx.needs_input_grad)
            kept = []
            attended = query.new_empty(query.shape[0], query.shape[2], query.shape[1], query.shape[3])
            for start, first, last in _blocks(bounds):
                asked = _grouped(query, first, last, groups)
                weights = _weights(asked, key[0, :, start:last], scale, mask[: last - first, : last - first])
                if learns and first == start:
                    kept.append(weights)
                given = torch.bmm(weights, value[0, :, start:last])
                attended[0, first:last] = given.view(query.shape[1], last - first, -1).transpose(0, 1)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.bounds, ctx.scale = bounds, scale
        return attended

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        known = iter(kept)
        given, mask = grads[0].transpose(1, 2), _mask(query, ctx.scale)
        groups, heads, width = key.shape[1], query.shape[1], query.shape[3]
        grad_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        grad_key = torch.empty_like(key, memory_format=torch.contiguous_format)
        grad_value = torch.empty_like(value, memory_format=torch.contiguous_format)
        for start, first, last in _blocks(ctx.bounds):
            keys, values = key[0, :, start:last], value[0, :, start:last]
            asked, slope = _grouped(query, first, last, groups), _grouped(given, first, last, groups)
            if first == start:
                weights = next(known)
            else:
                weights = _weights(asked, keys, ctx.scale, mask[: last - first, : last - first])
            for_values = torch.bmm(weights.transpose(1, 2), slope)
            slope = torch.bmm(slope, values.transpose(1, 2))
            slope = torch._softmax_backward_data(slope, weights, -1, slope.dtype)  # noqa: SLF001
            for_query = torch.bmm(slope, keys).mul_(ctx.scale)  # the factor meets what is narrow
            grad_query[0, :, first:last] = for_query.view(heads, last - first, width)
            for_keys = torch.bmm(slope.transpose(1, 2), asked).mul_(ctx.scale)
            grad_key[0, :, first:last] = for_keys[:, first - start :]
            grad_value[0, :, first:last] = for_values[:, first - start :]
            if first > start:
                grad_key[0, :, start:first] += for_keys[:, : first - start]
                grad_value[0, :, start:first] += for_values[:, : first - start]
        return grad_query, grad_key, grad_value, None, None


def _blocks(bounds: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """(start of the document, first and last row of the block)."""
    for start, end in pairwise(bounds):
        for first in range(start, end, BLOCK_ROWS):
            yield start, first, min(first + BLOCK_ROWS, end)


def _grouped(states: torch.Tensor, first: int, last: int, groups: int) -> torch.Tensor:
    """Rows of the heads that share a key head, one below another: (key heads, heads a group x rows, width)."""
    return states[0, :, first:last].reshape(groups, -1, states.shape[3])


def _mask(query: torch.Tensor, scale: float) -> torch.Tensor:
    """What is added to the scores of the last keys: nothing, or minus infinity for those behind a query."""
    dtype = query.dtype if _is_exact(scale) else torch.float32
    return torch.full((BLOCK_ROWS, BLOCK_ROWS), -torch.inf, dtype=dtype).triu_(1)


def _weights(asked: torch.Tensor, keys: torch.Tensor, scale: float, mask: torch.Tensor) -> torch.Tensor:
    """What each query takes from each key, (key heads, heads a group x rows, keys), summed in float32.

    A power of two, as for heads of 64 and 256 values, only moves the exponent: the queries can be scaled, and the
    scores need not be made wide for it, because PyTorch's softmax of bfloat16 sums in float32 by itself.
    """
    seen, rows = keys.shape[1], mask.shape[0]
    if _is_exact(scale):
        scores = torch.bmm(asked * scale, keys.transpose(1, 2))
    else:
        scores = torch.bmm(asked, keys.transpose(1, 2)).float().mul_(scale)
    scores.view(-1, rows, seen)[:, :, seen - rows :] += mask
    return torch.softmax(scores, -1).to(asked.dtype)


def _is_exact(scale: float) -> bool:
    return math.frexp(scale)[0] == 0.5
