"""K-quants, which a llama.cpp on this machine writes; in a process of its own, as its libraries stay loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.export.gguf.llama_models import make_model, quantizing_library

pytestmark = [pytest.mark.torch, pytest.mark.slow]

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from core.export.gguf import estimate_bytes, write_gguf
from core.export.gguf.runtime import LlamaModel, find_runtime
from core.export.verification.answers import divergence

base, place = map(Path, sys.argv[1:3])
ids = tuple(range(10, 40))

def ask(precision):
    report = write_gguf(base, None, place / f"{precision}.gguf", precision)
    with LlamaModel(find_runtime(), report.path, threads=1) as model:
        return report, model.logits(ids)

whole, wanted = ask("f32")
for precision in ("q6_k", "q4_k_m", "q2_k"):
    report, found = ask(precision)
    expected = estimate_bytes(base, precision)
    print(precision, report.bytes, expected, whole.bytes, divergence(wanted, found), len(report.notes), sep=" ")
print(sorted(path.name for path in place.iterdir()))
"""


def test_llama_cpp_makes_k_quants_of_what_was_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = quantizing_library()
    monkeypatch.setenv("LOWRANK_LLAMA_CPP", str(folder))
    base = make_model(tmp_path / "base", "llama", hidden_size=256, intermediate_size=512)
    place = tmp_path / "exports"
    place.mkdir()
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(base), str(place)],
        capture_output=True, text=True, cwd=Path(__file__).parents[4], check=False,
    )  # fmt: skip
    assert not asked.returncode, asked.stderr[-3000:]
    *lines, left = asked.stdout.strip().splitlines()
    lost = {}
    for line in lines:
        precision, size, expected, whole, divergence, notes = line.split()
        assert int(size) < int(whole) * 0.3
        assert int(size) == pytest.approx(int(expected), rel=0.25)
        assert int(notes) == 0, "all rows are multiples of 256 long"
        lost[precision] = float(divergence)
    assert lost["q6_k"] < lost["q4_k_m"] < lost["q2_k"] < 3
    assert lost["q6_k"] < 0.02
    assert left == "['f32.gguf', 'q2_k.gguf', 'q4_k_m.gguf', 'q6_k.gguf']"
