"""Whether runs can start on this computer: what ``lowrank doctor`` and the window look at, each with its remedy."""

import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from core import __version__, paths
from core.errors import UserError
from core.facts.nvidia import read_holders
from core.facts.types import HardwareFacts
from core.runs.child_env import child_env
from core.units import GIB, format_bytes

Level = Literal["ok", "warn", "bad"]
OnWait = Callable[[], None]

LEAST_RAM = 3 * GIB
LEAST_DISK = 5 * GIB
TORCH_SECONDS = 180
MOST_NAMED = 3
HEADS = (9, 3, 64)
"""Heads, heads of keys and their width in the attention that is tried: the starter model's."""
FARTHEST = 0.05
"""How far a product with 4-bit weights may be from the same in 32 bits, as a share of its largest value."""
_WAIT_SECONDS = 0.2
_LIBRARIES = ("transformers", "tokenizers", "peft", "bitsandbytes", "safetensors", "numpy", "pyarrow")


def _repair() -> str:
    """What mends an installation that is not whole: a package is installed again, an environment built anew."""
    if getattr(sys, "frozen", False):
        return "Install the package again: a part of it is missing or damaged."
    return "Run “python3 launch.py setup --rebuild”."


def _other_build() -> str:
    """Where the PyTorch comes from that computes on a GPU."""
    if getattr(sys, "frozen", False):
        return "Install the package that was built for CUDA; until then set hardware.device to “cpu”."
    return (
        "Run “python launch.py setup --torch-index URL” with the address that PyTorch's installation page names "
        "for your CUDA version; until then set hardware.device to “cpu”."
    )


def _nothing() -> None:
    """What nobody waits for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


def check_all(on_wait: OnWait = _nothing) -> tuple[Finding, ...]:
    """Everything, in the order in which it is best mended. Takes some seconds: PyTorch is asked in its own process.

    Args:
        on_wait: called several times a second while PyTorch is asked; what it raises ends the check-up.
    """
    from core.facts.hardware import read_hardware

    hardware = read_hardware(paths.home())
    return (
        Finding("ok", "Lowrank Studio", f"{__version__} ({Path(__file__).resolve().parents[2]})"),
        Finding("ok", "Python", f"{platform.python_version()} ({sys.executable}), {hardware.system}"),
        *_libraries(),
        *_torch(hardware, on_wait),
        *_machine(hardware),
        *_folders(hardware),
        _starter(),
    )


def report_text(findings: Sequence[Finding]) -> str:
    """The findings as text to pass on: folders of the user's are named by what they are, and nobody by name."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<4}  {finding.subject}: {finding.text}")
        if finding.remedy:
            lines.append(f"      {finding.remedy}")
    text = "\n".join(lines) + "\n"
    is_package = getattr(sys, "frozen", False)
    program = Path(sys.executable).resolve().parent if is_package else Path(__file__).resolve().parents[2]
    named = ((paths.home(), "DATA"), (Path(sys.prefix), "PYTHON"), (program, "PROGRAM"), (Path.home(), "~"))
    for folder, words in named:
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), words)
    return text


def _libraries() -> Iterator[Finding]:
    found, missing = [], []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("ok", "Libraries", ", ".join(found) or "none")
    if missing:
        yield Finding("bad", "Libraries", f"{', '.join(missing)} missing.", _repair())


def _torch(hardware: HardwareFacts, on_wait: OnWait) -> Iterator[Finding]:
    try:
        # In a process of its own: torch takes seconds and a gigabyte, and a broken one must not end the doctor.
        told = _ask(("-m", "core.engine.torch_check"), on_wait)
    except _NoAnswerError as failure:
        yield Finding("bad", "PyTorch", f"It cannot be used: {failure}", _repair())
        return
    build = f"built for CUDA {told['cuda_build']}" if told["cuda_build"] else "built for the processor only"
    yield Finding("ok", "PyTorch", f"{told['version']}, {build}")
    yield from _cuda(hardware, told)
    yield _attention(hardware, on_wait)
    yield _four_bits(hardware, on_wait)


