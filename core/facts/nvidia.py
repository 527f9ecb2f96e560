"""NVIDIA GPUs as the driver's own program, nvidia-smi, describes them. No CUDA library is loaded."""

import csv
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.facts.types import DeviceUse, GpuFacts
from core.units import MIB

VISIBLE = "CUDA_VISIBLE_DEVICES"
_TIMEOUT_SECONDS = 15.0
_FIELDS = ("index", "uuid", "name", "compute_cap", "memory.total", "memory.free", "driver_version")
_USE_FIELDS = (
    "index", "uuid", "name", "memory.total", "memory.free", "utilization.gpu", "temperature.gpu", "power.draw",
)  # fmt: skip
_LOADED_DRIVER = Path("/proc/driver/nvidia/version")
_USUAL_PLACES = (
    "/usr/lib/wsl/lib/nvidia-smi",
    r"C:\Windows\System32\nvidia-smi.exe",
    r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
)


@dataclass(frozen=True, slots=True)
class _Card:
    """One line of the driver's answer; texts are as it wrote them."""

    index: str
    uuid: str
    name: str
    capability: str
    total: str
    free: str
    driver: str


class _Silent(Exception):  # noqa: N818  (it carries a sentence, and is no error to anybody outside)
    """The driver gave no usable answer; the text is a sentence that says why."""


def read_gpus(environment: Mapping[str, str] | None = None) -> tuple[tuple[GpuFacts, ...], tuple[str, ...]]:
    """The GPUs that a program started now would see, in its numbering, and what could not be found out.

    Args:
        environment: the variables of that program; those of this process by default.
    """
    environment = os.environ if environment is None else environment
    program = _program(environment)
    if program is None:
        if _LOADED_DRIVER.exists():
            return (), ("An NVIDIA driver is loaded, but its program nvidia-smi is missing, so no GPU can be used.",)
        return (), ("No NVIDIA GPU was found: the driver's program nvidia-smi is not installed.",)
    try:
        cards, problems = _ask(program)
        chosen, more = _visible(cards, environment.get(VISIBLE))
    except _Silent as reason:
        return (), (str(reason),)
    facts = []
    for position, card in enumerate(chosen):
        gpu, doubts = _facts(position, card)
        facts.append(gpu)
        more += doubts
    if len({gpu.name for gpu in facts}) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        more.append(
            "The GPUs differ, and CUDA may number them in another order than the driver does; set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID to make both agree."
        )
    return tuple(facts), (*problems, *more)


