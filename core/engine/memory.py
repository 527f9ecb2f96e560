"""How much memory the work takes on the device that does it, told apart by what was being done."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

Moment = Literal["loading", "step", "evaluation", "sampling", "saving"]

_STATUS, _CLEAR = "/proc/self/status", "/proc/self/clear_refs"


class Meter:
    """The peaks of one device: allocated by tensors on CUDA, resident in RAM on the CPU.

    Where the system cannot forget a peak (anywhere but on CUDA and Linux), a moment counts only if it went above all
    those before it, else with what is resident at its end.
    """

    def __init__(self, device: torch.device, moment: Moment = "loading") -> None:
        self._device = device
        self._moment = moment
        self._peaks: dict[Moment, int] = {}
        self._reserved = 0
        self._highest = 0
        if device.type == "cuda":
            torch.cuda.init()  # before it, the allocator knows no device and refuses to forget anything
        self._restart()

    def begin(self, moment: Moment) -> None:
        """From now on, what is taken is taken by ``moment``."""
        self._look()
        self._restart()
        self._moment = moment

    @contextmanager
    def during(self, moment: Moment) -> Iterator[None]:
        """The block is ``moment``; after it, things are as they were before."""
        before = self._moment
        self.begin(moment)
        yield
        self.begin(before)

    @property
    def peaks(self) -> Mapping[Moment, int]:
        """The highest peak of each moment so far, in bytes."""
        self._look()
        return dict(self._peaks)

    @property
    def highest(self) -> int:
        """The highest peak since the start, in bytes."""
        self._look()
        return self._highest

    @property
    def reserved(self) -> int:
        """The most that CUDA's allocator held, in use or not; 0 on the CPU, where nobody counts it."""
        self._look()
        return self._reserved

    def shown(self) -> int:
        """The most that the system's monitor showed: for this process on the CPU, for the whole GPU otherwise."""
        if self._device.type != "cuda":
            return self.highest
        free, total = torch.cuda.mem_get_info(self._device)
        # The allocator may hold less now than at its peak; the context beside it stays as it is.
        return int(total - free) + self.reserved - int(torch.cuda.memory_reserved(self._device))

    def _look(self) -> None:
        peak = _peak_bytes(self._device)
        if self._device.type == "cuda":
            self._reserved = max(self._reserved, int(torch.cuda.max_memory_reserved(self._device)))
        if not self._forgets and peak <= self._highest:
            peak = _resident_bytes()
        self._peaks[self._moment] = max(self._peaks.get(self._moment, 0), peak)
        self._highest = max(self._highest, peak)

    def _restart(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._forgets = True
        else:
            self._forgets = _forget_peak()


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    elif sys.platform == "linux":  # noqa: RET505 (type checkers read each branch only on its own platform)
        return _peak_of_status()
    else:
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _peak_of_status() -> int:
    """What ``getrusage`` counts as well would be the peak of the program that started this one."""
    with open(_STATUS, "rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return _resident_bytes()


def _resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _forget_peak() -> bool:
    """Sets the peak of this process to what is resident now; False where the system has no way or forbids it."""
    if sys.platform != "linux":
        return False
    try:
        handle = os.open(_CLEAR, os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(handle, b"5")
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
