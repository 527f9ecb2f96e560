"""Which attention really ran: read from PyTorch's profiler over a forward and a backward pass, never from settings.

One table says what each kernel is called in a profile. What a pass shows under none of these names is not guessed at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from core.engine.kernels.block_attention import NAME as BLOCK_ATTENTION

WRITTEN_OUT = "lowrank::written_out_attention"
"""What a profile calls attention that writes all scores out (`core.engine.attention`)."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Kernel:
    """An attention kernel.

    Attributes:
        name: in words.
        forward: its operation in the forward pass, as profiles name it.
        backward: its operation, or the node of the graph, in the backward pass.
        keeps_scores: whether it keeps a number for each pair of tokens until the backward pass.
    """

    name: str
    forward: str
    backward: str
    keeps_scores: bool = False


_SCALED = "aten::_scaled_dot_product"

KERNELS = (
    Kernel("flash attention (CPU, by blocks of rows)", BLOCK_ATTENTION, "_BlockAttentionBackward"),
    Kernel("flash attention (varlen)", "torch_attn::_varlen_attn", "torch_attn::_varlen_attn_backward"),
    Kernel(
        "flash attention (CPU)", f"{_SCALED}_flash_attention_for_cpu", f"{_SCALED}_flash_attention_for_cpu_backward"
    ),
    Kernel("flash attention", f"{_SCALED}_flash_attention", f"{_SCALED}_flash_attention_backward"),
    Kernel("cuDNN attention", f"{_SCALED}_cudnn_attention", f"{_SCALED}_cudnn_attention_backward"),
    Kernel("memory-efficient attention", f"{_SCALED}_efficient_attention", f"{_SCALED}_efficient_attention_backward"),
    Kernel("plain attention (math)", f"{_SCALED}_attention_math", "SafeSoftmaxBackward0", keeps_scores=True),
    Kernel("plain attention (eager)", WRITTEN_OUT, "SoftmaxBackward0", keeps_scores=True),
)
"""Names of torch 2.10 to 2.13 (native_functions.yaml, torch/nn/attention/varlen.py); a new kernel needs a line here."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What ran, as calls of each kernel by name, in the order of `KERNELS`.

    Attributes:
        forward: calls in the forward pass.
        backward: calls in the backward pass; fewer where no gradient has to go back so far.
    """

    forward: Mapping[str, int]
    backward: Mapping[str, int]

    @property
    def words(self) -> str:
        """One phrase: the kernel, with shares where several ran, and both directions where they differ."""
        ahead, back = _phrase(self.forward), _phrase(self.backward)
        if not self.backward or set(self.forward) == set(self.backward):
            return ahead
        return f"{ahead} forward, {back} backward"

    @property
    def fused_share(self) -> float:
        """Share of the forward calls that kept no scores; 0 when nothing was recognized."""
        total = sum(self.forward.values())
        fused = sum(self.forward.get(kernel.name, 0) for kernel in KERNELS if not kernel.keeps_scores)
        return fused / total if total else 0.0


def observe(step: Callable[[], torch.Tensor], *, differentiate: Callable[[torch.Tensor], object]) -> Proof:
    """Runs a pass under the profiler and tells its attention.

    Args:
        step: the forward pass, to a scalar.
        differentiate: the backward pass from that scalar; it should leave no gradient behind.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        differentiate(step())
    return read_profile({event.key: event.count for event in profile.key_averages()})


def read_profile(calls: Mapping[str, int]) -> Proof:
    """The proof in a profile's operations and how often each was called."""
    forward = {kernel.name: calls[kernel.forward] for kernel in KERNELS if calls.get(kernel.forward)}
    backward = {
        kernel.name: calls[kernel.backward]
        for kernel in KERNELS
        if kernel.name in forward and calls.get(kernel.backward)  # routers of experts take softmax's gradient too
    }
    return Proof(forward, backward)


def why_not_flash(proof: Proof, *, softcap: bool, sinks: bool, window: bool, device: str) -> str:
    """Why a kernel that keeps no scores did not run for all layers, as a sentence; empty when it did.

    Args:
        proof: what ran.
        softcap: scores are capped (Gemma 2).
        sinks: heads have sinks (gpt-oss).
        window: some layers see a sliding window only.
        device: type of the device.
    """
    if proof.fused_share == 1.0:
        return ""
    if not proof.forward:
        return "This model attends in a way of its own that no profile's name is known for."
    if softcap:
        return "This model caps its scores, which no fused kernel knows."
    if sinks:
        return "This model's heads have sinks, which no fused kernel knows."
    if window and device == "cuda":
        return "Layers with a sliding window need a mask, which flash attention does not take."
    if device == "cuda":
        return "The number format, the width of the heads or this GPU is not one that flash attention takes."
    return "PyTorch chose it for this number format and these shapes."


def _phrase(calls: Mapping[str, int]) -> str:
    total = sum(calls.values())
    if not total:
        return UNKNOWN
    if len(calls) == 1:
        return next(iter(calls))
    return ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in calls.items())
