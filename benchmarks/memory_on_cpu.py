"""Predicted against measured peak RAM of real runs of the starter model: `python -m benchmarks.memory_on_cpu [NAME…]`.

Each setting is a run of its own, with an engine process of its own, from the spec to the finished adapter. Without
names all settings are run, which takes about ten minutes on one core.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from core.runs.starter import ensure_starter
from core.runs.store import load_plan
from tests.e2e.real_runs import run

USUAL: dict[str, Any] = {
    "hardware__threads": 1,
    "model__compute_dtype": "bf16",
    "data__max_length": 512,
    "adapter__rank": 16,
    "adapter__alpha": 32.0,
    "training__effective_batch": 16,
    "training__micro_batch_tokens": 512,
    "training__max_steps": 2,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "rank 256": {"adapter__rank": 256, "adapter__alpha": 512.0},
    "fp32": {"model__compute_dtype": "fp32"},
    "1024 tokens": {"training__micro_batch_tokens": 1024, "training__effective_batch": 32},
    "2048 tokens": {"training__micro_batch_tokens": 2048, "training__effective_batch": 64},
    "recomputed": {"hardware__activation_checkpointing": "all"},
    "half of it": {"hardware__activation_checkpointing": "layers", "hardware__checkpointed_layers": 15},
    "DoRA": {"adapter__method": "dora"},
    "dropout": {"adapter__dropout": 0.1},
    "8-bit AdamW": {"training__optimizer": "adamw_8bit", "adapter__rank": 256, "adapter__alpha": 512.0},
    "attention only": {"adapter__targets": ("attention",)},
    "last 5 layers": {"adapter__layers": "last 5"},
    "eager": {"hardware__attention": "eager"},
    "NF4": {"model__quantization": "nf4"},
    "int8": {"model__quantization": "int8"},
    "in full": {"adapter__method": "full", "training__learning_rate": 1e-5},
    "40 steps": {"training__max_steps": 40, "training__effective_batch": 8},
    "with samples": {
        "training__sample_prompts": ("What is a cat?",),
        "training__sample_tokens": 16,
        "data__validation_share": 0.05,
    },
}  # fmt: skip


def main() -> None:
    names = sys.argv[1:] or list(SETTINGS)
    model = ensure_starter()
    print(f"{'setting':16} {'predicted':>10} {'measured':>10} {'ratio':>7}  pass    peaks of moments, MiB", flush=True)
    ratios = []
    for name in names:
        with tempfile.TemporaryDirectory() as home:
            os.environ["LOWRANK_HOME"] = home  # neither reads nor writes what earlier runs measured
            finished = run(model, output__folder=str(Path(home) / "runs"), **{**USUAL, **SETTINGS[name]})
            measured = finished.state.memory
            planned = load_plan(finished.folder).memory
            assert measured is not None, "every run tells what it measured"
            assert planned is not None, "every plan of a known model has its memory"
            ratios.append(measured.peak_bytes / planned.peak_bytes)
            moments = " ".join(f"{moment} {peak >> 20}" for moment, peak in measured.peaks.items())
            parts = " ".join(f"{part.name} {part.bytes >> 20}" for part in planned.parts)
            print(
                f"{name:16} {planned.peak_bytes >> 20:10,} {measured.peak_bytes >> 20:10,} {ratios[-1]:7.3f}"
                f"  {measured.pass_tokens:5}  {moments}  [{parts}]",
                flush=True,
            )
    print(f"lowest {min(ratios):.3f}, highest {max(ratios):.3f} of {len(ratios)}")


if __name__ == "__main__":
    main()
