"""Planned against measured GPU memory of real runs: `python -m benchmarks.memory_on_gpu TOKENIZER [NAME…]`.

TOKENIZER is any model's folder; its tokenizer writes the rows. The base models have real shapes from the catalogue and
random weights, because what a step allocates depends on shapes alone. Each setting is a run of its own with an engine
process of its own, from the spec to the finished adapter, on rows that fill the passes. Without names all settings are
run. With ``--jobs N`` N runs share the GPU, and what its monitor shows says nothing; ``--json FILE`` keeps the numbers.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from core.events.types import Started, Step
from core.facts.catalogue import find_entry
from core.runs.store import load_facts, load_plan, load_spec
from core.units import MIB
from tests.e2e.real_runs import DICTIONARY, Finished, create, execute, make_spec

LENGTH = 2048
USUAL: dict[str, Any] = {
    "hardware__device": "auto",
    "hardware__activation_checkpointing": "off",
    "model__compute_dtype": "bf16",
    "data__max_length": LENGTH,
    "data__format": "text",
    "adapter__rank": 16,
    "adapter__alpha": 32.0,
    "training__effective_batch": 8,
    "training__micro_batch_tokens": 4 * LENGTH,
    "training__max_steps": 3,
}
WIDE = {"adapter__rank": 256, "adapter__alpha": 512.0}
ONE, SEVEN, EIGHT = "meta-llama/Llama-3.2-1B", "Qwen/Qwen2.5-7B", "meta-llama/Llama-3.1-8B"
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "usual": (ONE, {}),
    "rank 256": (ONE, WIDE),
    "fp16": (ONE, {"model__compute_dtype": "fp16"}),
    "fp32": (ONE, {"model__compute_dtype": "fp32", "training__micro_batch_tokens": 2 * LENGTH}),
    "recomputed": (ONE, {"hardware__activation_checkpointing": "all"}),
    "half of it": (ONE, {"hardware__activation_checkpointing": "layers", "hardware__checkpointed_layers": 8}),
    "NF4": (ONE, {"model__quantization": "nf4"}),
    "NF4 single": (ONE, {"model__quantization": "nf4", "model__double_quant": False}),
    "int8": (ONE, {"model__quantization": "int8"}),
    "DoRA": (ONE, {"adapter__method": "dora"}),
    "dropout": (ONE, {"adapter__dropout": 0.1}),
    "attention only": (ONE, {"adapter__targets": ("attention",)}),
    "last 4 layers": (ONE, {"adapter__layers": "last 4"}),
    "8-bit AdamW": (ONE, {"training__optimizer": "adamw_8bit", **WIDE}),
    "paged AdamW": (ONE, {"training__optimizer": "paged_adamw", **WIDE}),
    "paged 8-bit": (ONE, {"training__optimizer": "paged_adamw_8bit", **WIDE}),
    "sdpa": (ONE, {"hardware__attention": "sdpa"}),
    "eager": (ONE, {"hardware__attention": "eager", "training__micro_batch_tokens": LENGTH}),
    "in full": (ONE, {"adapter__method": "full", "training__learning_rate": 1e-5}),
    "head too": (ONE, {"adapter__modules_to_save": ("lm_head",)}),
    "with samples": (
        ONE,
        {"training__sample_prompts": ("What is a cat?",), "training__sample_tokens": 16, "data__validation_share": 0.1},
    ),
    "Gemma 2 2B": ("google/gemma-2-2b", {"training__micro_batch_tokens": 2 * LENGTH}),
    "Qwen3 1.7B": ("Qwen/Qwen3-1.7B", {}),
    "Phi 3.5 mini": ("microsoft/Phi-3.5-mini-instruct", {"training__micro_batch_tokens": 2 * LENGTH}),
    "7B": (SEVEN, {"training__micro_batch_tokens": 2 * LENGTH, "training__effective_batch": 4}),
    "7B NF4": (SEVEN, {"model__quantization": "nf4", "training__max_steps": 8}),
    "8B": (EIGHT, {"training__max_steps": 8}),
    "8B NF4": (EIGHT, {"model__quantization": "nf4", "training__max_steps": 8}),
    "8B NF4, recomputed": (
        EIGHT,
        {"model__quantization": "nf4", "hardware__activation_checkpointing": "all", "training__max_steps": 8},
    ),
}
MAKE = """
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
given = json.load(open(sys.argv[1]))
config = AutoConfig.for_model(given.pop("model_type"), **given)
where = "cuda" if torch.cuda.is_available() else "cpu"
with torch.device(where):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
model.save_pretrained(sys.argv[2])
"""


def make_model(name: str, tokenizer: Path, home: Path) -> Path:
    """A folder with the model's real shapes, random weights and the tokenizer of another one."""
    entry = find_entry(name)
    assert entry is not None, f"the catalogue has no {name}"
    folder = home / "models" / name.replace("/", "--")
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    shapes = home / "shapes.json"
    shapes.write_text(json.dumps(dict(entry.config)), encoding="utf-8")
    subprocess.run([sys.executable, "-c", MAKE, str(shapes), str(folder)], check=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / file, folder)
    return folder


