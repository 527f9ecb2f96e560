"""What counts as a lack of memory, which smaller passes help against, and what does not."""

import pytest

torch = pytest.importorskip("torch")

from core.engine.failures import describe, is_out_of_memory  # noqa: E402
from core.errors import FailureKind  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["host", "allocator", "host allocator", "pinned memory", "cuBLAS"],
)
def test_the_memory_ran_out(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert describe(error).kind is FailureKind.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
        ValueError("CUDA error: out of memory"),
    ],
    ids=["illegal access", "failed product", "no error of PyTorch's"],
)
def test_what_smaller_passes_do_not_help_against(error: BaseException) -> None:
    assert not is_out_of_memory(error)
    assert describe(error).kind is FailureKind.INTERNAL
