"""What a container or service allows on Linux: memory and processor time, in both versions of cgroups."""

import math
from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT = 2**60  # version 1 writes the largest page-aligned number instead of “max”


@dataclass(frozen=True, slots=True)
class Limits:
    """The tightest limits that apply to this process; None where there is none.

    Attributes:
        memory_free_bytes: what of the memory limit is left, file caches that can be dropped counted as free.
        processors: processor time in whole processors, rounded up.
    """

    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    processors: int | None = None


def read_limits(root: Path = Path("/")) -> Limits:
    """The limits of the control groups that this process is in; no limits where there are no such groups."""
    memory: list[tuple[int, int]] = []
    processors: list[int] = []
    mount = root / "sys/fs/cgroup"
    for controllers, group in _memberships(root):
        if not controllers:
            for folder in _upwards(mount, group):
                memory += _memory(folder, "memory.max", "memory.current", "inactive_file")
                processors += _quota(_words(folder / "cpu.max"))
        if "memory" in controllers:
            for folder in _upwards(mount / "memory", group):
                memory += _memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if "cpu" in controllers:
            for name in ("cpu", "cpu,cpuacct"):
                for folder in _upwards(mount / name, group):
                    processors += _quota(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))
    return Limits(
        min((limit for limit, _ in memory), default=None),
        min((free for _, free in memory), default=None),
        min(processors, default=None),
    )


def _memberships(root: Path) -> list[tuple[frozenset[str], str]]:
    """Controllers and group of every hierarchy; version 2 has one without controllers."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            found.append((frozenset(filter(None, parts[1].split(","))), parts[2]))
    return found


def _upwards(mount: Path, group: str) -> list[Path]:
    """The group's folder and all above it, for limits are inherited; inside a container only the mount exists."""
    folder = mount / group.strip("/")
    if ".." in folder.parts:  # the group lies outside the container's view
        return [mount]
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]


def _memory(folder: Path, limit_file: str, used_file: str, cache_key: str) -> list[tuple[int, int]]:
    limit = _number(_text(folder / limit_file))
    if limit is None or limit >= _NO_LIMIT:
        return []
    used = _number(_text(folder / used_file)) or 0
    cached = 0
    for line in _text(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == cache_key:
            cached = _number(value) or 0
    return [(limit, max(0, limit - max(0, used - cached)))]


def _quota(words: list[str]) -> list[int]:
    if len(words) != 2:
        return []
    quota, period = _number(words[0]), _number(words[1])
    return [max(1, math.ceil(quota / period))] if quota and period else []


def _number(text: str) -> int | None:
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) < 20 else None


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:  # a file that is not there sets no limit
        return ""
