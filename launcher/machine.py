"""What the machine must have before anything is installed, said in sentences where it has not."""

import sys
from pathlib import Path

from launcher.words import SetupError, say

GB = 1000**3
CPU_BYTES = 3 * GB
CUDA_BYTES = 8 * GB
UPDATE_BYTES = 1 * GB

# Libraries that Qt's wheels expect from the system on Linux -> Debian's package. The first table is needed to import
# Qt at all, the second to open a window under X11.
QT_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxkbcommon.so.0": "libxkbcommon0",
}
X11_LIBRARIES = {
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
}


def check_python() -> None:
    """Refuses a Python that can never work.

    Raises:
        SetupError: it has 32 bits, or lacks the parts that make an environment.
    """
    import importlib.util

    if sys.maxsize < 2**32:
        raise SetupError(f"A 64-bit Python is needed, and {sys.executable} has 32 bits. Install a 64-bit one.")
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        raise SetupError(
            f"This Python ({sys.executable}) cannot make environments: its modules venv and ensurepip are not "
            "installed. On Debian and Ubuntu they come in a package of their own: sudo apt install "
            f"python3.{sys.version_info[1]}-venv (or python3-venv). Then start again."
        )


def check_space(folder: Path, fresh: bool, torch_index: str) -> None:
    """Refuses a disk that the set-up would fill.

    Args:
        folder: where the environment is, or will be.
        fresh: everything has to be installed, not only what changed.
        torch_index: the package index that torch comes from; empty for pip's own choice.

    Raises:
        SetupError: too little is free for what is certainly needed.
    """
    import shutil

    free = shutil.disk_usage(folder).free
    wants_cpu = torch_index.rstrip("/").endswith("cpu")
    has_driver = Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))
    wants_cuda = not wants_cpu and (bool(torch_index) or has_driver)
    needed = UPDATE_BYTES
    if fresh:
        needed = CUDA_BYTES if wants_cuda else CPU_BYTES
    if free < needed:
        raise SetupError(
            f"{'Set-up' if fresh else 'The update'} needs about {needed / GB:.0f} GB on the disk of {folder}"
            f"{' (torch with CUDA is large)' if fresh and wants_cuda else ''}, and only {free / GB:.1f} GB are free. "
            "Free some space, or move the project's folder to another disk."
        )
    if fresh and sys.platform == "linux" and not wants_cpu and free < CUDA_BYTES:
        say(f"{free / GB:.1f} GB are free: enough for a CPU build of torch, but a CUDA build needs about 8 GB.")


def missing_libraries(wanted: dict[str, str]) -> dict[str, str]:
    """Those of the ``wanted`` libraries (file -> Debian package) that this Linux system cannot load."""
    if sys.platform != "linux":
        return {}
    import ctypes

    missing = {}
    for library, package in wanted.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing[library] = package
    return missing


def library_advice(missing: dict[str, str]) -> str:
    """Which system libraries are missing, and how to get them."""
    return (
        f"{', '.join(missing)}. On Debian and Ubuntu: sudo apt install {' '.join(missing.values())}. Other systems "
        "have packages of similar names."
    )
