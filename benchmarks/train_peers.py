"""Training side by side with TRL and LLaMA-Factory: `python -m benchmarks.train_peers [--only NAME…] [--steps N]`.

One command makes an environment for each peer, trains the same model on the same rows with every trainer in turn, and
prints speeds, memory and ratios; `results.json`, one file for each trainer and `losses.svg` stay in ``--out``,
where a later call with ``--only`` adds to them.
Needs the starter model, LLaMA-Factory's source package (fetched once by its hash)
and about 4 GB for the environments. Nothing else should run meanwhile.

All of them: SmolLM2-135M-Instruct in bf16 on the processor, 2 threads, LoRA of rank 16 and alpha 32 on all linear
layers without dropout, at most 1,024 tokens a row, a constant rate of 2e-4 without warm-up, AdamW without weight decay,
gradients clipped at 1, no activation checkpointing, the 999 rows of `alpaca_en_demo.json`, loss on answers only.

- **TRL padded** (SFTTrainer as it comes): 5 rows a pass, 2 passes a step: the batches of ours, in the same order.
- **TRL packed** (its best): “bfd”, 1 packed row of 1,024 a pass, 2 passes a step, in its own random order.
- **LLaMA-Factory packed** (its best): packing with `neat_packing`, 1 × 2 of 1,024, in its own random order.
- **ours**: 10 rows a step (as many tokens as 2 × 1,024), passes of up to 1,024 tokens, an ordinary run.

A packed peer's bins are its own, so its batches differ from ours; each keeps the documents of its first step for a
check. Speed is measured from the end of the first step to the end of the
last; memory is the process's highest resident set, loading included. The share of the product peak is
4 × (weights of the layers × tokens + weights of the head × supervised tokens) per second, over what this machine
reaches in matrix products of the model's shapes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers import report
from benchmarks.peers.envs import interpreter
from benchmarks.peers.rows import write_rows
from benchmarks.peers.settings import Job, Result

ROOT = Path(__file__).resolve().parent.parent
PADDED_STEPS = 3  # a step of the padded trainer takes half a minute on two cores


@dataclass(frozen=True, slots=True)
class Peer:
    """One trainer: the name of its result, which script runs it with what, and in which environment."""

    name: str
    module: str
    extra: tuple[str, ...] = ()
    environment: str = ""
    most_steps: int = 1_000_000


PEERS = {
    "ours": Peer("ours", "benchmarks.peers.ours"),
    "trl-padded": Peer("TRL padded", "benchmarks.peers.trl_sft", ("padded",), "trl", PADDED_STEPS),
    "trl-packed": Peer("TRL packed", "benchmarks.peers.trl_sft", ("packed",), "trl"),
    "llamafactory": Peer("LLaMA-Factory packed", "benchmarks.peers.llamafactory_sft", (), "llamafactory"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains side by side with TRL and LLaMA-Factory.")
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS), help="trainers to run now")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps of each; the first is not timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--envs", type=Path, default=Path.home() / ".cache" / "lowrank-peers")
    parser.add_argument("--out", type=Path, default=Path.home() / ".cache" / "lowrank-peers" / "results")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    pythons = {name: interpreter(asked.envs, name) for name in {PEERS[only].environment for only in asked.only} - {""}}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        rows = write_rows(Path(scratch), asked.threads)
        for only in asked.only:
            peer = PEERS[only]
            python = pythons.get(peer.environment, Path(sys.executable))
            folder = Path(scratch) / only
            folder.mkdir()
            job = Job(
                rows.model, str(rows.tokens), str(rows.conversations), min(asked.steps, peer.most_steps), asked.threads,
                str(asked.out / f"{only}.json"), str(folder),
            )  # fmt: skip
            print(f"\n{peer.name}", flush=True)
            ask(python, peer.module, job, folder, *(peer.extra or ((str(rows.data),) if only == "ours" else ())))
        folder = Path(scratch)
        last = Job(rows.model, str(rows.tokens), "", 0, asked.threads, str(asked.out / "products.json"), scratch)
        ask(Path(sys.executable), "benchmarks.peers.products", last, folder)
    show(asked.out)


def ask(python: Path, module: str, job: Job, folder: Path, *extra: str) -> None:
    """One script in a process of its own, without a hub and with a data folder of its own."""
    written = folder / "job.json"
    job.write(written)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(job.threads),
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "LOWRANK_HOME": str(folder / "home"),
        "HF_HOME": str(folder / "hub"),
        "DISABLE_VERSION_CHECK": "1",  # LLaMA-Factory refuses versions that its own package asks for
    }
    subprocess.run([str(python), "-m", module, str(written), *extra], cwd=ROOT, env=environment, check=True)


def show(out: Path) -> None:
    """Prints and writes what all results in the folder say together."""
    results = [Result.read(out / f"{only}.json") for only in PEERS if (out / f"{only}.json").exists()]
    products = json.loads((out / "products.json").read_text(encoding="utf-8"))
    weights = products["layer_weights"], products["head_weights"]
    speeds = [report.speed(result, *weights) for result in results]
    print("\n" + report.table(speeds, products["bf16"]))
    print("\n".join(("", *report.floors(speeds), "")))
    for result in results:
        losses = " ".join(f"{step.loss:.3f}" for step in result.steps)
        print(f"{result.name}: losses {losses}; {result.versions} {result.notes}")
    summary = {"products": products, "speeds": [asdict(found) for found in speeds], "floors": report.floors(speeds)}
    (out / "results.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    (out / "losses.svg").write_text(report.curves(results), encoding="utf-8")


if __name__ == "__main__":
    main()
