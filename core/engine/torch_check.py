"""``python -m core.engine.torch_check``: what PyTorch says about itself and CUDA, for the doctor."""

import json
import sys

import torch


def check() -> dict[str, object]:
    """Version, CUDA build, and whether a product on the GPU is right."""
    told: dict[str, object] = {
        "version": torch.__version__,
        "cuda_build": torch.version.cuda or "",
        "cuda_works": False,
        "problem": "",
    }
    if torch.version.cuda:
        try:
            if torch.cuda.is_available():
                matrix = torch.ones(64, 64, device="cuda")
                told["cuda_works"] = float((matrix @ matrix).sum()) == 64.0**3
                told["arches"] = torch.cuda.get_arch_list()
        except Exception as failure:  # noqa: BLE001 (whatever a driver does is told)
            told["problem"] = f"{type(failure).__name__}: {failure}"
    return told


def main() -> int:
    """Prints what `check` found as JSON, after the word TOLD."""
    sys.stdout.write(f"TOLD {json.dumps(check())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
