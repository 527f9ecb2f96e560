"""Putting another adapter on a loaded base against loading base and adapter anew: `python -m benchmarks.adapter_swap`.

A base model is loaded once, then adapters of rank 16 on every linear layer come, speak, and go. Compared with
it is what a program does that cannot exchange adapters: it loads everything again. Each is done several times in turns,
and medians are printed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.facts.locate import find_model
from core.runs.targets import ChatTarget
from core.runs.voices import BASE, Voice

RANK = 16


def make_adapter(base: Path, folder: Path) -> None:
    """Writes a random adapter as PEFT would."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    config = LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped: Any = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.01)
    wrapped.save_pretrained(folder)


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser("benchmarks.adapter_swap", description=__doc__)
    parser.add_argument("--model", default="starter", help="a model's name or folder (starter)")
    parser.add_argument("--rounds", type=int, default=5, help="how often (5)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    from core.engine.respondent import load_respondent

    base = find_model(options.model)
    target = ChatTarget(
        title=base.name,
        model=base,
        adapter=None,
        tuned=False,
        device="cpu",
        compute_dtype="fp32",
        quantization="none",
        threads=options.threads,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / f"adapter-{number}" for number in range(2)]
        for folder in folders:
            make_adapter(base, folder)
        found: dict[str, list[float]] = {name: [] for name in ("anew", "bring", "switch", "base", "drop")}
        asked = load_respondent(target.arguments())
        asked.bring(Voice("first", "", str(folders[0])))
        for _ in range(options.rounds):
            whole = {**target.arguments(), "adapter": str(folders[1])}
            found["anew"].append(seconds(lambda whole=whole: load_respondent(whole)))  # type: ignore[misc]
            found["bring"].append(seconds(lambda: asked.bring(Voice("second", "", str(folders[1])))))
            asked.speaking_as("first").__enter__()
            found["switch"].append(seconds(lambda: asked.speaking_as("second").__enter__()))
            found["base"].append(seconds(lambda: _visit_base(asked)))
            found["drop"].append(seconds(lambda: asked.drop("second")))
        middle = {name: statistics.median(times) for name, times in found.items()}
    print(f"{base.name}, rank {RANK} on all linear layers, {options.rounds} rounds, medians")
    for name, words in (
        ("anew", "load base and adapter anew"),
        ("bring", "put another adapter on the loaded base"),
        ("switch", "let another adapter speak that is there"),
        ("base", "let the base speak, and the adapter again"),
        ("drop", "take an adapter off"),
    ):
        print(f"  {words:<44} {middle[name] * 1000:8.0f} ms   {middle['anew'] / middle[name]:8.1f}x faster than anew")


def _visit_base(asked: Any) -> None:
    with asked.speaking_as(BASE):
        pass


if __name__ == "__main__":
    main()
