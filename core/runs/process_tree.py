"""Processes and everything they started: who is who, who still lives, and how to end them, on POSIX and Windows."""

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessKey:
    """One process, for certain: a pid is used again one day, a pid with its birth is not.

    Attributes:
        birth: on Linux the boot's id and the start in clock ticks since then, which no change of the clock moves;
            elsewhere the start in Unix time. Only ever compared with another of the same machine.
    """

    pid: int
    birth: str


def identify(pid: int) -> ProcessKey | None:
    """The process that has this pid now; None when there is none or it has ended and only waits to be reaped."""
    import psutil

    if pid <= 0:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessKey(pid, _birth(pid, process.create_time()))
    except (psutil.NoSuchProcess, OSError):
        return None
    except psutil.AccessDenied:
        return None  # another user's process: never ours


def _birth(pid: int, created: float) -> str:
    if sys.platform == "linux":
        # The name of the program stands in brackets and may hold anything, so fields are counted behind the last one.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{_boot_id()}/{int(fields[19])}"
    else:  # noqa: RET505 (the type checker reads one branch on each system)
        return f"{created:.2f}"


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def is_alive(key: ProcessKey) -> bool:
    """Whether exactly this process still runs."""
    return identify(key.pid) == key


def rebooted_since(key: ProcessKey) -> bool:
    """Whether the computer was started anew after the process was; always False where systems do not tell."""
    return sys.platform == "linux" and "/" in key.birth and not key.birth.startswith(f"{_boot_id()}/")


def ancestors(pid: int) -> tuple[ProcessKey, ...]:
    """The processes above ``pid``, nearest first."""
    import psutil

    try:
        parents = psutil.Process(pid).parents()
    except psutil.Error:
        return ()
    return tuple(key for key in map(identify, (parent.pid for parent in parents)) if key is not None)


def family(key: ProcessKey) -> tuple[ProcessKey, ...]:
    """The process, what it started, and what those started, as far as they live; the process itself comes last.

    When the process has just ended, on POSIX what is left of its session is found all the same. Of a process that
    ended long ago nothing should be asked: another one may have had its pid, and begun a session, since.
    """
    import psutil

    alive = is_alive(key)
    if key.pid <= 0 or not (alive or identify(key.pid) is None):
        return ()  # the pid belongs to a stranger by now
    pids = set(_session_members(key.pid))
    if alive:
        with suppress(psutil.NoSuchProcess):  # it ended in this moment; its session has been searched
            pids.update(child.pid for child in psutil.Process(key.pid).children(recursive=True))
    pids -= {key.pid, os.getpid()}
    found = [member for member in map(identify, sorted(pids)) if member is not None]
    return (*found, key) if alive else tuple(found)


def _session_members(leader: int) -> list[int]:
    """Pids in the session that ``leader`` began; an engine begins one, and its helpers stay in it."""
    import psutil

    members: list[int] = []
    if sys.platform != "win32" and os.getsid(0) != leader:
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == leader:
                    members.append(pid)
    return members


def terminate(key: ProcessKey) -> None:
    """Asks a process to end (SIGTERM). Windows knows no such question, so there it is ended at once with its tree."""
    if sys.platform == "win32":
        kill(family(key))
    else:
        _signal(key, signal.SIGTERM)


def kill(keys: Iterable[ProcessKey]) -> None:
    """Ends processes at once; those that are gone, or whose pid has a new owner, are left alone."""
    for key in keys:
        if sys.platform == "win32":
            _signal(key, signal.SIGTERM)  # Windows ends the process at once for any signal but two
        else:
            _signal(key, signal.SIGKILL)


def _signal(key: ProcessKey, number: int) -> None:
    if key.pid != os.getpid() and is_alive(key):  # nobody ends himself by mistake
        # A process that ended in between, or that the system does not let anybody end, is seen by whoever waits for it.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(key.pid, number)


def wait_gone(keys: Iterable[ProcessKey], seconds: float) -> tuple[ProcessKey, ...]:
    """Waits until all have ended, at most so long; returns those that have not."""
    deadline = time.monotonic() + seconds
    left = tuple(key for key in keys if is_alive(key))
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = tuple(key for key in left if is_alive(key))
    return left
