"""What a process takes beside its tensors: the device's context, the libraries, and what the allocator keeps.

Tensors are counted exactly; this part is measured, and `core.facts.types.DeviceRecord` brings what earlier runs saw.
"""

from core.facts.types import DeviceKind
from core.units import GIB, MIB

# A CUDA context with cuBLAS and its workspaces: 0.3 to 0.8 GiB by GPU and driver.
CUDA_CONTEXT = GIB // 2 + 32 * MIB
# Fitted, like the slack below, to the resident memory of real runs of the starter model: benchmarks/memory_on_cpu.py.
# A Python process with torch, transformers and peft, 0.5 GiB before the first step, and what their first use adds.
CPU_PROCESS = 11 * GIB // 16
CUDA_SLACK = 0.03
# Small freed blocks that the C library keeps (large ones go back, see core.runs.child_env), and oneDNN's scratch.
CPU_SLACK = 0.2
# nvidia-smi over the allocated peak on published runs with a chunked loss, context included: 1.06 to 1.14.
CUDA_SHOWN = 1.10


def context_bytes(kind: DeviceKind) -> int:
    """What is there before the first weight is loaded."""
    return CUDA_CONTEXT if kind == "cuda" else CPU_PROCESS


def slack_bytes(kind: DeviceKind, static: int, moving: int) -> int:
    """What the allocator cannot give to anybody else; blocks of changing size leave gaps."""
    return round((static + moving) * CUDA_SLACK) if kind == "cuda" else round(moving * CPU_SLACK)


def shown_bytes(kind: DeviceKind, allocated: int, peak: int, outside: int = 0) -> int:
    """What the system's monitor shows at most: on a GPU with the allocator's cache, which it gives up when needed.

    ``outside`` is what earlier runs on the device showed beyond their tensors; 0 while there were none.
    """
    if kind != "cuda":
        return peak
    return max(peak, allocated + outside if outside else round(allocated * CUDA_SHOWN))
