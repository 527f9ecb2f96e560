"""How fast this machine multiplies matrices of a model's shapes: `python -m benchmarks.peers.products JOB`.

Each shape is taken forward and, as for the gradient of the input, backward: (M×in)·(in×out) and (M×out)·(out×in),
with M = 1,024 tokens. The best of several times counts; the rate of all is their arithmetic over the sum of the best
times, each shape as often as the model has it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import MAX_LENGTH, Job

TIMES = 8


def shapes(config: dict[str, Any]) -> dict[tuple[int, int], int]:
    """The linear layers of a Llama-like model, the head among them: (in, out) and how often."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or hidden // heads
    keys = width * config["num_key_value_heads"]
    found: dict[tuple[int, int], int] = {}
    layer = ((hidden, width * heads), (hidden, keys), (hidden, keys), (width * heads, hidden), (hidden, inner),
             (hidden, inner), (inner, hidden))  # fmt: skip
    for shape in layer:
        found[shape] = found.get(shape, 0) + config["num_hidden_layers"]
    head = (hidden, config["vocab_size"])
    found[head] = found.get(head, 0) + 1
    return found


def rate(found: dict[tuple[int, int], int], dtype: Any) -> float:
    """Floating point operations a second over all products, each at its best."""
    import torch

    work = seconds = 0.0
    for (inside, outside), times in found.items():
        weight = torch.randn(outside, inside).to(dtype)
        x, y = torch.randn(MAX_LENGTH, inside).to(dtype), torch.randn(MAX_LENGTH, outside).to(dtype)
        forward, backward = float("inf"), float("inf")
        for _ in range(TIMES):
            start = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            middle = time.perf_counter()
            torch.mm(y, weight)
            end = time.perf_counter()
            forward, backward = min(forward, middle - start), min(backward, end - middle)
        work += 4.0 * MAX_LENGTH * inside * outside * times
        seconds += (forward + backward) * times
    return work / seconds


def main() -> None:
    import torch

    job = Job.read(sys.argv[1])
    torch.set_num_threads(job.threads)
    config = json.loads((Path(job.model) / "config.json").read_text(encoding="utf-8"))
    found = shapes(config)
    head = (config["hidden_size"], config["vocab_size"])
    measured = {
        "bf16": rate(found, torch.bfloat16),
        "fp32": rate(found, torch.float32),
        "layer_weights": sum(a * b * times for (a, b), times in found.items()) - head[0] * head[1],
        "head_weights": head[0] * head[1],
    }
    Path(job.result).write_text(json.dumps(measured), encoding="utf-8")
    print(f"matrix products: bf16 {measured['bf16'] / 1e9:.0f}, fp32 {measured['fp32'] / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