def read_use(environment: Mapping[str, str] | None = None) -> tuple[DeviceUse, ...]:
    """What the GPUs that a program would see do now; none where the driver is silent."""
    environment = os.environ if environment is None else environment
    program = _program(environment)
    if program is None:
        return ()
    try:
        text, code = _query(program, _USE_FIELDS)
        rows = [] if code else [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
        found = {row[1]: row for row in rows if len(row) == len(_USE_FIELDS)}
        cards = [_Card(row[0], row[1], row[2], "", row[3], row[4], "") for row in found.values()]
        chosen, _ = _visible(cards, environment.get(VISIBLE))
    except _Silent:
        return ()
    return tuple(_use(card, *found[card.uuid][5:]) for card in chosen)


def _use(card: _Card, busy: str, celsius: str, watts: str) -> DeviceUse:
    total, free = _bytes(card.total), _bytes(card.free)
    power = float(watts) if watts.replace(".", "", 1).isdecimal() else None
    return DeviceUse(card.name, total - min(free, total), total, _number(busy), _number(celsius), power)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 6 else None


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that computes on a GPU; ``bytes`` is 0 where the driver does not say (Windows)."""

    pid: int
    name: str
    bytes: int


def read_holders(environment: Mapping[str, str] | None = None) -> tuple[Holder, ...]:
    """The programs that hold memory of GPUs, the largest first, without this one; none where the driver is silent."""
    program = _program(os.environ if environment is None else environment)
    if program is None:
        return ()
    try:
        text, code = _run(program, ("--query-compute-apps=pid,process_name,used_memory",))
    except _Silent:
        return ()
    found: dict[int, Holder] = {}
    for row in csv.reader(text.splitlines() if not code else (), skipinitialspace=True):
        cells = [cell.strip() for cell in row]
        if len(cells) == 3 and cells[0].isdecimal() and int(cells[0]) != os.getpid():
            pid, before = int(cells[0]), found.get(int(cells[0]))
            size = _bytes(cells[2]) + (before.bytes if before else 0)  # one line for each GPU that it uses
            found[pid] = Holder(pid, cells[1].replace("\\", "/").rpartition("/")[2], size)
    return tuple(sorted(found.values(), key=lambda holder: holder.bytes, reverse=True))


def _program(environment: Mapping[str, str]) -> str | None:
    found = shutil.which("nvidia-smi", path=environment.get("PATH"))
    return found or next((place for place in _USUAL_PLACES if Path(place).is_file()), None)


def _ask(program: str) -> tuple[list[_Card], list[str]]:
    """The driver's answer; drivers before 470 do not know compute_cap and are asked again without it."""
    problems: list[str] = []
    fields: tuple[str, ...] = _FIELDS
    text, code = _query(program, fields)
    if code and "compute_cap" in text:
        fields = tuple(field for field in _FIELDS if field != "compute_cap")
        text, code = _query(program, fields)
        problems.append("The NVIDIA driver is too old to say the GPUs' compute capability; install a newer driver.")
    if "No devices were found" in text:
        return [], []
    if code:
        words = " ".join(text.split())[:200]
        raise _Silent(f"The NVIDIA driver does not answer (nvidia-smi ended with {code}): {words or 'no message'}")
    cards = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if not row:
            continue
        values = dict(zip(fields, (cell.strip() for cell in row), strict=False))
        if len(row) != len(fields) or not values["index"].isdecimal():
            raise _Silent(f"nvidia-smi gave an answer that is not understood: {', '.join(row)[:200]}")
        cards.append(_Card(*(values.get(field, "") for field in _FIELDS)))
    return cards, problems


def _query(program: str, fields: tuple[str, ...]) -> tuple[str, int]:
    return _run(program, (f"--query-gpu={','.join(fields)}",))


def _run(program: str, question: tuple[str, ...]) -> tuple[str, int]:
    """What the program printed, and its exit code."""
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would flash a console
    try:
        done = subprocess.run(
            [program, *question, "--format=csv,noheader,nounits"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            creationflags=no_window,
        )
    except subprocess.TimeoutExpired:
        raise _Silent(f"The NVIDIA driver did not answer within {_TIMEOUT_SECONDS:.0f} seconds.") from None
    except OSError as failure:
        raise _Silent(f"nvidia-smi cannot be started: {failure.strerror or failure}.") from failure
    text = done.stdout.decode("utf-8", "replace")
    return (text + done.stderr.decode("utf-8", "replace") if done.returncode else text), done.returncode


def _visible(cards: list[_Card], choice: str | None) -> tuple[list[_Card], list[str]]:
    """The cards that CUDA shows under ``CUDA_VISIBLE_DEVICES``, by its rule: the list ends at the first bad entry."""
    if choice is None:
        return cards, []
    chosen: list[_Card] = []
    for entry in (part.strip() for part in choice.split(",")):
        if entry.startswith("MIG-"):
            return chosen, [f"{VISIBLE} names a part of a GPU ({entry}), whose memory the driver's list does not tell."]
        match = [card for card in cards if card.index == entry or (entry[:4] == "GPU-" and card.uuid.startswith(entry))]
        if len(match) != 1 or match[0] in chosen:
            hidden = entry in ("", "-1", "NoDevFiles")
            if hidden and cards and not chosen:
                return [], [f"The GPUs are hidden from programs by {VISIBLE}={choice!r}."]
            return chosen, [] if hidden else [f"{VISIBLE} names “{entry}”, which is no GPU of this machine."]
        chosen += match
    return chosen, []


def _facts(position: int, card: _Card) -> tuple[GpuFacts, list[str]]:
    doubts = []
    total, free = _bytes(card.total), _bytes(card.free)
    if not total:
        doubts.append(f"The driver does not say how much memory {card.name} has ({card.total or 'no answer'}).")
    major, _, minor = card.capability.partition(".")
    capability = (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)
    if capability == (0, 0) and card.capability:
        doubts.append(f"The driver does not say the compute capability of {card.name} ({card.capability}).")
    return GpuFacts(position, card.name, capability, total, min(free, total), card.driver), doubts


def _bytes(mebibytes: str) -> int:
    return int(mebibytes) * MIB if mebibytes.isdecimal() and len(mebibytes) < 12 else 0