def _cuda(hardware: HardwareFacts, told: dict[str, Any]) -> Iterator[Finding]:
    if told["cuda_works"]:
        yield Finding("ok", "CUDA", "works: a product was computed on the GPU")
    elif hardware.gpus and not told["cuda_build"]:
        text = "There is a GPU, but this PyTorch is built for the processor only."
        yield Finding("bad", "CUDA", text, _other_build())
    elif hardware.gpus:
        text = f"There is a GPU, but PyTorch cannot compute on it. {told['problem']}".rstrip()
        yield Finding("bad", "CUDA", text, "Update the NVIDIA driver, or set hardware.device to “cpu”.")


class _NoAnswerError(Exception):
    """PyTorch could not be asked; the message says why."""


def _attention(hardware: HardwareFacts, on_wait: OnWait) -> Finding:
    """What attention runs where a run would compute, read from the profiler, and how exact it is."""
    from core.facts.types import Facts
    from core.plan.ground import ground_of
    from core.spec.run_spec import RunSpec

    ground = ground_of(RunSpec(), Facts(hardware))
    device, dtype = ground.device.value, ground.dtype.value
    try:
        told = _ask(("-m", "core.engine.attention_check", device, dtype, *map(str, HEADS)), on_wait)
    except _NoAnswerError as failure:
        return Finding("warn", "Attention", f"It could not be tried: {failure}", _repair())
    text = (
        f"{told['ran']}, seen by the profiler forward and backward ({dtype}, heads of {HEADS[2]}, {device}); at most "
        f"{told['difference']:.2g} away from every score written out in 32 bits"
    )
    if not told["fused"]:
        remedy = "Attention keeps every score here, so long rows take much memory; shorter rows take less."
        return Finding("warn", "Attention", text, remedy)
    return Finding("ok", "Attention", text)


def _four_bits(hardware: HardwareFacts, on_wait: OnWait) -> Finding:
    """Whether a product with 4-bit weights runs where a run would compute, and gives what its weights say."""
    from core.facts.types import Facts
    from core.plan.ground import ground_of
    from core.spec.run_spec import RunSpec

    ground = ground_of(RunSpec(), Facts(hardware))
    device, dtype = ground.device.value, ground.dtype.value
    try:
        told = _ask(("-m", "core.engine.four_bit_check", device, dtype), on_wait)
    except _NoAnswerError as failure:
        remedy = f"Runs in 16 bits go on as they are. {_repair()}"
        return Finding("bad", "4-bit weights", f"They cannot be used: {failure}", remedy)
    where = f"{told['kernel']}, {dtype}, {device}, forward and backward"
    text = f"NF4 in blocks of 64 works: {where}; at most {told['difference']:.2g} of the largest value away"
    if told["difference"] > FARTHEST:
        remedy = "Do not train in 4 bits here; 16 bits work. Please report it with this line."
        return Finding(
            "bad", "4-bit weights", f"They give wrong products: {where}, {told['difference']:.2g} away", remedy
        )
    return Finding("ok", "4-bit weights", text)


def _ask(arguments: tuple[str, ...], on_wait: OnWait) -> dict[str, Any]:
    with subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env=child_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as asked:
        try:
            output, errors = _wait_for(asked, on_wait)
        except BaseException:
            asked.kill()
            raise
    for line in output.splitlines():
        if line.startswith("TOLD "):
            answer: dict[str, Any] = json.loads(line.removeprefix("TOLD "))
            return answer
    last = [line.strip() for line in errors.splitlines() if line.strip()]
    raise _NoAnswerError(last[-1] if last else f"its process ended with status {asked.returncode}.")


