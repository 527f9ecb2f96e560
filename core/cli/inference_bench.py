"""``lowrank bench inference``: one engine for each cell, so that no measurement stands on what another one left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.cli.console import Console
from core.cli.jobs import run_job
from core.cli.tables import columns, joined
from core.errors import ExitCode, UserError, error
from core.records import from_plain, to_plain
from core.runs.inference_bench import TITLES, InferenceBench, InferenceCell, State
from core.runs.passing_folder import passing_folder
from core.runs.targets import ChatTarget
from core.units import format_bytes

SIXTEEN = ("bf16", "fp16")


class _StoppedError(Exception):
    """Ctrl+C; what was measured before is printed."""

    def __init__(self, code: ExitCode) -> None:
        self.code = code
        super().__init__()


@dataclass(frozen=True, slots=True)
class _Way:
    """A cell before it is measured."""

    state: State
    model: Path
    adapter: Path | None
    quantization: str


def bench_inference(name: str, prompt: int, generated: int, console: Console) -> ExitCode:
    """Measures a run or a model in 16 and 4 bits, and prints the table.

    Raises:
        UserError: there is neither, the base is gone, or an engine failed.
    """
    target = _target(name)
    _require_room_for(target, prompt + generated)
    dtype = target.compute_dtype if target.compute_dtype in SIXTEEN else "bf16"
    bench = InferenceBench(target.title, target.device, target.threads, time.time())
    code = ExitCode.DONE
    try:
        with _merged(target, console) as merged:
            for way in _ways(target, merged):
                arguments = {
                    **target.arguments(),
                    "model": str(way.model),
                    "adapter": str(way.adapter) if way.adapter else None,
                    "compute_dtype": dtype,
                    "quantization": way.quantization,
                    "state": way.state,
                    "prompt": prompt,
                    "generated": generated,
                }
                result = _run("bench_inference", arguments, console)
                bench = replace(bench, cells=(*bench.cells, from_plain(InferenceCell, result["cell"])))
    except _StoppedError as stopped:
        code = stopped.code
    print_bench(bench, prompt, generated, console)
    console.result({**to_plain(bench), "exit_code": int(code)})
    return code


def _require_room_for(target: ChatTarget, tokens: int) -> None:
    """Checks that the model reads so many tokens.

    Raises:
        UserError: it reads fewer.
    """
    from core.facts.model_files import read_model

    most = read_model(target.model).context_length
    if 0 < most < tokens:
        message = f"“{target.title}” reads {most:,} tokens at most; --prompt and --tokens are {tokens:,} together."
        raise UserError(error("--prompt", message, "Take fewer tokens."))


def _target(name: str) -> ChatTarget:
    """Whom a name means; not a saved state, of which there is no adapter in a format that can be merged.

    Raises:
        UserError: it means nobody, or a saved state.
    """
    from core.export.chat_targets import find_target
    from core.export.peft_adapter import CONFIG_FILE

    target = find_target(name)
    if target.adapter is not None and not (target.adapter / CONFIG_FILE).is_file():
        message = f"“{name}” is a saved state, which cannot be merged."
        raise UserError(error("", message, "Name a run that has ended, an adapter's folder or a model."))
    return target


@contextmanager
def _merged(target: ChatTarget, console: Console) -> Iterator[Path | None]:
    """Base and adapter as one model, in a folder that goes away afterwards; None where there is no adapter."""
    if target.adapter is None:
        yield None
        return
    with passing_folder("merged") as folder:
        models = {"base": str(target.model), "adapter": str(target.adapter), "target": str(folder)}
        _run("export", {"kind": "merged", **models}, console)
        yield folder


def _ways(target: ChatTarget, merged: Path | None) -> list[_Way]:
    found = []
    for quantization in ("none", "nf4"):
        if merged is None:
            found.append(_Way("base", target.model, None, quantization))
        else:
            found.append(_Way("apart", target.model, target.adapter, quantization))
            found.append(_Way("merged", merged, None, quantization))
    return found


def _run(kind: Any, arguments: dict[str, object], console: Console) -> dict[str, Any]:
    finished = run_job(kind, arguments, console, answers=False)
    if finished.outcome.exit_code is not ExitCode.DONE:
        raise _StoppedError(finished.outcome.exit_code)
    return dict(finished.outcome.result)


def print_bench(bench: InferenceBench, prompt: int, generated: int, console: Console) -> None:
    """The table."""
    console.line(console.bold(f"Answers of {bench.model}") + f" on {bench.device}, {bench.threads} threads")
    if not bench.cells:
        return
    console.paragraph(
        f"Reading {prompt:,} tokens and writing {generated:,}, one at a time; medians. Memory is what the device held "
        "with the model loaded, and at most while answering."
    )
    console.line()
    rows = [("model", "weights", "read tokens/s", "write tokens/s", "loaded", "peak")]
    rows += [
        (
            TITLES[cell.state],
            cell.weights,
            f"{cell.prefill:,.1f}",
            f"{cell.generation:,.2f}",
            format_bytes(cell.loaded_bytes),
            format_bytes(cell.peak_bytes),
        )
        for cell in bench.cells
    ]
    for number, cells in enumerate(columns(rows)):
        line = joined(cells)
        console.line(console.dim(line) if not number else line)
