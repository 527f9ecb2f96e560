"""What must be set before the first tensor exists: environment, threads, seeds, determinism."""

import ctypes
import functools
import os
import platform
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch

from core.engine.collecting import collecting_later

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_MAPPED_BYTES = 128 * 1024  # what glibc begins with
_KEPT_BYTES = 32 * 1024**2  # the most that every glibc takes as a threshold (HEAP_MAX_SIZE / 2)


def quiet_libraries() -> None:
    """Imports what loads models, and turns off progress bars and advice meant for terminals.

    Real warnings still reach ``engine.log``.
    """
    with collecting_later():
        import transformers

        if find_spec("bitsandbytes"):  # before PEFT, which imports it wherever it is
            with _compiling_later():
                import bitsandbytes  # noqa: F401
        import peft  # noqa: F401

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


@contextmanager
def _compiling_later() -> Iterator[None]:
    """What is given to ``torch.compile`` inside is given to it when it is first called.

    bitsandbytes compiles functions as it is imported. The compiler itself starts at the first call anyway, but is
    imported at once: a second of every start, for functions that few runs ever call.
    """
    compile_now = torch.compile

    def compile_later(model: Callable[..., Any] | None = None, **settings: Any) -> Any:
        if model is None:
            return functools.partial(compile_later, **settings)
        compiled = functools.cache(lambda: compile_now(model, **settings))

        @functools.wraps(model)
        def first_compiled(*values: Any, **named: Any) -> Any:
            return compiled()(*values, **named)

        return first_compiled

    torch.compile = compile_later
    try:
        yield
    finally:
        torch.compile = compile_now


def use_threads(count: int) -> None:
    """Sets the number of threads that compute; one thread more than cores only makes them wait for each other."""
    if count > 0:
        torch.set_num_threads(count)


def use_device(device: torch.device) -> None:
    """Makes a GPU the one that is meant where none is named, as when bitsandbytes waits; else that is the first one."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def return_freed_memory() -> None:
    """Has glibc give every larger block back to the system as soon as it is freed, until `keep_freed_memory`.

    By itself it would keep ever larger blocks: making 4-bit weights of the starter model left 330 MiB of holes, and the
    process took 922 MiB while it loaded instead of 684.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)


def keep_freed_memory() -> None:
    """Lets glibc keep what is freed for the next tensor of that size, instead of giving it back to the system.

    By default anything above 32 MiB, and much below, is mapped anew each time: the system clears every page of it
    again, which cost more than the arithmetic of attention on documents of 200 tokens. What was freed before is given
    back, so that left-overs of loading do not stay. Does nothing where the C library is another one. Source: glibc's
    ``mallopt(3)`` and ``malloc_trim(3)``.
    """
    library = _glibc()
    if library is None:
        return
    library.malloc_trim(0)
    library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
    library.mallopt(_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is one whose habits are known here."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)


def lower_priority() -> None:
    """Lets the window and other programs go first on a machine whose processor trains."""
    if sys.platform != "win32":
        os.nice(5)


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy, torch and every GPU; the start of adapters and dropout depend on it."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def be_deterministic() -> None:
    """Asks torch for kernels that give the same bits every time, where such kernels exist."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def torch_dtype(name: str) -> torch.dtype:
    """The torch type for a plan's ``bf16``, ``fp16`` or ``fp32``."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
