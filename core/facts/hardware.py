"""This machine: GPUs, processor, memory and disk, as far as they can be known without loading CUDA or torch."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from core.facts.cgroups import Limits, read_limits
from core.facts.nvidia import read_gpus
from core.facts.types import CpuFacts, HardwareFacts
from core.paths import existing_parent

_AVX2_ON_WINDOWS = 40  # PF_AVX2_INSTRUCTIONS_AVAILABLE of IsProcessorFeaturePresent
_TIMEOUT_SECONDS = 5.0


def read_hardware(folder: Path) -> HardwareFacts:
    """The machine's facts now; `folder` says which disk is meant and need not exist yet. Never raises.

    What cannot be found out is zero or false, with a sentence in `HardwareFacts.problems`.
    """
    import psutil

    limits = read_limits()
    gpus, problems = read_gpus()
    cpu, doubts = read_cpu(limits)
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if limits.memory_bytes is not None and limits.memory_free_bytes is not None:
        total, free = min(total, limits.memory_bytes), min(free, limits.memory_free_bytes)
    disk = 0
    try:
        disk = shutil.disk_usage(existing_parent(folder)).free
    except OSError as failure:
        doubts = (*doubts, f"The free space at {folder} is unknown: {failure.strerror or failure}.")
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return HardwareFacts(cpu, gpus, total, free, disk, system, (*problems, *doubts))


def read_cpu(limits: Limits, root: Path = Path("/")) -> tuple[CpuFacts, tuple[str, ...]]:
    """The processor's name, the cores that this process may use, and the instructions that matter for training."""
    import psutil

    name, flags, doubts = _description(root)
    allowed = _allowed_processors()
    logical = len(allowed) if allowed else psutil.cpu_count() or 1
    physical = _distinct_cores(root, allowed) or min(psutil.cpu_count(logical=False) or logical, logical)
    if limits.processors is not None:
        logical, physical = min(logical, limits.processors), min(physical, limits.processors)
    return (
        CpuFacts(
            name=name or platform.processor() or platform.machine() or "unknown",
            physical_cores=max(1, physical),
            logical_cores=max(1, logical),
            avx2="avx2" in flags,
            avx512_bf16="avx512_bf16" in flags,
            amx_bf16="amx_bf16" in flags,
        ),
        doubts,
    )


def _description(root: Path) -> tuple[str, frozenset[str], tuple[str, ...]]:
    """Name, instruction flags in Linux' words, and what could not be told."""
    if sys.platform == "win32":
        return _windows_description()
    else:  # noqa: RET505  (type checkers read each branch only on its own platform)
        return _unix_description(root)


def _unix_description(root: Path) -> tuple[str, frozenset[str], tuple[str, ...]]:
    if platform.system() == "Darwin":
        name = _sysctl("machdep.cpu.brand_string")
        flags = frozenset(["avx2"]) if _sysctl("hw.optional.avx2_0") == "1" else frozenset()
        return name, flags, ()  # no Mac has AVX512-BF16 or AMX
    try:
        text = (root / "proc/cpuinfo").read_text("utf-8", "replace")
    except OSError as failure:
        return "", frozenset(), (f"The processor's description cannot be read: {failure.strerror or failure}.",)
    found = dict(re.findall(r"^(model name|flags)[ \t]*:[ \t]*(.*)$", text, re.MULTILINE))
    return found.get("model name", "").strip(), frozenset(found.get("flags", "").split()), ()


if sys.platform == "win32":

    def _windows_description() -> tuple[str, frozenset[str], tuple[str, ...]]:
        import ctypes
        import winreg

        name = ""
        with (
            contextlib.suppress(OSError),
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key,
        ):
            name = str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        has_avx2 = bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(_AVX2_ON_WINDOWS))
        doubt = "Windows does not say whether the processor has AVX512-BF16 or AMX, so bfloat16 counts as slow on it."
        return name, frozenset(["avx2"] if has_avx2 else []), (doubt,)


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):  # an unknown name stays empty, and that is what is shown
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _allowed_processors() -> frozenset[int]:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return frozenset(affinity(0)) if affinity else frozenset()


def _distinct_cores(root: Path, allowed: frozenset[int]) -> int:
    """How many physical cores the allowed processors belong to; 0 where the system does not tell."""
    cores = set()
    for number in allowed:
        try:
            siblings = root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
            cores.add(siblings.read_text("ascii").strip())
        except (OSError, UnicodeDecodeError):
            return 0
    return len(cores)