def _wait_for(asked: "subprocess.Popen[str]", on_wait: OnWait) -> tuple[str, str]:
    """What the process wrote until it ended."""
    ends = time.monotonic() + TORCH_SECONDS
    while time.monotonic() < ends:
        on_wait()
        try:
            return asked.communicate(timeout=_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    raise _NoAnswerError(f"it did not answer within {TORCH_SECONDS} seconds.")


def _machine(hardware: HardwareFacts) -> Iterator[Finding]:
    if not hardware.gpus:
        text = " ".join(hardware.problems) or "No NVIDIA GPU was found."
        remedy = "Runs use the processor: fine for models of up to about half a billion parameters, slow beyond."
        yield Finding("warn", "GPU", text, remedy)
    for gpu in hardware.gpus:
        capability = ".".join(map(str, gpu.capability))
        room = f"{format_bytes(gpu.free_bytes)} free of {format_bytes(gpu.total_bytes)}"
        driver = f", driver {gpu.driver}" if gpu.driver else ""
        yield Finding("ok", f"GPU {gpu.index}", f"{gpu.name}, {room}, compute capability {capability}{driver}")
    yield from _held(hardware)
    cpu = hardware.cpu
    flags = (("AVX2", cpu.avx2), ("AVX512-BF16", cpu.avx512_bf16), ("AMX-BF16", cpu.amx_bf16))
    has = ", ".join(name for name, there in flags if there) or "no vector instructions that matter here"
    cores = f"{cpu.physical_cores} cores, {cpu.logical_cores} threads"
    yield Finding("ok", "Processor", f"{cpu.name}, {cores}, {has}")
    ram = f"{format_bytes(hardware.ram_free_bytes)} free of {format_bytes(hardware.ram_total_bytes)}"
    if hardware.ram_free_bytes < LEAST_RAM:
        words = f"{ram}; most is held by {_largest()}"
        yield Finding("warn", "Memory", words, "Close other programs: even a small run wants about 3 GiB.")
    else:
        yield Finding("ok", "Memory", ram)
    for sentence in hardware.problems if hardware.gpus else ():
        yield Finding("warn", "Hardware", sentence)


def _held(hardware: HardwareFacts) -> Iterator[Finding]:
    """Which programs hold the memory of the GPUs."""
    if not hardware.gpus:
        return
    holders = read_holders()
    if not holders:
        yield Finding("ok", "GPU memory", "No other program computes on a GPU.")
        return
    words = ", ".join(
        f"{holder.name} ({holder.pid})" + (f" {format_bytes(holder.bytes)}" if holder.bytes else "")
        for holder in holders[:MOST_NAMED]
    )
    crowded = any(gpu.free_bytes < gpu.total_bytes / 2 for gpu in hardware.gpus)
    remedy = "Close what is not needed: a run can only use what is free." if crowded else ""
    yield Finding("warn" if crowded else "ok", "GPU memory", f"Held by {words}.", remedy)


def _largest() -> str:
    """The programs that hold most of the computer's memory."""
    import psutil

    found = []
    for process in psutil.process_iter(["name", "memory_info"]):
        memory = process.info["memory_info"]
        if memory is not None:
            found.append((memory.rss, str(process.info["name"])))
    largest = sorted(found, reverse=True)[:MOST_NAMED]
    return ", ".join(f"{name} ({format_bytes(size)})" for size, name in largest) or "nobody who can be seen"


def _folders(hardware: HardwareFacts) -> Iterator[Finding]:
    home = paths.home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        paths.write_atomic(probe, b"")
        probe.unlink()
    except OSError as failure:
        remedy = f"Make it writable, or choose another folder with the variable {paths.HOME_VARIABLE}."
        yield Finding("bad", "Data folder", f"{home} cannot be written: {failure.strerror or failure}.", remedy)
        return
    free = hardware.disk_free_bytes or shutil.disk_usage(home).free
    words = f"{home}, {format_bytes(free)} free"
    if free < LEAST_DISK:
        yield Finding("warn", "Data folder", words, "Free some space: models and saved states are large.")
    else:
        yield Finding("ok", "Data folder", words)


def _starter() -> Finding:
    from core.runs.starter import NAME, has_starter, starter_folder

    try:
        if has_starter():
            return Finding("ok", "Starter model", f"{NAME} ({starter_folder()})")
    except UserError as failure:
        return Finding("bad", "Starter model", failure.problems[0].message, failure.problems[0].advice)
    return Finding(
        "warn",
        "Starter model",
        f"{NAME} is not here yet.",
        "Fetch it on the page Model, or with “lowrank models --fetch starter”.",
    )
