"""``lowrank bench``: speed and memory of attention, or of a model's answers, on this computer."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.numbers import whole_number
from core.errors import ExitCode, UserError, error

if TYPE_CHECKING:
    from core.runs.attention_bench import AttentionBench, Cell

_BAR = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("what", choices=("attention", "inference"), help="what to measure")
    parser.add_argument("target", nargs="?", default="", metavar="RUN|MODEL", help="whose answers are measured")
    parser.add_argument("--prompt", default="512", metavar="N", help="tokens that are read (inference; 512)")
    parser.add_argument("--tokens", default="64", metavar="N", help="tokens that are written (inference; 64)")
    parser.add_argument(
        "--lengths", default="", metavar="N,N", help="tokens of a row, with commas (512 to 16384, each twice the last)"
    )
    parser.add_argument("--model", default="", metavar="MODEL", help="the model whose heads are measured (the starter)")
    parser.add_argument("--plot", default="", metavar="FILE.svg", help="also draw the result into this file")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Measures in engines of their own and prints a table; what was measured before Ctrl+C is printed as well."""
    return _inference(options, console) if options.what == "inference" else _attention(options, console)


def _inference(options: argparse.Namespace, console: Console) -> ExitCode:
    from core.cli.inference_bench import bench_inference

    if not options.target:
        raise UserError(error("", "It is not said whose answers to measure.", "Name a RUN or a MODEL."))
    numbers: list[int] = []
    for name in ("prompt", "tokens"):
        text = getattr(options, name)
        number = whole_number(text, 2, 131_072)
        if number is None:
            advice = "Write one from 2 to 131,072."
            raise UserError(error(f"--{name}", f"“{text}” is no whole number that can be measured.", advice))
        numbers.append(number)
    prompt, generated = numbers
    return bench_inference(options.target, prompt, generated, console)


def _attention(options: argparse.Namespace, console: Console) -> ExitCode:
    from core.cli.jobs import run_job
    from core.paths import write_atomic
    from core.records import to_plain
    from core.runs.attention_bench import bench_path, load_bench
    from core.runs.attention_plot import draw_svg
    from core.runs.attention_shape import shape_of

    if options.target:
        raise UserError(error("", f"“{options.target}” is one word too many.", "Name the model with --model."))
    lengths, shape = _lengths(options.lengths), shape_of(options.model)
    arguments = {"bench": to_plain(shape), "lengths": lengths, "path": str(bench_path())}
    finished = run_job("bench_attention", arguments, console)
    bench = load_bench(bench_path())
    if bench is None or bench.time != shape.time:
        bench = shape  # stopped before the first measurement
    _print(bench, console)
    if options.plot:
        try:
            write_atomic(Path(options.plot), draw_svg(bench))
        except OSError as failure:
            raise UserError(
                error("--plot", f"{options.plot} cannot be written: {failure.strerror or failure}.", "Name another.")
            ) from failure
        console.line(f"Plot     {options.plot}")
    code = finished.outcome.exit_code
    console.result({**to_plain(bench), "exit_code": int(code)})
    return code


def _lengths(text: str) -> list[int]:
    from core.runs.attention_bench import LENGTHS

    if not text:
        return list(LENGTHS)
    lengths = {whole_number(word.strip(), 16, 1_048_576) for word in text.split(",")}
    if None in lengths:
        raise UserError(error("--lengths", f"“{text}” is no list of lengths.", "Write whole numbers: 512,2048."))
    return sorted(length for length in lengths if length is not None)


def _print(bench: "AttentionBench", console: Console) -> None:
    from core.runs.attention_bench import FUSED, PLAIN

    console.line(
        console.bold(f"Attention of {bench.model}")
        + f": {bench.heads} heads of {bench.head_dim} ({bench.kv_heads} of keys), {bench.dtype}, {bench.device}"
    )
    if not bench.cells:
        return
    console.paragraph("One layer, forward and backward. Memory is the measured peak above what the inputs take.")
    console.line()
    console.line(
        console.bold(
            f"{'Length':>7}  {'tokens/s':>10}  {'plain':>10}  {'ratio':>6}  {'memory':>9}  {'plain':>9}  {'ratio':>6}"
        )
    )
    for length in bench.lengths:
        fused, plain = bench.cell(length, FUSED), bench.cell(length, PLAIN)
        speed = _ratio(fused.speed if fused else 0, plain.speed if plain else 0)
        memory = _ratio(fused.peak_bytes if fused else 0, plain.peak_bytes if plain else 0)
        console.line(
            f"{length:>7,}  {_speed(fused):>10}  {_speed(plain):>10}  {speed:>6}  "
            f"{_memory(fused):>9}  {_memory(plain):>9}  {memory:>6}"
        )
    console.line()
    most = max(cell.speed for cell in bench.cells)
    for length in bench.lengths:
        for cell in (bench.cell(length, FUSED), bench.cell(length, PLAIN)):
            if cell is None:
                continue
            mark = "█" if cell.way == FUSED else "░"
            filled = mark * max(1, round(_BAR * cell.speed / most)) if cell.speed else ""
            words = f"{cell.speed:,.0f} tokens/s" if cell.speed else f"not run: {cell.skipped}"
            name = "fused" if cell.way == FUSED else "plain"
            console.line(f"{length:>7,}  {name}  {filled:<{_BAR}}  {words}")
    console.line()
    for kernel in dict.fromkeys(cell.kernel for cell in bench.cells if cell.kernel):
        console.line(f"The profiler saw {kernel}.")


def _speed(cell: "Cell | None") -> str:
    return f"{cell.speed:,.0f}" if cell and cell.speed else "not run"


def _memory(cell: "Cell | None") -> str:
    from core.units import format_bytes

    return format_bytes(cell.peak_bytes) if cell and cell.seconds else "not run"


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}×" if one and other else ""
