"""How much memory the work has taken so far, on the device that does it."""

import sys

import torch


def peak_bytes(device: torch.device) -> int:
    """Peak since the start: allocated by tensors on CUDA, resident in RAM on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
