"""Attention measured: real cells of real passes, what is left out and why, and the drawing."""

import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

torch = pytest.importorskip("torch")

from core.engine import bench_attention as job  # noqa: E402
from core.engine.attention_check import check  # noqa: E402
from core.engine.context import JobContext  # noqa: E402
from core.records import to_plain  # noqa: E402
from core.runs.attention_bench import FUSED, PLAIN, AttentionBench, Cell, load_bench  # noqa: E402
from core.runs.attention_plot import draw_svg  # noqa: E402
from core.runs.layout import RunFolder  # noqa: E402

SHAPE = AttentionBench("tiny", "cpu", "bf16", heads=4, kv_heads=2, head_dim=32, threads=1, time=time.time())


def measure(folder: Path, lengths: list[int]) -> AttentionBench:
    run = RunFolder(folder)
    run.control.mkdir()
    context = JobContext(run)
    arguments = {"bench": to_plain(SHAPE), "lengths": lengths, "path": str(folder / "bench.json")}
    try:
        job.bench_attention(context, arguments)
    finally:
        context.close()
    bench = load_bench(folder / "bench.json")
    assert bench is not None
    return bench


def test_both_ways_are_run_timed_and_recognized(tmp_path: Path) -> None:
    bench = measure(tmp_path, [256, 1024])
    assert bench.lengths == (256, 1024)
    for length in bench.lengths:
        fused, plain = bench.cell(length, FUSED), bench.cell(length, PLAIN)
        assert fused is not None
        assert plain is not None
        assert "flash" in fused.kernel
        assert plain.kernel == "plain attention (eager)"
        assert min(fused.speed, plain.speed) > 0
    longest = bench.cell(1024, PLAIN)
    assert longest is not None
    assert longest.peak_bytes > 4 * 1024**2 * 2  # the weights of all heads, at least, were there and were measured


def test_what_would_not_fit_is_predicted_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_free_bytes", lambda _device: 1024**2)
    bench = measure(tmp_path, [512])
    fused, plain = bench.cell(512, FUSED), bench.cell(512, PLAIN)
    assert fused is not None
    assert plain is not None
    assert fused.seconds > 0
    assert plain.skipped.startswith("would need 16.0 MiB")
    assert (plain.seconds, plain.peak_bytes) == (0.0, 0)


def test_a_stop_ends_it_and_leaves_no_cell_half_done(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.control.mkdir()
    run.request("stop").touch()
    context = JobContext(run)
    job.bench_attention(context, {"bench": to_plain(SHAPE), "lengths": [128], "path": str(tmp_path / "bench.json")})
    context.close()
    assert load_bench(tmp_path / "bench.json") is None
    assert '"stop"' in run.events().read_text(encoding="utf-8")


def test_the_doctors_attention_is_exact_and_recognized() -> None:
    ran, fused, difference = check(torch.device("cpu"), torch.float32, 4, 2, 32)
    assert (ran, fused) == ("flash attention (CPU)", True)
    assert difference < 1e-4
    ran, fused, rounded = check(torch.device("cpu"), torch.bfloat16, 4, 2, 32)
    assert "flash" in ran
    assert difference < rounded < 0.1


def test_the_drawing_holds_a_line_for_each_way_and_no_cell_that_was_not_run() -> None:
    cells = (
        Cell(512, FUSED, "flash", 0.1, 2**20),
        Cell(512, PLAIN, "plain", 0.2, 2**24),
        Cell(16384, FUSED, "flash", 9.0, 2**26),
        Cell(16384, PLAIN, skipped="would need 9 GiB"),
    )
    drawn = ET.fromstring(draw_svg(AttentionBench("a<b", "cpu", "bf16", 9, 3, 64, 1, 0.0, cells)))
    lines = [item for item in drawn.iter() if item.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 1, 2, 1]
    assert "a<b" in drawn.attrib["aria-label"]
