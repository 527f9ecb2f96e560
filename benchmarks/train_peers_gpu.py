"""Training on a GPU side by side with TRL: `python -m benchmarks.train_peers_gpu TOKENIZER ROWS [--only NAME…]`.

TOKENIZER is any model's folder; its tokenizer and chat template write the rows of ROWS, any file of conversations.
The base has the real shapes of Llama 3.2 1B and random weights: what a step costs depends on shapes alone. All of them:
bf16 (or NF4 with double quantization), LoRA of rank 16 and alpha 32 on all linear layers without dropout, at most 1,024
tokens a row, AdamW without weight decay, no activation checkpointing, loss on answers only, about 8,192 tokens a step
in one pass (TRL padded: 40 rows in two passes). The first steps, where kernels are made, are not timed. Memory is the
allocator's peak of the training.

TRL runs in the Python of ``--trl-python``, else in this one. ``--out FILE`` keeps one JSON line for each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory_on_gpu import ONE, finish, make_model
from benchmarks.peers.products import shapes
from benchmarks.peers.rows import as_tokens
from benchmarks.peers.settings import ALPHA, LEARNING_RATE, MAX_LENGTH, RANK, SEED
from benchmarks.peers.trl_gpu import WARM_STEPS
from core.data.dataset import load_dataset
from core.events.types import Notice, Started, Step
from core.facts.model_files import read_model
from core.spec.sections import DataSpec
from core.units import MIB

ROWS_A_STEP = 40
OURS: dict[str, dict[str, Any]] = {
    "ours plain": {"hardware__kernels": "plain"},
    "ours liger": {"hardware__kernels": "liger"},
    "ours compiled": {"hardware__kernels": "compiled"},
    "ours nf4": {"hardware__kernels": "plain", "model__quantization": "nf4"},
    "ours nf4 liger": {"hardware__kernels": "liger", "model__quantization": "nf4"},
    "ours nf4 compiled": {"hardware__kernels": "compiled", "model__quantization": "nf4"},
}
THEIRS = ("packed", "packed-liger", "packed-nf4", "packed-nf4-liger", "padded", "padded-nf4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*OURS, *THEIRS], default=[*OURS, *THEIRS])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--trl-python", default=sys.executable)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        home = Path(scratch)
        os.environ["LOWRANK_HOME"] = str(home / "home")
        model = make_model(ONE, asked.tokenizer, home)
        rows = write_tokens(asked.rows, model, home)
        found: list[dict[str, Any]] = []

        def add(results: list[dict[str, Any]]) -> None:
            for result in results:
                found.append(result)
                print(line(result), flush=True)
                if asked.out is not None:
                    asked.out.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")

        if theirs := [name for name in asked.only if name in THEIRS]:
            result = home / "trl.jsonl"
            command = [asked.trl_python, "-m", "benchmarks.peers.trl_gpu", str(model), str(rows), str(asked.steps)]
            done = subprocess.run([*command, str(result), *theirs], check=False, capture_output=True, text=True)
            if done.returncode:
                print(done.stderr[-3000:], flush=True)
            if result.exists():
                add([json.loads(one) for one in result.read_text(encoding="utf-8").splitlines()])
        for name in asked.only:
            if name in OURS:
                add([ours(name, model, asked.rows, home, asked.steps)])
        peak = product_rate(model)
        print(f"matrix products of these shapes: {peak / 1e12:.0f} TFLOP/s")
        told = json.loads((model / "config.json").read_text(encoding="utf-8"))
        every = shapes(told)
        head = told["hidden_size"] * told["vocab_size"]
        layers = sum(a * b * times for (a, b), times in every.items()) - head
        for one in found:
            if "problem" not in one:
                work = 4.0 * (layers * one["tokens_per_second"] + head * one["supervised_per_second"])
                print(f"{one['name']:22} {work / peak:.0%} of it")


def write_tokens(rows: Path, model: Path, home: Path) -> Path:
    """The rows as tokens and labels, as ours trains them."""
    spec = DataSpec(train=(str(rows),), validation_share=0.0, max_length=MAX_LENGTH)
    encoded = load_dataset(spec, SEED, read_model(model)).train
    path = home / "tokens.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for index in range(len(encoded)):
            file.write(as_tokens(encoded[index]) + "\n")
    return path


def ours(name: str, model: Path, rows: Path, home: Path, steps: int) -> dict[str, Any]:
    """An ordinary run, with an engine process of its own."""
    settings: dict[str, Any] = {
        "hardware__device": "cuda",
        "hardware__activation_checkpointing": "off",
        "model__compute_dtype": "bf16",
        "data__max_length": MAX_LENGTH,
        "adapter__rank": RANK,
        "adapter__alpha": float(ALPHA),
        "training__seed": SEED,
        "training__effective_batch": ROWS_A_STEP,
        "training__micro_batch_tokens": 16 * MAX_LENGTH,
        "training__max_steps": steps,
        "training__learning_rate": LEARNING_RATE,
        "training__schedule": "constant",
        "training__warmup": 0.0,
        **OURS[name],
    }
    finished = finish(name, model, rows, home, settings)
    if isinstance(finished, str):
        return {"name": name, "problem": finished}
    taken = [event.body for event in finished.events if isinstance(event.body, Step)][WARM_STEPS:]
    seconds = sum(one.seconds for one in taken)
    measured = finished.state.memory
    started = next(event.body for event in finished.events if isinstance(event.body, Started))
    return {
        "name": name,
        "tokens_per_second": sum(one.tokens for one in taken) / seconds,
        "supervised_per_second": sum(one.supervised_tokens for one in taken) / seconds,
        "peak_bytes": measured.peak_bytes if measured else 0,
        "step_tokens": sum(one.tokens for one in taken) / len(taken),
        "loss": finished.losses[-1],
        "attention": started.attention,
        "notices": [one.message for one in finished.of(Notice)],
    }


def product_rate(model: Path) -> float:
    """Floating point operations a second of the model's matrix products, forward and backward, each at its best."""
    import torch

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    tokens, work, seconds = 8 * MAX_LENGTH, 0.0, 0.0
    for (inside, outside), times in shapes(config).items():
        weight = torch.randn(outside, inside, device="cuda", dtype=torch.bfloat16)
        x, y = (torch.randn(tokens, width, device="cuda", dtype=torch.bfloat16) for width in (inside, outside))
        best = float("inf")
        for _ in range(8):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            torch.nn.functional.linear(x, weight)
            torch.mm(y, weight)
            ended.record()
            torch.cuda.synchronize()
            best = min(best, began.elapsed_time(ended) / 1000)
        work += 4.0 * tokens * inside * outside * times
        seconds += best * times
    return work / seconds


def line(found: dict[str, Any]) -> str:
    """One row of the table."""
    if "problem" in found:
        return f"{found['name']:22} {found['problem']}"
    return (
        f"{found['name']:22} {found['tokens_per_second']:9,.0f} tokens/s {found['supervised_per_second']:9,.0f}"
        f" supervised/s {found['peak_bytes'] / MIB:8,.0f} MiB  {found['step_tokens']:7,.0f} a step,"
        f" loss {found['loss']}  {' | '.join(found.get('notices', []))}"
    )


if __name__ == "__main__":
    main()
