"""torch's scaled dot product attention on the meta device, with the kernel that a CUDA device or a processor takes."""

from typing import Any

import torch
from torch.nn import functional

aten = torch.ops.aten
_original = functional.scaled_dot_product_attention
LARGEST_FLASH_WIDTH = 256


def cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    ampere: bool = True,
) -> torch.Tensor:
    """``scaled_dot_product_attention`` in aten/src/ATen/native/transformers/attention.cpp on a GPU.

    Flash where it can (Ampere or newer, 16 bits, no mask, heads of at most 256), else the memory-efficient kernel (no
    grouped heads), else the written-out formula: ``use_flash_attention`` and ``use_mem_efficient_attention`` in
    aten/src/ATen/native/transformers/cuda/sdp_utils.cpp.
    """
    width = query.shape[-1]
    narrow = query.dtype in (torch.float16, torch.bfloat16)
    grouped = query.shape[1] != key.shape[1]
    if ampere and narrow and attn_mask is None and width <= LARGEST_FLASH_WIDTH:
        return _flash(query, key, value, dropout_p, is_causal, scale)
    mask = _as_bias(attn_mask, query.dtype)
    if not grouped:
        return _efficient(query, key, value, mask, dropout_p, is_causal, scale)
    return aten._scaled_dot_product_attention_math(
        query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float, causal: bool, scale: float | None
) -> torch.Tensor:
    """attention.cpp pads heads to a multiple of 8 and cuts the result back."""
    width = query.shape[-1]
    scale = width**-0.5 if scale is None else scale
    padded = [functional.pad(one, (0, -width % 8)) if width % 8 else one for one in (query, key, value)]
    return aten._scaled_dot_product_flash_attention(*padded, dropout, causal, scale=scale)[0][..., :width]


def _efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    keeps = torch.is_grad_enabled() and any(one.requires_grad for one in (query, key, value))
    if mask is not None:
        # preprocess_mask in attention.cpp: a row whose length is no multiple of 8 is padded; then a view for all heads
        short = -mask.shape[-1] % 8
        if short:
            mask = functional.pad(mask, (0, short))[..., : mask.shape[-1]]
        mask = mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    return aten._scaled_dot_product_efficient_attention(query, key, value, mask, keeps, dropout, causal, scale=scale)[0]


def _as_bias(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """``convert_boolean_attn_mask`` in attention.cpp."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    bias = torch.zeros_like(mask, dtype=dtype)
    return bias.masked_fill_(mask.logical_not(), -torch.inf)


def cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """The same on a processor: the flash kernel, or the formula with attention dropout.

    Source: ``use_flash_attention_cpp`` in aten/src/ATen/native/transformers/sdp_utils_cpp.cpp.
    """
    mask = _as_bias(attn_mask, query.dtype)
    if dropout_p == 0.0:
        return aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale
        )[0]
    return aten._scaled_dot_product_attention_math(
        query, key, value, mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def real_kernel(query: torch.Tensor, *rest: torch.Tensor, **options: Any) -> int:
    """torch's own choice for tensors with content, for the test of this file."""
    return torch._fused_sdp_choice(query, *rest, **options)
