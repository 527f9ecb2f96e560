"""A virtual environment for each peer, made once in a folder outside the tree."""

import hashlib
import subprocess
import sys
from pathlib import Path

TORCH = "torch==2.13.0"  # the CPU build, where the registry in use has one under this name; every trainer uses the same

REQUIREMENTS = {
    "trl": (TORCH, "trl==1.16.0", "peft==0.21.2", "transformers==5.24.0", "datasets==5.2.0"),
    "llamafactory": (TORCH, "llamafactory==0.9.5"),
}
UNWANTED = {"llamafactory": ("torchvision", "torchaudio")}  # built against CUDA; text needs neither


def interpreter(envs: Path, name: str) -> Path:
    """The peer's Python, made if need be.

    Raises:
        subprocess.CalledProcessError: pip could not install it; what it said is on the screen.
    """
    wanted = "\n".join(REQUIREMENTS[name])
    folder = envs / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    python, done = folder / "bin" / "python", folder / "complete"
    if not done.exists():
        print(f"Making the environment of {name} in {folder}; this takes some minutes.", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--quiet"]
        subprocess.run([*pip, "install", TORCH], check=True)
        subprocess.run([*pip, "install", *REQUIREMENTS[name]], check=True)
        if unwanted := UNWANTED.get(name):
            subprocess.run([*pip, "uninstall", "--yes", *unwanted], check=True)
        done.write_text(wanted + "\n", encoding="ascii")
    return python