def make_rows(home: Path) -> Path:
    """Texts of more than `LENGTH` tokens each: passes are full, as the plan expects the worst of them to be."""
    words = DICTIONARY.read_text(encoding="utf-8").split()
    chance = random.Random(1)
    rows = [{"text": " ".join(chance.choices(words, k=2 * LENGTH))} for _ in range(120)]
    path = home / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def measure(name: str, model: Path, rows: Path, home: Path) -> dict[str, Any]:
    """One run; the numbers of its plan and its events."""
    finished = finish(name, model, rows, home, {**USUAL, **SETTINGS[name][1]})
    return {"name": name, "problem": finished} if isinstance(finished, str) else _numbers(name, finished)


def finish(name: str, model: Path, rows: Path, home: Path, settings: Mapping[str, Any]) -> Finished | str:
    """A run below ``home`` that completed; else what was in its way."""
    folder = str(home / "runs" / name.replace(" ", "-"))
    try:
        finished = execute(create(make_spec(model, rows, **{"output__folder": folder, **settings})))
    except AssertionError as refused:
        return str(refused)
    if finished.outcome is None or finished.outcome.kind != "completed":
        log = finished.folder.log.read_text(encoding="utf-8", errors="replace")[-1500:]
        return f"{finished.outcome}\n{log}"
    return finished


def _numbers(name: str, finished: Finished) -> dict[str, Any]:
    spec, facts, plan = load_spec(finished.folder), load_facts(finished.folder), load_plan(finished.folder)
    measured, planned = finished.state.memory, plan.memory
    assert measured is not None, "every run tells what it measured"
    assert planned is not None, "every plan of a known model has its memory"
    seconds = [event.body.seconds for event in finished.events if isinstance(event.body, Step)][1:]
    tokens = [event.body.tokens for event in finished.events if isinstance(event.body, Step)][1:]
    started = next(event.body for event in finished.events if isinstance(event.body, Started))
    return {
        "name": name,
        "model": Path(spec.model.base).name,
        "predicted": measured.predicted_bytes,
        "measured": measured.peak_bytes,
        "planned_shown": planned.shown_bytes,
        "planned_peak": planned.peak_bytes,
        "high": planned.high_bytes,
        "shown": measured.shown_bytes,
        "reserved": measured.reserved_bytes,
        "pass_tokens": measured.pass_tokens,
        "wanted_tokens": started.micro_batch_tokens,
        "attention": started.attention,
        "head": started.loss_head,
        "peaks": dict(measured.peaks),
        "moment": planned.moment,
        "parts": {part.name: part.bytes for part in planned.parts},
        "tokens_per_second": sum(tokens) / sum(seconds) if seconds else 0.0,
        "planned_tokens_per_second": plan.duration.tokens_per_second if plan.duration else 0.0,
        "device": [gpu.name for gpu in facts.hardware.gpus],
        "loss": finished.losses,
    }


def line(found: dict[str, Any]) -> str:
    """One row of the table."""
    if "problem" in found:
        return f"{found['name']:19} {found['problem']}"
    ratio, shown = found["measured"] / found["predicted"], found["shown"] / found["planned_shown"]
    return (
        f"{found['name']:19} {found['predicted'] / MIB:9,.0f} {found['measured'] / MIB:9,.0f} {ratio:7.4f}"
        f" {found['planned_shown'] / MIB:9,.0f} {found['shown'] / MIB:9,.0f} {shown:6.3f}"
        f" {(found['shown'] - found['reserved']) / MIB:6.0f} {found['reserved'] / found['measured'] - 1:6.3f}"
        f" {found['tokens_per_second']:8,.0f} {found['planned_tokens_per_second']:8,.0f} {found['pass_tokens']:6}"
        f"  {found['attention']}"
    )


def main() -> None:
    """Prints one line for each setting as soon as it is there, and the range of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = asked.names or list(SETTINGS)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["LOWRANK_HOME"] = str(home / "home")  # neither reads nor writes what earlier runs measured
        rows = make_rows(home)
        print(
            f"{'setting':19} {'planned':>9} {'measured':>9} {'ratio':>7} {'to show':>9} {'shown':>9} {'ratio':>6}"
            f" {'beside':>6} {'cache':>6} {'tok/s':>8} {'planned':>8} {'pass':>6}  attention",
            flush=True,
        )
        with ThreadPoolExecutor(asked.jobs) as several:
            for model in dict.fromkeys(SETTINGS[name][0] for name in names):
                path = make_model(model, asked.tokenizer, home)
                chosen = [name for name in names if SETTINGS[name][0] == model]
                for result in several.map(lambda name, path=path: measure(name, path, rows, home), chosen):
                    found.append(result)
                    print(line(result), flush=True)
                shutil.rmtree(path)
                if asked.json is not None:
                    asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    ratios = sorted(each["measured"] / each["predicted"] for each in found if "problem" not in each)
    print(f"{len(ratios)} of {len(found)} finished; measured to planned from {ratios[0]:.4f} to {ratios[-1]:.4f}")


if __name__ == "__main__":
    main()
