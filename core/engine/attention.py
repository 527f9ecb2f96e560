"""Attention within documents: rows that share a pass never see each other, and no mask of T x T is ever built.

Registered with transformers as one more attention implementation. Which documents a pass holds is set around it by
`documents`; the backward pass (and recomputation in it) must happen inside the same block. Outside of any block the
whole input is one document, which is what generation needs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.engine.attention_proof import WRITTEN_OUT
from core.engine.kernels.block_attention import block_attention
from core.engine.placing import to_device
from core.errors import FailureKind, JobError
from core.plan.cards import AMPERE
from core.plan.ground import WIDEST_FLASH_HEAD

KERNELS = ("flash", "sdpa", "eager")
# transformers takes any name with “flash” in it for a package to import, so ours avoid the word.
_NAMES = {"flash": "lowrank_fused", "sdpa": "lowrank_torch", "eager": "lowrank_plain"}
_FLASH_FIRST = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True, slots=True)
class Documents:
    """Where the documents of a pass begin and end: ``bounds`` on the host, ``offsets`` on the device for varlen."""

    bounds: tuple[int, ...]
    offsets: torch.Tensor

    @property
    def longest(self) -> int:
        """Length of the longest document."""
        return max(end - start for start, end in self.spans())

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each document."""
        yield from zip(self.bounds[:-1], self.bounds[1:], strict=True)

    @classmethod
    def of_lengths(cls, lengths: tuple[int, ...], device: torch.device) -> "Documents":
        """The bounds of documents of these lengths, one after another."""
        bounds = [0]
        for length in lengths:
            bounds.append(bounds[-1] + length)
        return cls(tuple(bounds), to_device(torch.tensor(bounds, dtype=torch.int32), device))


_current: Documents | None = None
_calls = 0


@contextmanager
def documents(held: Documents) -> Iterator[None]:
    """Tells attention which documents the pass inside this block holds."""
    global _current  # noqa: PLW0603 (activation checkpointing recomputes layers far from any argument we could pass)
    before, _current = _current, held
    try:
        yield
    finally:
        _current = before


def current_documents() -> Documents | None:
    """The documents of the pass that is running; None outside of any."""
    return _current


def calls() -> int:
    """How often attention of ours has been called in this process: a model that has its own never does."""
    return _calls


def register(kernel: str, *, hidden_from_compiler: bool = False) -> str:
    """Makes document attention known to transformers and returns the name to load a model with.

    Args:
        kernel: ``flash`` (varlen on CUDA; in blocks of rows on a CPU in bfloat16; else one flash call per document),
            ``sdpa`` (PyTorch chooses, one call per document) or ``eager`` (the definition, for comparison).
        hidden_from_compiler: whether `torch.compile` is to leave it as it is where it compiles what is around it.
    """
    from transformers import AttentionInterface

    name = _NAMES[kernel]
    AttentionInterface.register(name, _hidden(kernel) if hidden_from_compiler else implementation(kernel))
    return name


@cache
def _hidden(kernel: str) -> Callable[..., tuple[torch.Tensor, None]]:
    """Always the same function: what was compiled around another one would be compiled anew."""
    hidden: Callable[..., tuple[torch.Tensor, None]] = torch.compiler.disable(implementation(kernel))
    return hidden


def implementation(kernel: str) -> Callable[..., tuple[torch.Tensor, None]]:
    """An attention function as transformers calls it, by document.

    query, key and value are (1, heads, tokens, width), the result is (1, tokens, heads, width). Masks are ignored: a
    pass has no padding, and what a document may see follows from its bounds.
    """

    def attend(
        _module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        _mask: torch.Tensor | None,
        *,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        sinks: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        **_: object,
    ) -> tuple[torch.Tensor, None]:
        global _calls  # noqa: PLW0603 (whoever loads a model has no other way to know that it is asked)
        _calls += 1
        if position_bias is not None:
            raise JobError(
                FailureKind.UNSUPPORTED,
                "This model adds a bias to each pair of positions, which no attention here knows.",
                "Choose a model with rotary or learned positions.",
            )
        scoring = Scoring(scaling, dropout, sliding_window, softcap, s_aux if sinks is None else sinks)
        if kernel == "eager":
            return _joined([written_out(*part, scoring) for part in _documents_of(query, key, value)]), None
        if kernel == "sdpa":
            return _by_document(query, key, value, scoring), None
        held = _current
        # Values narrower than queries (multi-head latent attention) are for PyTorch's own kernels.
        plain = not scoring.written_out and dropout == 0.0 and query.shape[3] == value.shape[3]
        if held is not None and plain and _varlen_fits(query, held):
            return _varlen(query, key, value, held, scoring), None
        if held is not None and plain and _blocks_fit(query, key, held, scoring):
            return block_attention(query, key, value, held.bounds, scaling), None
        # Flash where it can, the next best where a mask or a width forbids it; the self-check says which one ran.
        with sdpa_kernel(_FLASH_FIRST):
            return _by_document(query, key, value, scoring), None

    return attend


