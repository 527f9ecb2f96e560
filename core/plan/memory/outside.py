"""What a process takes beside its tensors: the device's context, the libraries, and what the allocator keeps.

Tensors are counted exactly; this part is measured, and `core.facts.types.DeviceRecord` brings what earlier runs saw.
"""

from core.facts.types import DeviceKind
from core.plan.cards import HOPPER
from core.units import GIB, KIB, MIB

# A CUDA context with the kernels of torch and cuBLAS: 0.3 to 0.8 GiB by GPU and driver; 763 MiB were seen on an H200.
CUDA_CONTEXT = GIB // 2 + 32 * MIB
HOPPER_CONTEXT = 3 * GIB // 4
# What cuBLAS multiplies with, one for the forward and one for the backward pass's thread, taken from torch's allocator
# and kept (parseChosenWorkspaceSize in aten/src/ATen/cuda/CublasHandlePool.cpp); 64 MiB were seen on an H200.
CUBLAS_WORKSPACE = 2 * (4 * MIB) + 8 * (16 * KIB)
HOPPER_WORKSPACE = 32 * MIB
CUBLAS_HANDLES = 2
# Fitted, like the slack below, to the resident memory of real runs of the starter model: benchmarks/memory_on_cpu.py.
# A Python process with torch, transformers and peft, 0.4 GiB before the first step, what their first use adds, and
# what PyTorch's profiler leaves behind, which watches a forward and a backward pass before the first step.
CPU_PROCESS = 33 * GIB // 64
# With 4-bit weights the process is larger by what making them leaves behind in its heap.
CPU_NF4 = 3 * GIB // 32
CUDA_SLACK = 0.03
# Freed blocks that the C library keeps (core.engine.bootstrap.keep_freed_memory), and oneDNN's scratch.
CPU_SLACK = 0.3


def context_bytes(kind: DeviceKind, capability: tuple[int, int], quantization: str) -> int:
    """What is there beside the weights when they are loaded."""
    if kind == "cpu":
        return CPU_PROCESS + (CPU_NF4 if quantization == "nf4" else 0)
    return HOPPER_CONTEXT if capability >= HOPPER else CUDA_CONTEXT


def library_bytes(kind: DeviceKind, capability: tuple[int, int]) -> int:
    """What cuBLAS takes from torch's allocator; newer GPUs than Hopper are taken to be like it."""
    if kind == "cpu":
        return 0
    return CUBLAS_HANDLES * (HOPPER_WORKSPACE if capability >= HOPPER else CUBLAS_WORKSPACE)


def slack_bytes(kind: DeviceKind, static: int, moving: int) -> int:
    """What the allocator cannot give to anybody else; blocks of changing size leave gaps."""
    return round((static + moving) * CUDA_SLACK) if kind == "cuda" else round(moving * CPU_SLACK)


def shown_bytes(kind: DeviceKind, allocated: int, peak: int, outside: int = 0) -> int:
    """What the system's monitor shows at most: on a GPU with the allocator's cache, which it gives up when needed.

    ``outside`` is what earlier runs on the device showed beyond their tensors; 0 while there were none. Then it is what
    must fit: on an H200 runs between 14 and 54 GiB showed 98.0 to 99.7 % of that.
    """
    return max(peak, allocated + outside) if kind == "cuda" else peak
