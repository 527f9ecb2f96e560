"""What kernels of a device allocate where the meta device shows nothing. Each function names the source it mirrors.

Three kinds of differences exist: scratch space that a kernel takes and gives back inside one operation; operations
whose meta version cannot run; and choices between kernels that torch makes by the kind of device.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from core.engine import attention
from tests.simulator import sdpa
from tests.simulator.ledger import Answer, Ledger, Scratch

aten = torch.ops.aten
FP32 = 4
LARGEST_FUSED_4BIT = 4  # bitsandbytes/backends/cuda/ops.py: _GEMM_4BIT_CUSTOM_FLOOR_M, fused on every GPU


def rounded(size: int) -> int:
    """Bytes as CUDA's caching allocator counts them (c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize)."""
    return -(-size // 512) * 512


def up(value: int, multiple: int) -> int:
    """`value` up to the next multiple."""
    return -(-value // multiple) * multiple


def flash_head_size(width: int) -> int:
    """``head_size_rounded`` in aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp."""
    return up(up(width, 8), 32 if width <= 128 else 64)


def _varlen_backward(args: tuple[Any, ...], _: dict[str, Any]) -> int:
    """``mha_varlen_bwd`` in flash_api.cpp (torch 2.13).

    softmax_d and dq_accum in fp32 with 128 more rows for each document; dk and dv with all heads when key heads are
    grouped.
    """
    query, key, bounds = args[1], args[2], args[6]
    tokens, heads, width = query.shape
    rows = tokens + 128 * (bounds.numel() - 1)
    size = rounded(heads * rows * FP32) + rounded(rows * heads * flash_head_size(width) * FP32)
    if key.shape[1] != heads:
        size += 2 * rounded(key.shape[0] * heads * width * query.element_size())
    return size


def _flash_backward(args: tuple[Any, ...], _: dict[str, Any]) -> int:
    """``mha_bwd`` in flash_api.cpp: as above, for (batch, heads, tokens, width) and rows rounded up to 128."""
    query, key = args[1], args[2]
    batch, heads, tokens, width = query.shape
    rows = batch * up(tokens, 128) * heads
    size = rounded(rows * FP32) + rounded(rows * flash_head_size(width) * FP32)
    if key.shape[1] != heads:
        size += 2 * rounded(batch * key.shape[2] * heads * width * query.element_size())
    return size


def _efficient_backward(args: tuple[Any, ...], _: dict[str, Any]) -> int:
    """``_efficient_attention_backward`` in aten/.../transformers/cuda/attention_backward.cu: delta, one fp32 a row."""
    query = args[1]
    return rounded(query.shape[0] * query.shape[1] * query.shape[2] * FP32)


def _gemm_4bit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """``_dequant_linear_fallback`` in bitsandbytes/backends/cuda/ops.py.

    The scales in fp32, once as they are decoded and once with the offset added, and the weight in the input's format.
    For few tokens some GPUs take a fused kernel instead (`_gemm_4bit_use_custom_cuda`); only up to the number of
    tokens where all of them do, nothing is counted.
    """
    inputs, shape = args[0], args[2]
    if inputs.numel() // inputs.shape[-1] <= LARGEST_FUSED_4BIT:
        return 0
    scales = kwargs.get("absmax_8bit")
    decoded = 0 if scales is None else 2 * rounded(scales.numel() * FP32)
    return decoded + rounded(shape[0] * shape[1] * inputs.element_size())


def _gemm_4bit_cpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """``_gemm_4bit_default_impl`` in bitsandbytes/backends/default/ops.py: the same steps."""
    inputs, shape = args[0], args[2]
    scales = kwargs.get("absmax_8bit")
    decoded = 0 if scales is None else scales.numel() * FP32
    return decoded + shape[0] * shape[1] * inputs.element_size()


def _int8_quant(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """``int8_vectorwise_quant`` in bitsandbytes/backends/cuda/ops.py: |A| in fp16 and a mask, to find outliers."""
    values = args[0].numel()
    threshold = kwargs.get("threshold", args[1] if len(args) > 1 else 0.0)
    return rounded(2 * values) + rounded(values) if threshold > 0 else 0


def _int8_mixed(args: tuple[Any, ...], _: dict[str, Any]) -> int:
    """``int8_mixed_scaled_mm`` in bitsandbytes/backends/default/ops.py and ``int8_mm_dequant`` for CUDA.

    The product in int32 and its fp16 form, before the result in the input's format.
    """
    values = args[1].shape[0] * args[2].shape[0]
    return rounded(4 * values) + (0 if args[0].dtype == torch.float16 else rounded(2 * values))


def _int8_dequant(args: tuple[Any, ...], _: dict[str, Any]) -> int:
    """``int8_vectorwise_dequant`` in bitsandbytes/_ops.py: two products, one after the other, in fp32."""
    return rounded(FP32 * args[0].numel())


def _logsumexp(args: tuple[Any, ...], _: dict[str, Any]) -> int:
    """``logsumexp_out_impl`` in aten/src/ATen/native/ReduceOps.cpp: the shifted input, exponentiated in place."""
    return rounded(args[0].numel() * args[0].element_size())


def scratch(kind: str) -> dict[Any, Scratch]:
    """What kernels of a device allocate and free again inside one operation, beside its results."""
    import bitsandbytes  # noqa: F401 (registers operations)
    import torch.nn.attention.varlen

    bnb = torch.ops.bitsandbytes
    if kind == "cpu":
        return {
            aten.logsumexp.default: _logsumexp,
            bnb.gemm_4bit.default: _gemm_4bit_cpu,
            bnb.int8_vectorwise_dequant.default: _int8_dequant,
        }
    return {
        torch.ops.torch_attn._varlen_attn_backward.default: _varlen_backward,
        aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
        aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
        aten.logsumexp.default: _logsumexp,
        bnb.gemm_4bit.default: _gemm_4bit,
        bnb.int8_vectorwise_quant.default: _int8_quant,
        bnb.int8_mixed_scaled_mm.default: _int8_mixed,
        bnb.int8_vectorwise_dequant.default: _int8_dequant,
    }


def answers() -> dict[Any, Answer]:
    """Operations that cannot run without content. Activations are taken to have no outlier columns (LLM.int8)."""
    bnb = torch.ops.bitsandbytes

    def int8_quant(values: torch.Tensor, threshold: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, Any]:
        coded = torch.empty(values.shape, dtype=torch.int8, device="meta")
        scales = torch.empty(values.numel() // values.shape[-1], dtype=torch.float32, device="meta")
        return coded, scales, torch.empty(0, dtype=torch.int64, device="meta") if threshold > 0 else None

    def int8_mixed(
        values: torch.Tensor, coded: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (*coded.shape[:-1], weight.shape[0])
        return torch.empty(shape, dtype=values.dtype, device="meta"), torch.empty(0, dtype=values.dtype, device="meta")

    return {
        bnb.int8_vectorwise_quant.default: int8_quant,
        bnb.int8_mixed_scaled_mm.default: int8_mixed,
        aten._grouped_mm.default: _grouped_mm,
    }


def _grouped_mm(
    left: torch.Tensor, right: torch.Tensor, offs: torch.Tensor | None = None, *rest: Any, **options: Any
) -> torch.Tensor:
    """``_grouped_mm_cuda`` in aten/src/ATen/native/cuda/GroupedBlas.cpp, whose meta version takes bfloat16 alone.

    Other formats are multiplied group by group into the same result.
    """
    if left.dtype == torch.bfloat16 or offs is None:
        return aten._grouped_mm.default(left, right, offs, *rest, **options)
    if left.dim() == 2 and right.dim() == 2:
        shape: tuple[int, ...] = (offs.numel(), left.shape[0], right.shape[1])
    else:
        shape = (left.shape[-2], right.shape[-1])
    return torch.empty(shape, dtype=left.dtype, device="meta")


@contextmanager
def emulated(kind: str, *, ampere: bool = True) -> Iterator[Ledger]:
    """A ledger in force, on a meta device that passes for ``kind``, on CUDA for an Ampere GPU or for an older one."""
    ledger = Ledger(kind, scratch(kind), answers())
    with patched(kind, ampere=ampere), torch.device("meta"), ledger:
        ledger.probe()
        yield ledger


@contextmanager
def counted() -> Iterator[Ledger]:
    """A ledger in force over tensors that have content, on this processor: nothing is emulated."""
    ledger = Ledger("cpu", scratch("cpu"), device="cpu")
    with torch.device("cpu"), ledger:
        ledger.probe()
        yield ledger


@contextmanager
def patched(kind: str, *, ampere: bool = True) -> Iterator[None]:
    """The meta device passes for ``kind`` wherever the engine, torch or bitsandbytes ask."""
    import bitsandbytes
    from bitsandbytes.optim import optimizer as bnb_optimizer
    from transformers import masking_utils

    with ExitStack() as stack:

        def replace(where: Any, name: str, value: Any) -> None:
            before = getattr(where, name)
            setattr(where, name, value)
            stack.callback(setattr, where, name, before)

        for name in ("adam", "adamw", "optimizer"):
            module = importlib.import_module(f"torch.optim.{name}")
            if hasattr(module, "_get_fused_kernels_supported_devices"):
                replace(module, "_get_fused_kernels_supported_devices", lambda: ["meta"])
        if kind == "cuda":
            replace(torch.utils._foreach_utils, "_get_foreach_kernels_supported_devices", lambda: ["meta"])
            replace(attention, "_varlen_fits", _varlen_fits if ampere else lambda *_: False)
            replace(attention, "_shares_heads", _shares_heads if ampere else lambda *_: False)
            replace(functional, "dropout", _cuda_dropout)
            replace(functional, "scaled_dot_product_attention", partial(sdpa.cuda, ampere=ampere))
        else:
            replace(functional, "scaled_dot_product_attention", sdpa.cpu)
            replace(bitsandbytes, "matmul", _cpu_matmul_int8)
        replace(logging.getLogger("bitsandbytes.autograd._functions"), "disabled", True)  # LLM.int8 says it rounds
        replace(masking_utils, "find_packed_sequence_indices", lambda *_, **__: None)  # looks at the positions' values
        replace(bnb_optimizer, "sync_gpu", lambda _: None)
        replace(bitsandbytes.functional, "is_on_gpu", lambda _: True)
        replace(bnb_optimizer.Optimizer8bit, "get_state_buffer", _state_buffer)
        replace(bnb_optimizer.Optimizer8bit, "prefetch_state", lambda *_: None)
        yield


def _varlen_fits(query: torch.Tensor, held: attention.Documents) -> bool:
    """`core.engine.attention._varlen_fits` on an Ampere GPU."""
    padded = query.shape[2] + 128 * (len(held.bounds) - 1)
    small = padded * query.shape[1] * up(query.shape[3], 32) < 2**31
    return small and query.dtype in (torch.float16, torch.bfloat16)


def _shares_heads(query: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """`core.engine.attention._shares_heads` on an Ampere GPU."""
    return (
        mask is None and query.dtype in (torch.float16, torch.bfloat16) and query.shape[3] <= sdpa.LARGEST_FLASH_WIDTH
    )


def _cuda_dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002
    """aten/src/ATen/native/Dropout.cpp: CUDA takes ``native_dropout``, which keeps a mask of one byte a number."""
    if p == 0.0 or not training:
        return input
    return torch.native_dropout(input, p, True)[0]


def _cpu_matmul_int8(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor | None = None,
    state: Any = None,
    threshold: float = 0.0,
    bias: torch.Tensor | None = None,
) -> Any:
    """``matmul`` in bitsandbytes/autograd/_functions.py, whose choice of a function asks for the device."""
    from bitsandbytes.autograd._functions import MatMul8bitFp, MatMul8bitLt

    chosen = MatMul8bitFp if state.is_training else MatMul8bitLt
    return chosen.apply(inputs, weight, out, bias, state)


def _state_buffer(self: Any, parameter: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """``get_state_buffer`` in bitsandbytes/optim/optimizer.py; paged states lie in managed memory, not in torch's."""
    if not self.is_paged or parameter.numel() < 1e5:
        return torch.zeros_like(parameter, dtype=dtype, device=parameter.device)
    return torch.empty(0, dtype=dtype, device="meta")
