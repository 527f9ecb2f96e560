"""The libraries of an engine come in without the compiler that few runs use, and compile all the same when asked."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from core.engine import bootstrap  # noqa: E402
from core.engine.collecting import collecting_later  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]
START = """
import sys
from core.engine.bootstrap import quiet_libraries

quiet_libraries()
print([name for name in ("bitsandbytes", "peft", "torch._inductor.compile_fx") if name in sys.modules])

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

numbers = torch.arange(64.0)[None]
packed, state = quantize_4bit(numbers, quant_type="nf4")
print(torch.allclose(dequantize_4bit(packed, state), numbers, atol=9))
"""


def test_a_start_imports_no_compiler_and_can_quantize() -> None:
    done = subprocess.run([sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['bitsandbytes', 'peft']", "True"]


def test_what_is_compiled_while_libraries_come_in_is_compiled_once_when_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def compile_now(model: Any, **settings: Any) -> Any:
        asked.append((model.__name__, settings))
        return lambda number: model(number) + 100

    monkeypatch.setattr(torch, "compile", compile_now)
    with bootstrap._compiling_later():

        @torch.compile
        def one(number: int) -> int:
            return number + 1

        @torch.compile(dynamic=False)
        def two(number: int) -> int:
            return number + 2

    assert torch.compile is compile_now
    assert not asked
    assert [one(0), one(0), two(0)] == [101, 101, 102]
    assert asked == [("one", {}), ("two", {"dynamic": False})]


def test_python_looks_for_cycles_again_whatever_happened() -> None:
    def fail_to_import() -> None:
        with collecting_later():
            assert not gc.isenabled()
            raise ImportError

    with pytest.raises(ImportError):
        fail_to_import()
    assert gc.isenabled()
