"""What can be said about an engine that left no last word of its own: from its exit, its log and the system."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import FailureKind, Problem, error
from core.events.run_state import RunState
from core.events.tail import EventTail
from core.events.types import PROTOCOL_VERSION, Failed, Hello
from core.runs.layout import RunFolder
from core.runs.outcome import KEPT_MEASUREMENTS, Outcome, step_of, summed_up
from core.units import MIB, format_duration

LOG_LINES = 20

_LOG_BYTES = 32 * 1024
_FULL_DISK_BYTES = 4 * MIB
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
# A launcher in between (torchrun, a shell) reports a signal as 128 and its number.
_LAUNCHER_OFFSET = 128
_WINDOWS_CODES: Mapping[int, str] = {
    0xC0000005: "an access violation",
    0xC000001D: "an illegal instruction",
    0xC0000017: "no memory left",
    0xC00000FD: "a stack overflow",
    0xC0000135: "a missing library",
    0xC0000374: "a damaged heap",
    0xC0000409: "a stack overrun",
}
_NATIVE = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGTRAP", "SIGSYS")
_RAM_ADVICE = (
    "Close other programs, take a smaller base model or 4-bit weights, or lower “Tokens a pass” or “Longest row”."
)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, as the system reports it: a code, or the name of a signal."""

    code: int | None
    signal: str = ""

    @classmethod
    def from_status(cls, status: int) -> "Exit":
        """From the return code of `subprocess`, negative for signals; codes above 128 may stand for signals too."""
        number = -status if status < 0 else status - _LAUNCHER_OFFSET if status > _LAUNCHER_OFFSET else 0
        if sys.platform != "win32" and number > 0:
            try:
                return cls(None if status < 0 else status, signal.Signals(number).name)
            except ValueError:
                return cls(None, f"signal {number}") if status < 0 else cls(status)
        return cls(status)


def crashed(folder: RunFolder, state: RunState, exit_: Exit, *, log_start: int, memory_ran_out: bool) -> Outcome:
    """The outcome of a process that was seen to end without a terminal event.

    Args:
        folder: where it worked.
        state: what it had told.
        exit_: how it ended.
        log_start: where its part of ``engine.log`` begins, in bytes.
        memory_ran_out: the system has ended some process for lack of memory meanwhile.
    """
    detail = "\n".join(last_lines(folder.log, log_start))
    message, hint = _words(exit_, memory_ran_out=memory_ran_out, said_something=bool(detail))
    if is_disk_full(folder.path):
        hint = f"The disk that holds {folder.path} is full, so not even the reason could be written: free some space."
    return summed_up(
        "crashed",
        _with_place(message, state),
        _with_resume(hint, state, measured=folder.reference.exists()),
        state,
        exit_status=exit_.code,
        signal=exit_.signal,
        detail=detail,
        resumable=bool(state.checkpoints) or folder.reference.exists(),
    )


def lost(folder: RunFolder, state: RunState, *, log_start: int, rebooted: bool) -> Outcome:
    """The outcome of a process that is gone, has left no terminal event, and whose end nobody saw."""
    detail = "\n".join(last_lines(folder.log, log_start))
    if rebooted:
        message, hint = "The computer was switched off or restarted while the engine was at work.", ""
    elif is_disk_full(folder.path):
        message = "The engine ended while nobody was watching, and left no word about why."
        hint = f"The disk that holds {folder.path} is full, which may well be the reason: free some space."
    else:
        message = "The engine ended while nobody was watching, and left no word about why."
        hint = "It may have crashed, been ended by hand, or by the system for lack of memory."
        hint += " The last lines of engine.log may tell more." if detail else ""
    return summed_up(
        "lost",
        _with_place(message, state),
        _with_resume(hint, state, measured=folder.reference.exists()),
        state,
        detail=detail,
        resumable=bool(state.checkpoints) or folder.reference.exists(),
    )


def forced(state: RunState, exit_: Exit | None, *, asked: bool, measured: bool = False) -> Outcome:
    """The outcome of a process that was ended by force on purpose.

    Args:
        state: what it had told.
        exit_: how it ended.
        asked: it had been asked to stop first.
        measured: its folder keeps what was measured before the first step (`RunFolder.reference`).
    """
    message = "It did not answer the request to stop in time, so it" if asked else "The engine"
    return summed_up(
        "stopped",
        _with_place(f"{message} was ended by force.", state),
        _with_resume(
            "What came after the last saved state is lost." if state.checkpoints else "", state, measured=measured
        ),
        state,
        exit_status=exit_.code if exit_ else None,
        signal=exit_.signal if exit_ else "",
        resumable=bool(state.checkpoints) or measured,
    )


