"""K-quants, which a llama.cpp on this machine writes; in a process of its own, as its libraries stay loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.export.gguf.llama_models import make_model, quantizing_library
from tests.core.export.gguf.reference import converter_folder, write_pieces_of

pytestmark = [pytest.mark.torch, pytest.mark.slow]

SIZES = {"hidden_size": 256, "intermediate_size": 512}
NOTES = {"llama": 0, "granite": 1}
"""What a report adds: that llama.cpp's own converter wrote the file."""
SPARE_BYTES = {"llama": 0, "granite": 5 << 20}
"""The room kept for a header that a converter writes, far more than so small a model needs."""

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
for precision in sys.argv[3:]:
    report, found = ask(precision)
    expected = estimate_bytes(base, precision)
    print(precision, report.bytes, expected, whole.bytes, divergence(wanted, found), len(report.notes), sep=" ")
print(sorted(path.name for path in place.iterdir()))
"""


def quants(base: Path, place: Path, *precisions: str) -> dict[str, float]:
    """Writes the model in each precision, in a process of its own, and says how far from F32 each answers."""
    place.mkdir()
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(base), str(place), *precisions],
        capture_output=True, text=True, cwd=Path(__file__).parents[4], check=False,
    )  # fmt: skip
    assert not asked.returncode, asked.stderr[-3000:]
    *lines, left = asked.stdout.strip().splitlines()
    lost = {}
    for line in lines:
        precision, size, expected, whole, divergence, notes = line.split()
        assert int(size) < int(whole) * 0.3
        spare = SPARE_BYTES[base.name]
        assert int(size) == pytest.approx(int(expected) - spare, rel=0.25, abs=spare / 3)
        assert int(notes) == NOTES[base.name], "all rows are multiples of 256 long"
        lost[precision] = float(divergence)
    assert left == str(sorted(f"{precision}.gguf" for precision in ("f32", *precisions)))
    return lost


def test_llama_cpp_makes_k_quants_of_what_was_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRANK_LLAMA_CPP", str(quantizing_library()))
    base = make_model(tmp_path / "llama", "llama", **SIZES)
    lost = quants(base, tmp_path / "exports", "q6_k", "q4_k_m", "q2_k")
    assert lost["q6_k"] < lost["q4_k_m"] < lost["q2_k"] < 3
    assert lost["q6_k"] < 0.02


def test_what_a_converter_wrote_becomes_a_k_quant_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter and what quantizes lie as in a llama.cpp that somebody has built."""
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    for path in converter_folder().iterdir():
        (checkout / path.name).symlink_to(path)
    (checkout / "build").mkdir()
    (checkout / "build" / "bin").symlink_to(quantizing_library())
    monkeypatch.setenv("LOWRANK_LLAMA_CPP", str(checkout))
    base = make_model(tmp_path / "granite", "granite", **SIZES)
    write_pieces_of(base)
    lost = quants(base, tmp_path / "exports", "q4_k_m", "q4_0")
    assert max(lost.values()) < 1
