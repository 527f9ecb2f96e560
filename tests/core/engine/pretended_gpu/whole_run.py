"""A training as the engine does it, from the plan to the adapter's file, on the GPU that is not there."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import safetensors.torch
import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from core.engine import adapters, session, training
from core.engine.context import JobContext
from core.facts import hardware
from core.facts.types import GpuFacts
from core.runs.prepare import prepare
from core.runs.store import create_run
from core.spec.run_spec import RunSpec
from core.units import GIB
from tests.core.engine.pretended_gpu.device import Fakes, Watch, carry_over, pretend

CARD = GpuFacts(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 * GIB, 23 * GIB, "560.35")


def train(model: Path, folder: Path, settings: Sequence[tuple[str, Any]]) -> tuple[list[dict[str, Any]], Watch]:
    """The events of a run with these settings, and what was waited for."""
    rows = folder / "rows.jsonl"
    made = [{"prompt": f"{n} and 1?", "completion": f"{n + 1}, I say."} for n in range(30)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in made))
    spec = RunSpec()
    for path, value in (
        ("model.base", str(model)),
        ("data.train", (str(rows),)),
        ("hardware.device", "cuda"),
        ("hardware.kernels", "plain"),
        ("output.folder", str(folder / "runs")),
        *settings,
    ):
        spec = spec.replace(path, value)
    with patch.object(hardware, "read_gpus", lambda *_: ((CARD,), ())):
        prepared = prepare(spec)
    run = create_run(prepared.spec, prepared.facts, prepared.plan)
    watch = Watch()
    pretend(watch)
    context = JobContext(run)
    context.start()
    try:
        with fakes_for_weights() as fakes, fakes, watch:
            training.train(context)
    finally:
        context.close()
    lines = (run.path / "events.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines], watch


@contextmanager
def fakes_for_weights() -> Iterator[Fakes]:
    """Files hold numbers and fakes do not: weights are read, and adapters made, in RAM; what is written are zeros."""
    fakes = Fakes()
    load, attach = session.load_base, adapters.attach

    def load_in_ram(model: Path, **settings: Any) -> Any:
        with unset_fake_temporarily():
            return load(model, **{**settings, "device": torch.device("cpu")})

    def attach_in_ram(*given: Any, **named: Any) -> Any:
        with unset_fake_temporarily():
            made = attach(*given, **named)
            carry_over(fakes, made)
            return made

    with ExitStack() as stack:
        stack.enter_context(patch.object(session, "load_base", load_in_ram))
        stack.enter_context(patch.object(adapters, "attach", attach_in_ram))
        stack.enter_context(patch.object(safetensors.torch, "save_file", zeros_instead(safetensors.torch.save_file)))
        yield fakes


def zeros_instead(save: Callable[..., None]) -> Callable[..., None]:
    def save_zeros(tensors: dict[str, torch.Tensor], path: Path, **named: Any) -> None:
        assert all(tensor.is_cpu and tensor.is_contiguous() for tensor in tensors.values())
        with unset_fake_temporarily():
            save({key: torch.zeros(one.shape, dtype=one.dtype) for key, one in tensors.items()}, path, **named)

    return save_zeros
