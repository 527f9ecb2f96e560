"""The loss of each row by itself, measured as training measures the loss of all."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from core.data.packing import pack
from core.data.types import Encoded
from core.engine.attention import documents
from core.engine.loss import CHUNK_BYTES, SMALLEST_CHUNK, LossHead
from core.engine.passes import Pass, make_pass


def row_losses(
    head: LossHead,
    rows: Sequence[Encoded],
    *,
    budget: int,
    packing: bool,
    device: torch.device,
    on_pass: Callable[[int, int], bool],
) -> list[float] | None:
    """Summed loss in nats over the tokens that carry loss, for each row; the same passes that `evaluate` makes.

    Args:
        head: the loss head in use.
        rows: each with at least one token that carries loss.
        budget: tokens a pass.
        packing: whether rows share a pass.
        device: where the model is.
        on_pass: called with (passes done, passes in all); returning False gives up and the result is None.
    """
    groups = pack([len(row) for row in rows], budget) if packing else [(index,) for index in range(len(rows))]
    sums = [0.0] * len(rows)
    was_training = head.model.training
    head.model.eval()
    try:
        with torch.no_grad():
            for done, group in enumerate(groups):
                if not on_pass(done, len(groups)):
                    return None
                step = make_pass([rows[index] for index in group], device)
                with documents(step.documents):
                    lost = token_losses(head, step).double().cpu()
                # the document of each position; a token is predicted from the one before it, in the same document
                owners = np.searchsorted(step.documents.bounds, step.keep.cpu().numpy(), side="right") - 1
                for owner, summed in enumerate(np.bincount(owners, lost.numpy(), len(group))):
                    sums[group[owner]] = float(summed)
    finally:
        head.model.train(was_training)
    return sums


def token_losses(head: LossHead, step: Pass) -> torch.Tensor:
    """Loss of each supervised token of a pass (K,), float32; call it inside `attention.documents`."""
    inputs = {"input_ids": step.tokens, "position_ids": step.positions, "use_cache": False}
    if head.kind == "stock":
        logits = head.model(**inputs, logits_to_keep=step.keep).logits[0].float()
        return functional.cross_entropy(logits, step.targets, reduction="none")
    kept = head.backbone(**inputs).last_hidden_state[0].index_select(0, step.keep)
    weight, bias = head.projection.weight, getattr(head.projection, "bias", None)
    assert isinstance(weight, torch.Tensor)
    chunk = max(SMALLEST_CHUNK, CHUNK_BYTES // (weight.shape[0] * 4))
    found = []
    for part, aims in zip(kept.split(chunk), step.targets.split(chunk), strict=True):
        scores = functional.linear(part, weight, bias).float() * head.shape.scale
        if head.shape.softcap is not None:
            scores = torch.tanh(scores / head.shape.softcap) * head.shape.softcap
        found.append(functional.cross_entropy(scores, aims, reduction="none"))
    return torch.cat(found) if found else kept.new_zeros(0, dtype=torch.float32)
