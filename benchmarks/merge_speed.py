"""Merging a 3-GB sharded model against copying its files: `python -m benchmarks.merge_speed [--folder PLACE]`.

A Llama of 1.5 billion random bfloat16 weights in shards of at most 1 GB gets a random adapter of rank 16 on every
linear layer. The files are copied (with what makes a copy durable, as a merge has it), then base and adapter are merged
in a process of its own, whose peak of resident memory the system itself counts. Several rounds are made in turns, and
the shortest of each is compared, because other programs can only lengthen them. It takes 9 GB of disk for a while.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core.export.companions import CONFIG
from core.export.tensor_files import lay_out, write_files
from core.paths import write_json
from core.units import MIB

HIDDEN, INNER, LAYERS, HEADS, KEYS, VOCABULARY = 2048, 8192, 22, 32, 8, 49152
RANK, ALPHA = 16, 32
SHARD_BYTES = 1_000_000_000
MOST_MEMORY, MOST_TIME = 1.15, 1.5
"""What must hold: memory as a share of one shard, time as a multiple of copying."""


class _Random:
    """A tensor that is still to be written."""

    def __init__(self, name: str, dtype: str, *shape: int) -> None:
        self.name, self.dtype, self.shape = name, dtype, shape
        items = 1
        for length in shape:
            items *= length
        self.items, self.bytes = items, items * (2 if dtype == "BF16" else 4)

    def content(self) -> Any:
        import torch

        torch.manual_seed(self.items % 9973)
        for start in range(0, self.items, 1 << 22):
            numbers = torch.randn(min(1 << 22, self.items - start)) * 0.02
            yield (numbers.to(torch.bfloat16) if self.dtype == "BF16" else numbers).view(torch.uint8).numpy().data


def _linears() -> dict[str, tuple[int, int]]:
    """The linear layers of a block as (out, in)."""
    keys = HIDDEN // HEADS * KEYS
    return {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (keys, HIDDEN),
        "self_attn.v_proj": (keys, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (INNER, HIDDEN),
        "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
    }


def make_base(folder: Path) -> list[int]:
    """Writes the model; returns the sizes of its shards."""
    folder.mkdir()
    tensors = [_Random("model.embed_tokens.weight", "BF16", VOCABULARY, HIDDEN)]
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        tensors += [_Random(f"{block}.{name}.weight", "BF16", *shape) for name, shape in _linears().items()]
        tensors += [
            _Random(f"{block}.{name}.weight", "BF16", HIDDEN)
            for name in ("input_layernorm", "post_attention_layernorm")
        ]
    tensors += [_Random("model.norm.weight", "BF16", HIDDEN), _Random("lm_head.weight", "BF16", VOCABULARY, HIDDEN)]
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEYS,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    write_json(folder / CONFIG, config)
    layout = lay_out(tensors, SHARD_BYTES)
    write_files(folder, layout, _Random.content)
    return [(folder / name).stat().st_size for name in layout]


def make_adapter(folder: Path) -> None:
    """Writes a LoRA on every linear layer, in float32 as the engine does."""
    folder.mkdir()
    parts = []
    for layer in range(LAYERS):
        for name, (out, width) in _linears().items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            parts.append(_Random(f"{module}.lora_A.weight", "F32", RANK, width))
            parts.append(_Random(f"{module}.lora_B.weight", "F32", out, RANK))
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "base_model_name_or_path": "base"}
    write_json(folder / "adapter_config.json", config)
    layout = {"adapter_model.safetensors": next(iter(lay_out(parts, 1 << 40).values()))}
    write_files(folder, layout, _Random.content)


def copy(base: Path, target: Path) -> float:
    """Copies a model's files as a merge leaves them, safe from a power cut; returns seconds."""
    began = time.monotonic()
    target.mkdir()
    for path in sorted(base.iterdir()):
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb+") as file:
            os.fsync(file.fileno())
    return time.monotonic() - began


def merge(base: Path, adapter: Path, target: Path) -> dict[str, float]:
    """Merges in a process of its own; returns its seconds without the start of Python and torch, and its peak."""
    command = [sys.executable, "-m", "benchmarks.merge_speed", "--merge", str(base), str(adapter), str(target)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _merge_here(base: str, adapter: str, target: str) -> None:
    import torch

    from core.engine.bootstrap import keep_freed_memory
    from core.export.merge import merge_adapter

    keep_freed_memory()  # as the engine's job does
    torch.zeros(1)  # the library is loaded before the clock starts
    report = merge_adapter(Path(base), Path(adapter), Path(target))
    print(json.dumps({"seconds": report.seconds, "peak": _peak(), "bytes": report.bytes}))


def _peak() -> int:
    """The most bytes that this process held; on Linux not from getrusage, which begins with its parent's."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, help="where the models go for a while; the system's place if left out")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--merge", nargs=3, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.merge:
        _merge_here(*chosen.merge)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        place = Path(name)
        shards = make_base(place / "base")
        make_adapter(place / "adapter")
        print(
            f"{sum(shards) / 1e9:.2f} GB in {len(shards)} shards, the largest {max(shards) / MIB:,.0f} MiB", flush=True
        )
        copies, merges, peaks = [], [], []
        for _ in range(chosen.rounds):
            copies.append(copy(place / "base", place / "copy"))
            shutil.rmtree(place / "copy")
            measured = merge(place / "base", place / "adapter", place / "merged")
            shutil.rmtree(place / "merged")
            merges.append(measured["seconds"])
            peaks.append(measured["peak"])
            print(
                f"copied in {copies[-1]:.1f} s, merged in {merges[-1]:.1f} s, peak {peaks[-1] / MIB:,.0f} MiB",
                flush=True,
            )
    memory, pace = max(peaks) / max(shards), min(merges) / min(copies)
    print(
        f"peak memory {memory:.2f} of one shard (at most {MOST_MEMORY}), "
        f"time {pace:.2f} of copying (at most {MOST_TIME})"
    )
    sys.exit(0 if memory <= MOST_MEMORY and pace <= MOST_TIME else 1)


if __name__ == "__main__":
    main()
