"""The job ``bench_inference``: how fast one model reads and writes in one format, and the memory that it takes."""

import gc
import statistics
import time
from typing import Any

import torch
from torch import nn

from core.data.tokenizer import Tokenizer
from core.engine.context import JobContext
from core.engine.memory import Meter
from core.engine.respondent import Respondent, load_respondent
from core.engine.sampling import Sampling, answer
from core.events.types import Completed, Stopped
from core.records import to_plain
from core.runs.inference_bench import InferenceCell

REPETITIONS = 3
_TEXT = "A river begins as rain on a hill, and every valley that it passes gives it another stream to carry. "


def bench_inference(context: JobContext, arguments: dict[str, Any]) -> None:
    """Measures one `InferenceCell`, which is the result of the job.

    Args:
        context: the job's side of the protocol.
        arguments: those of `load_respondent`, ``state``, ``prompt`` and ``generated`` (tokens).
    """
    began = time.monotonic()
    device = torch.device(arguments.get("device", "cpu"))
    meter = Meter(device)
    with context.phase("load", "Loading the model"):
        asked = load_respondent(arguments)
        gc.collect()
    loaded = _taken_bytes(device)
    prompt = _prompt(asked.tokenizer, int(arguments["prompt"]))
    count = int(arguments["generated"])
    meter.begin("sampling")
    reading: list[float] = []
    writing: list[float] = []
    speeds: tuple[float, float] | None = None
    with context.phase("sample", "Answering"):
        for done in range(REPETITIONS + 1):
            context.progress("sample", done, REPETITIONS + 1, "answers")
            speeds = _timed(context, asked, prompt, count)
            if speeds is None:
                break
            if done:  # the first one warms up
                reading.append(speeds[0])
                writing.append(speeds[1])
    if speeds is None:
        context.emit(Stopped(0, "stop", resumable=False))
        return
    quantized = arguments.get("quantization", "none")
    cell = InferenceCell(
        state=arguments["state"],
        weights=arguments["compute_dtype"] if quantized == "none" else quantized,
        prompt=len(prompt),
        generated=count,
        prefill=statistics.median(reading),
        generation=statistics.median(writing),
        weight_bytes=_weight_bytes(asked.model),
        loaded_bytes=loaded,
        peak_bytes=meter.peaks["sampling"],
    )
    context.emit(Completed(0, time.monotonic() - began, "Measured answers.", {"cell": to_plain(cell)}))


def _timed(context: JobContext, asked: Respondent, prompt: list[int], count: int) -> tuple[float, float] | None:
    """Tokens a second read and written; None when somebody wants the end."""
    moments: list[float] = []
    _wait(asked.device)
    started = time.perf_counter()
    answer(
        asked.model,
        asked.tokenizer,
        prompt,
        stop_ids=(),  # nothing ends it before its length
        sampling=Sampling(max_new_tokens=count),
        device=asked.device,
        keep_going=lambda: not context.interrupted,
        on_token=lambda _token: moments.append(time.perf_counter()),
    )
    if context.interrupted:
        return None
    return len(prompt) / (moments[0] - started), (len(moments) - 1) / (moments[-1] - moments[0])


def _prompt(tokenizer: Tokenizer, length: int) -> list[int]:
    """A plain text of exactly so many tokens."""
    ids = tokenizer.encode(_TEXT)
    return (ids * (length // len(ids) + 1))[:length]


def _weight_bytes(model: nn.Module) -> int:
    """Of parameters and buffers, each storage once, as tied ones share theirs; NF4's scale factors are left out."""
    storages = {}
    for tensor in (*model.parameters(), *model.buffers()):
        storages[tensor.untyped_storage().data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(storages.values())


def _taken_bytes(device: torch.device) -> int:
    import psutil

    return int(torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
