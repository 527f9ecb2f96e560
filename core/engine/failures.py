"""From an exception to words: what failed, why, and what to do next."""

import errno
import re
import traceback

import torch

from core.errors import Failure, FailureKind, JobError, UserError

# “I/O error: No space left on device (os error 28)”, as Rust's standard library words it.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_WINDOWS_DISK_FULL = 112


def describe(error: BaseException) -> Failure:
    """The failure behind an exception; unknown ones are internal and keep their traceback."""
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, JobError):
        known = error.failure
        return Failure(known.kind, known.message, known.hint, detail)
    if isinstance(error, UserError):
        first = error.problems[0]
        more = f" ({len(error.problems) - 1} more problems are in engine.log.)" if len(error.problems) > 1 else ""
        return Failure(FailureKind.BAD_DATA, f"{first.path}: {first.message}{more}", first.advice, detail)
    if is_out_of_memory(error):
        return Failure(
            FailureKind.OUT_OF_MEMORY,
            "The memory ran out.",
            "Load the base in 4 bits, lower training.micro_batch_tokens or data.max_length, or turn on activation "
            "checkpointing; “lowrank plan” shows what each change saves.",
            detail,
        )
    if is_disk_full(error):
        name = getattr(error, "filename", None)
        return Failure(
            FailureKind.DISK_FULL,
            f"The disk is full; {name} could not be written." if name else "The disk is full.",
            "Free some space, then go on or try again: what was saved before is whole, and nothing half-written is "
            "left.",
            detail,
        )
    return Failure(
        FailureKind.INTERNAL,
        f"The engine failed unexpectedly: {type(error).__name__}: {_first_line(error)}",
        "engine.log in the run's folder has the whole story; a report with it is welcome.",
        detail,
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether a file found no room; the Rust libraries (safetensors, tokenizers) say so in words alone."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    said = _OS_ERROR.search(str(error))
    return said is not None and int(said[1]) in (errno.ENOSPC, errno.EDQUOT, _WINDOWS_DISK_FULL)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller pass might have gone through."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    # Only PyTorch's allocator for GPUs has an exception of its own. The one for the processor has not, and what is
    # taken beside it (pinned memory, cuBLAS' workspace) ends in an error of CUDA or cuBLAS.
    said = str(error)
    return (
        "DefaultCPUAllocator: can't allocate memory" in said
        or "CUDA error: out of memory" in said
        or "CUBLAS_STATUS_ALLOC_FAILED" in said
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "no message"
