"""Our own launcher of several engine processes on one machine: starts them, passes signals on, and leaves none behind.

It computes nothing and imports no torch. One process that ends badly ends all of them, and whichever was the first to
fail without a word of its own gets one written for it, so that a run never just hangs or vanishes.
"""

import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import FrameType

from core.errors import ExitCode, FailureKind
from core.events.tail import EventTail
from core.events.types import Failed
from core.events.writer import EventWriter
from core.runs.crash import Exit, memory_kills
from core.runs.launch import engine_command
from core.runs.layout import RunFolder
from core.runs.place import LEFT_ALONE, Place, environment_of

POLL_SECONDS = 0.05
LAST_WORDS_SECONDS = 15.0
"""How long the others have to end by themselves when one has failed, and again after they were told to."""
_SIGNAL_OFFSET = 128


class RankGroup:
    """The processes of one run on this machine.

    Attributes:
        statuses: exit status of each process that ended by itself, in the order in which they were seen to end.
    """

    def __init__(self, folder: RunFolder, processes: int, rendezvous: Path) -> None:
        """Starts them; each finds the others through the file ``rendezvous``, which must not be there yet."""
        self.statuses: dict[int, int] = {}
        self._folder = folder
        self._began = time.time()
        self._memory_kills = memory_kills()
        self._told = False
        command = engine_command(folder)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        for rank in range(processes):
            place = Place(rank, processes, rank, processes)
            env = environment_of(place, str(rendezvous), command.env)
            self._children[rank] = subprocess.Popen(command.argv, env=env, stdin=subprocess.DEVNULL)

    def wait(self) -> int:
        """Waits for the end of all and returns the exit status that stands for them."""
        measures = [self._terminate, self._kill]
        deadline: float | None = None
        while self._living():
            self._look()
            if deadline is None and any(self.statuses.values()):
                deadline = time.monotonic() + LAST_WORDS_SECONDS
            if deadline is not None and time.monotonic() > deadline and measures:
                measures.pop(0)()
                deadline = time.monotonic() + LAST_WORDS_SECONDS
            time.sleep(POLL_SECONDS)
        self._look()
        return self._judge()

    def signal(self, number: int) -> None:
        """Passes a signal on to all that live."""
        for child in self._living():
            child.send_signal(number)

    def _terminate(self) -> None:
        self._told = True
        self.signal(signal.SIGTERM)

    def _kill(self) -> None:
        for child in self._living():
            child.kill()

    def _living(self) -> list[subprocess.Popen[bytes]]:
        return [child for child in self._children.values() if child.poll() is None]

    def _look(self) -> None:
        """Notes who has ended; not once they were told to, because then it says nothing about the cause."""
        for rank, child in self._children.items():
            status = child.poll()
            if not self._told and status is not None and rank not in self.statuses:
                self.statuses[rank] = status

    def _judge(self) -> int:
        cause = next((rank for rank, status in self.statuses.items() if status not in (0, LEFT_ALONE)), None)
        if cause is None:
            return ExitCode.FAILED if any(self.statuses.values()) else ExitCode.DONE
        status = self.statuses[cause]
        if cause and not self._has_spoken(cause):
            self._speak_for(cause, status)
        if cause == 0 and status < 0:
            return _SIGNAL_OFFSET - status
        return status if cause == 0 else ExitCode.FAILED

    def _has_spoken(self, rank: int) -> bool:
        events = EventTail(self._folder.events(rank)).read()
        return any(isinstance(event.body, Failed) and event.time >= self._began for event in events)

    def _speak_for(self, rank: int, status: int) -> None:
        number, size = rank + 1, len(self._children)
        ended = Exit.from_status(status)
        kind = FailureKind.INTERNAL
        how = f"was ended by {ended.signal}" if ended.signal else f"ended with exit code {status}"
        message = f"Process {number} of {size} of this run {how}, so the others ended as well."
        hint = "Resume goes on from the last saved state; engine.log may tell more."
        if ended.signal == "SIGKILL" and memory_kills() > self._memory_kills:
            kind = FailureKind.OUT_OF_MEMORY
            hint = "The computer ran out of memory (RAM): use fewer processes, a smaller base model or 4-bit weights."
        with EventWriter(self._folder.events(rank), rank) as writer:
            writer.emit(Failed(kind, message, hint))


def run_ranks(folder: RunFolder, processes: int) -> int:
    """Has so many engine processes work on a run, and returns the exit status that stands for them.

    Requests to end (SIGTERM, Ctrl+C) are passed on: the processes agree on a step, save and end.
    """
    with tempfile.TemporaryDirectory(prefix="lowrank-") as private:
        group: RankGroup | None = None
        early: list[int] = []

        def pass_on(number: int, _frame: FrameType | None) -> None:
            early.append(number)
            if group is not None:
                group.signal(signal.SIGTERM)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, pass_on)
        group = RankGroup(folder, processes, Path(private) / "rendezvous")
        if early:
            group.signal(signal.SIGTERM)
        return group.wait()
