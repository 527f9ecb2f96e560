"""Noise on the tokens' embeddings while the model learns (NEFTune, arXiv 2310.05914)."""

import math
from functools import partial
from typing import Any

import torch

from core.engine.attention import current_documents


def add_noise(model: Any, alpha: float) -> None:
    """Adds uniform noise of ±alpha/√(L·d) to the output of the embeddings, in training mode only.

    L is the length of the document that a token belongs to, not of the pass, so that rows get the noise that they
    would get alone; d is the width of the embeddings. It draws from torch's own source of chance, which a checkpoint
    holds.
    """
    if alpha > 0:
        model.get_input_embeddings().register_forward_hook(partial(_noisy, alpha))


def _noisy(alpha: float, module: torch.nn.Module, _inputs: Any, embedded: torch.Tensor) -> torch.Tensor:
    if not module.training:
        return embedded
    held = current_documents()
    width, tokens = embedded.shape[-1], embedded.shape[-2]
    if held is None:
        reach: float | torch.Tensor = alpha / math.sqrt(tokens * width)
    else:
        lengths = held.offsets.diff()
        each = alpha / (lengths * width).float().sqrt()
        reach = each.repeat_interleave(lengths, output_size=tokens)[:, None].to(embedded.dtype)
    return embedded + torch.empty_like(embedded).uniform_(-1.0, 1.0) * reach
