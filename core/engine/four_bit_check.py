"""``python -m core.engine.four_bit_check DEVICE DTYPE``: one small product with 4-bit weights, for the doctor."""

import json
import sys
from typing import Any

import torch

from core.engine.bootstrap import torch_dtype

ROWS, INSIDE, OUTSIDE = 32, 256, 512
BLOCK = 64


def check(device: torch.device, dtype: torch.dtype) -> tuple[str, float]:
    """What computed it, and how far result and gradient are from the same weights in 32 bits, of the largest value.

    The weights are NF4 in blocks of 64 with double quantization, as a 4-bit run holds them; compared is with what
    bitsandbytes says these weights are, so what quantizing loses does not count.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    made = torch.Generator().manual_seed(0)
    layer: Any = Linear4bit(
        INSIDE, OUTSIDE, bias=False, compute_dtype=dtype, compress_statistics=True, quant_type="nf4"
    )
    layer.weight.data = torch.randn(OUTSIDE, INSIDE, generator=made) * 0.05
    layer = layer.to(device)
    exact = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    rows = torch.randn(ROWS, INSIDE, generator=made).to(device, dtype).requires_grad_()
    given = torch.randn(ROWS, OUTSIDE, generator=made).to(device, dtype)
    result = layer(rows)
    (gradient,) = torch.autograd.grad((result.float() * given.float()).sum(), rows)
    pairs = ((result, rows.detach().float() @ exact.T), (gradient, given.float() @ exact))
    away = max(float((one.detach().float() - other).abs().max() / other.abs().max()) for one, other in pairs)
    return type(layer).__module__.partition(".")[0] + " Linear4bit", away


def main(arguments: list[str]) -> int:
    """Prints what `check` found as JSON, after the word TOLD."""
    device, dtype = arguments
    kernel, difference = check(torch.device(device), torch_dtype(dtype))
    sys.stdout.write(f"TOLD {json.dumps({'kernel': kernel, 'difference': difference})}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