@dataclass(frozen=True, slots=True)
class Scoring:
    """How scores are made: factor, dropout on the weights, sliding window, soft cap, and each head's sink."""

    scaling: float | None
    dropout: float
    window: int | None
    softcap: float | None
    sinks: torch.Tensor | None = None

    @property
    def written_out(self) -> bool:
        """Whether no fused kernel knows them: Gemma 2's capped scores, gpt-oss' sinks."""
        return self.softcap is not None or self.sinks is not None


def _documents_of(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    if _current is None:
        yield query, key, value
        return
    for start, end in _current.spans():
        yield query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]


def _by_document(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scoring: Scoring,
) -> torch.Tensor:
    parts = []
    for part in _documents_of(query, key, value):
        if scoring.written_out:
            parts.append(written_out(*part, scoring))
            continue
        asked, kept = part[0].shape[2], part[1].shape[2]
        mask = None
        if (scoring.window is not None and kept > scoring.window) or 1 < asked < kept:
            mask = _visible(asked, kept, scoring.window, query.device)
        query_part, key_part, value_part = part
        if query.shape[1] != key.shape[1] and not _shares_heads(query, mask):
            groups = query.shape[1] // key.shape[1]
            key_part, value_part = (states.repeat_interleave(groups, dim=1) for states in (key_part, value_part))
        parts.append(
            functional.scaled_dot_product_attention(
                query_part,
                key_part,
                value_part,
                attn_mask=mask,
                dropout_p=scoring.dropout,
                is_causal=mask is None and asked > 1,
                scale=scoring.scaling,
                enable_gqa=query_part.shape[1] != key_part.shape[1],
            )
        )
    return _joined(parts)


def _shares_heads(query: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether a fused kernel lets query heads share key heads; else PyTorch would write all scores out.

    On CUDA flash attention does, which needs Ampere, 16 bits, heads of at most 256 and no mask; the memory-efficient
    kernel wants as many key heads as query heads (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp).
    """
    return not query.is_cuda or (mask is None and _flash_knows(query) and query.shape[3] <= WIDEST_FLASH_HEAD)


def _flash_knows(query: torch.Tensor) -> bool:
    """Whether CUDA's flash kernels take these numbers on this GPU: 16 bits, on Ampere or newer."""
    narrow = query.dtype in (torch.float16, torch.bfloat16)
    return narrow and torch.cuda.get_device_capability(query.device) >= AMPERE


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return whole.transpose(1, 2).contiguous()


@torch.profiler.record_function(WRITTEN_OUT)
def written_out(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scoring: Scoring) -> torch.Tensor:
    """Attention by its definition, every score in memory: what fused kernels are compared with."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scale = query.shape[-1] ** -0.5 if scoring.scaling is None else scoring.scaling
    scores = torch.matmul(query, key.transpose(2, 3)) * scale
    if scoring.softcap is not None:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    visible = _visible(query.shape[2], key.shape[2], scoring.window, query.device)
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    if scoring.sinks is not None:  # one more score that takes its share of the weights and has no value (gpt-oss)
        column = scoring.sinks.reshape(1, -1, 1, 1).expand(query.shape[0], -1, query.shape[2], 1)
        scores = torch.cat([scores, column.to(scores.dtype)], dim=-1)
    weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = weights[..., : value.shape[2]]
    return torch.matmul(functional.dropout(weights, scoring.dropout, training=scoring.dropout > 0), value)


def _visible(asked: int, kept: int, window: int | None, device: torch.device) -> torch.Tensor:
    """(asked, kept) booleans: position i of the last `asked` sees positions up to itself, within the window."""
    rows = torch.arange(kept - asked, kept, device=device)[:, None]
    columns = torch.arange(kept, device=device)[None]
    seen = columns <= rows
    return seen if window is None else seen & (columns > rows - window)


def _varlen_fits(query: torch.Tensor, held: Documents) -> bool:
    """Ampere or newer, 16 bits and heads of at most 256, which may be wider in some layers than the plan knows.

    int32 offsets inside the kernel's backward pass bound the size of a pass.
    """
    if not query.is_cuda or query.shape[3] > WIDEST_FLASH_HEAD:
        return False
    padded = query.shape[2] + 128 * (len(held.bounds) - 1)
    width = -(-query.shape[3] // 32) * 32
    small = padded * query.shape[1] * width < 2**31
    return small and _flash_knows(query)


def _blocks_fit(query: torch.Tensor, key: torch.Tensor, held: Documents, scoring: Scoring) -> bool:
    """Whether our own kernel for the CPU takes this: bfloat16, a whole pass at once, no document beyond the window."""
    whole = query.is_cpu and query.dtype == torch.bfloat16 and query.shape[0] == 1
    spans = query.shape[2] == key.shape[2] == held.bounds[-1]
    return whole and spans and (scoring.window is None or held.longest <= scoring.window)


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    held: Documents,
    scoring: Scoring,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    def flat(states: torch.Tensor) -> torch.Tensor:
        return states[0].transpose(0, 1).contiguous()

    left = -1 if scoring.window is None else scoring.window - 1
    attended = varlen_attn(
        flat(query),
        flat(key),
        flat(value),
        held.offsets,
        held.offsets,
        held.longest,
        held.longest,
        scale=scoring.scaling,
        window_size=(left, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(attended, torch.Tensor)  # a pair only when the log-sum-exp is asked for
    return attended[None]