def silent(folder: RunFolder, state: RunState, *, log_start: int, seconds: float) -> Outcome:
    """The outcome of a process that lived and said nothing at all for ``seconds``."""
    return summed_up(
        "failed",
        f"The engine was started but said nothing for {format_duration(seconds)}, so it was ended.",
        "Start it again: the first start after an installation is the slowest. If it happens again, a virus "
        "scanner or a slow disk may hold it up; engine.log may tell more.",
        state,
        failure=FailureKind.INTERNAL,
        detail="\n".join(last_lines(folder.log, log_start)),
    )


def foreign(folder: RunFolder, hello: Hello) -> Problem:
    """The problem with an engine that speaks another protocol."""
    version = f"Lowrank Studio {hello.version}" if hello.version else "another version of Lowrank Studio"
    return error(
        str(folder.path),
        f"The engine is {version} and speaks protocol {hello.protocol}; this program understands {PROTOCOL_VERSION}.",
        "Use the same version of Lowrank Studio for both.",
    )


def _words(exit_: Exit, *, memory_ran_out: bool, said_something: bool) -> tuple[str, str]:
    look = "The last lines of engine.log show what it said before." if said_something else "It had printed nothing."
    name = exit_.signal
    if name == "SIGKILL" and memory_ran_out:
        return "The computer ran out of memory (RAM), so the system ended the engine (SIGKILL).", _RAM_ADVICE
    if name == "SIGKILL":
        hint = f"Most probably the computer ran out of memory (RAM). {_RAM_ADVICE}"
        return "The engine was ended from outside (SIGKILL) and could not say a word.", hint
    if name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"):
        return f"Somebody ended the engine ({name}) before it could answer.", look
    if name == "SIGILL":
        hint = "A library was built for a newer processor; install the builds of the README for this machine."
        return "The engine crashed on an instruction that this processor does not have (SIGILL).", hint
    if name in _NATIVE:
        hint = (
            f"Such a crash comes from a driver or a library, not from the data. {look} Updating the GPU driver helps "
        )
        return f"The engine crashed in native code ({name}).", hint + "most often."
    if name:
        return f"The engine was ended by {name}.", look
    reason = _WINDOWS_CODES.get((exit_.code or 0) & 0xFFFFFFFF)
    if reason:
        return f"The engine crashed: {reason} (exit code 0x{(exit_.code or 0) & 0xFFFFFFFF:08X}).", look
    if exit_.code == 0:
        return "The engine ended without saying how the work went.", look
    return f"The engine ended with exit code {exit_.code} and did not say why.", look


def _with_place(message: str, state: RunState) -> str:
    if state.step:
        return f"{message} It had done {step_of(state.step, state.steps)}."
    if state.phase == "reference":
        return f"{message} It was measuring how likely both answers were before training."
    return message


def _with_resume(hint: str, state: RunState, *, measured: bool) -> str:
    if not state.checkpoints:
        return f"{hint} {KEPT_MEASUREMENTS}".lstrip() if measured else hint
    return f"{hint} Resume goes on from the state saved after step {state.checkpoints[-1].step}.".lstrip()


def last_lines(log: Path, start: int, count: int = LOG_LINES) -> list[str]:
    """The last lines of a log from byte ``start`` on, as a terminal would show them; none if it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(min(start, size), size - _LOG_BYTES)
            file.seek(begin)
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    if begin > start:
        del lines[0]  # most probably the end of a longer line
    # A progress bar draws over itself with carriage returns; only its last state was ever seen.
    shown = (_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines)
    return [line for line in shown if line][-count:]


def is_disk_full(folder: Path) -> bool:
    """Whether there is no room left to speak of where the run lies."""
    try:
        return shutil.disk_usage(folder).free < _FULL_DISK_BYTES
    except OSError:
        return False


def memory_kills() -> int:
    """How often this system has ended a process for lack of memory since it was started; 0 where it does not tell."""
    try:
        text = Path("/proc/vmstat").read_text("ascii")
    except OSError:
        return 0
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def first_rank_failure(folder: RunFolder, since: float) -> Failed | None:
    """The earliest failure that another rank than 0 has written down since a Unix time: usually the cause of all."""
    failures = [
        (event.time, event.body)
        for path in folder.other_rank_events()
        for event in EventTail(path).read()
        if isinstance(event.body, Failed) and event.time >= since
    ]
    return min(failures, key=lambda item: item[0])[1] if failures else None
