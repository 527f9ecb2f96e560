"""What must be set before the first tensor exists: environment, threads, seeds, determinism."""

import os
import random
import sys

import torch


def quiet_libraries() -> None:
    """Turns off progress bars and advice meant for terminals; real warnings still reach ``engine.log``."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def use_threads(count: int) -> None:
    """Sets the number of threads that compute; one thread more than cores only makes them wait for each other."""
    if count > 0:
        torch.set_num_threads(count)


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
    torch.backends.cudnn.benchmark = False


def torch_dtype(name: str) -> torch.dtype:
    """The torch type for a plan's ``bf16``, ``fp16`` or ``fp32``."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
