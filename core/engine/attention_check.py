"""``python -m core.engine.attention_check DEVICE DTYPE HEADS KV_HEADS WIDTH``: one small attention, for the doctor."""

import json
import sys

import torch

from core.engine import attention
from core.engine.attention import Documents, documents
from core.engine.attention_proof import observe
from core.engine.bootstrap import torch_dtype

TOKENS = 256


def check(device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, width: int) -> tuple[str, bool, float]:
    """What ran, whether it keeps no scores, and its greatest difference to every score written out in 32 bits.

    The difference is that of the result and of the gradients of query, key and value.
    """
    made = torch.Generator().manual_seed(0)
    shapes = [(1, heads, TOKENS, width), (1, kv_heads, TOKENS, width), (1, kv_heads, TOKENS, width)]
    drawn = [torch.randn(shape, generator=made).to(device, dtype).requires_grad_() for shape in shapes]
    exact = [states.detach().float().requires_grad_() for states in drawn]
    given = torch.randn((1, TOKENS, heads, width), generator=made).to(device, dtype)
    found: list[torch.Tensor] = []

    def run(kernel: str, states: list[torch.Tensor]) -> torch.Tensor:
        attended, _ = attention.implementation(kernel)(torch.nn.Identity(), *states, None)
        found.append(attended)
        return (attended.float() * given.float()).sum()

    def backward(loss: torch.Tensor) -> None:
        found.extend(torch.autograd.grad(loss, drawn))

    with documents(Documents.of_lengths((TOKENS,), device)):
        proof = observe(lambda: run("flash", drawn), differentiate=backward)
        fused, found[:] = list(found), []
        found.extend(torch.autograd.grad(run("eager", exact), exact))
    difference = max(
        float((one.detach().float() - other.detach()).abs().max()) for one, other in zip(fused, found, strict=True)
    )
    return proof.words, proof.fused_share == 1.0, difference


def main(arguments: list[str]) -> int:
    """Prints what `check` found as JSON, after the word TOLD."""
    device, dtype, heads, kv_heads, width = arguments
    ran, fused, difference = check(torch.device(device), torch_dtype(dtype), int(heads), int(kv_heads), int(width))
    told = {"ran": ran, "fused": fused, "difference": difference, "tokens": TOKENS}
    sys.stdout.write(f"TOLD {json.dumps(told)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
