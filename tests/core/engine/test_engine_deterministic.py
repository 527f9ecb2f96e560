"""Seeds for all sources of chance, and kernels that give the same bits where that is asked for."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.torch

ASKED = """
import os, random
import numpy as np
import torch
from core.engine import bootstrap
bootstrap.be_deterministic()
assert torch.are_deterministic_algorithms_enabled()
assert torch.is_deterministic_algorithms_warn_only_enabled()
assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
assert not torch.cuda.is_initialized()  # cuBLAS reads its setting when it begins
def drawn():
    return random.random(), float(np.random.random()), float(torch.rand(())), float(torch.nn.Linear(3, 3).weight.sum())
bootstrap.seed_everything(5)
first = drawn()
bootstrap.seed_everything(5)
assert drawn() == first
bootstrap.seed_everything(6)
assert all(a != b for a, b in zip(drawn(), first))
bootstrap.seed_everything(2**32 - 1)
print("good")
"""


def test_what_determinism_turns_on_in_a_process_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "good"
