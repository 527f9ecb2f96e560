"""What every engine job has at hand: its folder, its event log, requests from outside, and a heartbeat."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from core.events.types import Body, Failed, Heartbeat, Phase, PhaseFinished, PhaseStarted, Progress
from core.events.writer import EventWriter
from core.runs.control import take_request
from core.runs.layout import REQUESTS, Request, RunFolder
from core.runs.place import ALONE, Place, launcher_is_gone

HEARTBEAT_SECONDS = 5.0
_ENDING: tuple[Request, ...] = ("stop", "pause")


class JobContext:
    """The job's side of the protocol.

    Attributes:
        folder: the run or job folder.
        owns_process: the process is there for this job alone, so its priority and signals are the job's.
        signalled: a SIGTERM or SIGINT arrived; treated like a stop request, so that a shutdown loses nothing.
        place: which of how many processes this is; only the first one tells how the work goes and takes requests.
    """

    def __init__(self, folder: RunFolder, place: Place = ALONE) -> None:
        self.folder = folder
        self.place = place
        self.signalled = False
        self.owns_process = False
        self._writer = EventWriter(folder.events(0), rank=0) if place.leads else None
        self._progressed = time.monotonic()
        self._closing = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Takes charge of the process: starts the heartbeat and listens to the system's wish to end."""
        self.owns_process = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._heart.start()

    def close(self) -> None:
        """Ends the heartbeat and closes the log."""
        self._closing.set()
        if self._heart.is_alive():
            self._heart.join()
        if self._writer is not None:
            self._writer.close()

    def emit(self, body: Body) -> None:
        """Writes an event; everything but a heartbeat counts as progress. Other processes than the first only fail."""
        self._progressed = time.monotonic()
        if self._writer is not None:
            self._writer.emit(body)
        elif isinstance(body, Failed):
            with EventWriter(self.folder.events(self.place.rank), self.place.rank) as writer:
                writer.emit(body)

    @contextmanager
    def phase(self, phase: Phase, message: str) -> Iterator[None]:
        """A stretch of work, announced and timed."""
        began = time.monotonic()
        self.emit(PhaseStarted(phase, message))
        yield
        self.emit(PhaseFinished(phase, time.monotonic() - began))

    def progress(self, phase: Phase, done: float, total: float, unit: str) -> None:
        """How far a phase is; the writer thins these out."""
        self.emit(Progress(phase, done, total, unit))

    def taken(self) -> frozenset[Request]:
        """Requests that arrived since the last call; each is reported once, and to the first process alone."""
        if not self.place.leads:
            return frozenset()
        return frozenset(name for name in REQUESTS if take_request(self.folder, name))

    @property
    def interrupted(self) -> bool:
        """Whether somebody wants the job to end; asked inside long stretches, answered between steps."""
        return self.signalled or any(self.folder.request(name).exists() for name in _ENDING)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.signalled = True

    def _beat(self) -> None:
        while not self._closing.wait(HEARTBEAT_SECONDS):
            if self._writer is not None:
                self._writer.emit(Heartbeat(time.monotonic() - self._progressed))
            if launcher_is_gone(os.environ):
                self.signalled = True  # nobody watches over the group any more: save and end
