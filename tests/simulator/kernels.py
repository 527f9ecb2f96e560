"""What CUDA kernels allocate beyond their results, and which kernel a device would take. Each names its source."""

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from core.engine import attention
from tests.simulator.ledger import Scratch

aten = torch.ops.aten
FP32 = 4


def _rounded(bytes_: int) -> int:
    return -(-bytes_ // 512) * 512


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def flash_head_size(width: int) -> int:
    """Rounded head width: flash_api.cpp, ``head_size_rounded``."""
    width = _up(width, 8)
    return _up(width, 32 if width <= 128 else 64)


def varlen_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """``mha_varlen_bwd`` in aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp (torch 2.13).

    softmax_d and dq_accum in fp32, each row of a document padded by up to 128; dk and dv at the full number of heads
    when key heads are grouped.
    """
    query, key, bounds = args[1], args[2], args[6]
    tokens, heads, width = query.shape
    rows = tokens + 128 * (bounds.numel() - 1)
    scratch = _rounded(heads * rows * FP32) + _rounded(rows * heads * flash_head_size(width) * FP32)
    if key.shape[1] != heads:
        scratch += 2 * _rounded(key.shape[0] * heads * width * query.element_size())
    return scratch


def scratch(kind: str) -> dict[Any, Scratch]:
    """What kernels of a device allocate and free again inside one operation, beside its results."""
    import torch.nn.attention.varlen  # registers the operations

    if kind == "cpu":
        return {}
    return {torch.ops.torch_attn._varlen_attn_backward.default: varlen_backward}


@contextmanager
def patched(kind: str) -> Iterator[None]:
    """The meta device passes for ``kind`` wherever the engine, torch or bitsandbytes ask."""
    with ExitStack() as stack:

        def replace(where: Any, name: str, value: Any) -> None:
            before = getattr(where, name)
            setattr(where, name, value)
            stack.callback(setattr, where, name, before)

        if kind == "cuda":
            replace(attention, "_varlen_fits", _varlen_fits)
        devices = torch.utils._foreach_utils
        for name in ("adam", "adamw", "optimizer"):
            module = importlib.import_module(f"torch.optim.{name}")
            if hasattr(module, "_get_fused_kernels_supported_devices"):
                replace(module, "_get_fused_kernels_supported_devices", lambda: ["meta"])
        replace(devices, "_get_foreach_kernels_supported_devices", lambda: ["meta"])
        yield


def _varlen_fits(query: torch.Tensor, held: attention.Documents) -> bool:
    """The engine's rule on an Ampere GPU."""
    padded = query.shape[2] + 128 * (len(held.bounds) - 1)
    small = padded * query.shape[1] * _up(query.shape[3], 32) < 2**31
    return small and query.dtype in (torch.float16, torch.bfloat16)
