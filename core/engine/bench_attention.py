"""The job ``bench_attention``: speed and memory of attention as runs use it, beside every score written out."""

import ctypes
import gc
import platform
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from core.engine import attention, bootstrap
from core.engine.attention import Documents, documents
from core.engine.attention_proof import observe
from core.engine.context import JobContext
from core.engine.memory import Meter
from core.events.types import Completed, Stopped
from core.runs.attention_bench import FUSED, PLAIN, AttentionBench, Cell, save_bench
from core.units import format_bytes, format_duration

REPETITIONS = 3
MOST_SECONDS = 60.0
"""A pass that would take longer is not run: three of them and the look at memory should stay within minutes."""
_MARGIN = 0.8
"""Share of the free memory that a pass may be expected to take; other programs go on working."""


def bench_attention(context: JobContext, arguments: dict[str, Any]) -> None:
    """Measures and writes an `AttentionBench` after each cell.

    Args:
        context: the job's side of the protocol.
        arguments: ``bench`` (an `AttentionBench` without cells, as its fields), ``lengths`` and ``path``.
    """
    began = time.monotonic()
    bench = AttentionBench(**{**arguments["bench"], "cells": ()})
    lengths = [int(length) for length in arguments["lengths"]]
    path, device = Path(arguments["path"]), torch.device(bench.device)
    bootstrap.use_device(device)
    bootstrap.use_threads(bench.threads)
    todo = [(length, way) for length in lengths for way in (FUSED, PLAIN)]
    with context.phase("evaluate", "Measuring attention"):
        for done, (length, way) in enumerate(todo):
            context.progress("evaluate", done, len(todo), "measurements")
            if context.interrupted:
                context.emit(Stopped(0, "stop", resumable=False))
                return
            cell = _cell(context, bench, length, way, device)
            if cell is None:
                context.emit(Stopped(0, "stop", resumable=False))
                return
            bench = replace(bench, cells=(*bench.cells, cell))
            save_bench(bench, path)
    message = f"Measured attention at {len(lengths)} lengths."
    context.emit(Completed(0, time.monotonic() - began, message, {"path": str(path)}))


def _cell(context: JobContext, bench: AttentionBench, length: int, way: str, device: torch.device) -> Cell | None:
    """Measures one cell, or says why not; None when somebody wants the end, which is asked after each pass."""
    needed, seconds = _expected(bench, length, way)
    if needed > _MARGIN * _free_bytes(device):
        return Cell(length, way, skipped=f"would need {format_bytes(needed)}")
    if seconds > MOST_SECONDS:
        return Cell(length, way, skipped=f"would take {format_duration(seconds)} a pass")
    tensors = _inputs(bench, length, device)
    attend = attention.implementation("flash" if way == FUSED else "eager")
    held = Documents.of_lengths((length,), device)

    def forward() -> torch.Tensor:
        attended, _ = attend(torch.nn.Identity(), *tensors[:3], None)
        return (attended * tensors[3]).sum()

    def backward(loss: torch.Tensor) -> None:
        torch.autograd.grad(loss, tensors[:3])

    with documents(held):
        proof = observe(forward, differentiate=backward)
        if _must_end(context):
            return None
        _give_back()
        meter = Meter(device)
        before = _taken_bytes(device)
        backward(forward())
        _wait(device)
        peak = max(0, meter.highest - before)
        times: list[float] = []
        while len(times) < REPETITIONS:
            if _must_end(context):
                return None
            started = time.perf_counter()
            backward(forward())
            _wait(device)
            times.append(time.perf_counter() - started)
    return Cell(length, way, proof.words, statistics.median(times), peak)


def _must_end(context: JobContext) -> bool:
    return context.interrupted  # a function, because type checkers take a property for as constant as a field


def _expected(bench: AttentionBench, length: int, way: str) -> tuple[int, float]:
    """Bytes and seconds of a pass before it is run: from the length before, grown as the scores grow."""
    known = [cell for cell in bench.cells if cell.way == way and cell.seconds and cell.length < length]
    if known:
        last = known[-1]
        growth = (length / last.length) ** 2
        return int(last.peak_bytes * (growth if way == PLAIN else length / last.length)), last.seconds * growth
    if way == FUSED:
        return 0, 0.0
    width = torch.finfo(bootstrap.torch_dtype(bench.dtype)).bits // 8
    # Scores, scaled, masked and as weights in the format of the run; softmax and its gradient in 32 bits.
    return bench.heads * length**2 * (4 * width + 2 * 4), 0.0


def _inputs(bench: AttentionBench, length: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Query, key and value as a model gives them, and a gradient for the result; the same numbers each time."""
    made = torch.Generator(device).manual_seed(0)
    dtype = bootstrap.torch_dtype(bench.dtype)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=made, device=device, dtype=torch.float32).to(dtype)

    query = draw(1, bench.heads, length, bench.head_dim).requires_grad_()
    key, value = (draw(1, bench.kv_heads, length, bench.head_dim).requires_grad_() for _ in range(2))
    return query, key, value, draw(1, length, bench.heads, bench.head_dim)


def _give_back() -> None:
    """Returns freed memory to the system, so that what is resident is what is in use."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _taken_bytes(device: torch.device) -> int:
    import psutil

    return int(torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss)


def _free_bytes(device: torch.device) -> int:
    import psutil

    return int(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
