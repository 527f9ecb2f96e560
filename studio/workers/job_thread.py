"""A short engine job in the background: import, download, export. The window hears of its progress and its end."""

import shutil
import threading
from collections.abc import Callable

from PySide6.QtCore import QThread, Signal

from core.errors import UserError
from core.events.types import Event, Notice, PhaseStarted, Progress
from core.runs.outcome import Outcome
from core.runs.supervisor import POLL_SECONDS, Supervisor


class JobThread(QThread):
    """A QThread around a `Supervisor` of one short job. It keeps itself alive until its engine has ended.

    The job's folder goes away when the job completed or was stopped as asked; after a failure it stays, because the
    engine's log is in it.

    Attributes:
        progressed: fraction done (0 to 1, -1 while unknown), the sentence of the present phase, done, total, unit.
        noticed: a sentence about something that is not as it should be but goes on.
        happened: every new `Event`, in a list, for those who want more than progress.
        ended: the `Outcome`; the thread ends after it.
        refused: the exception with which the job could not be begun (a `UserError` or `OSError`).
        outcome: how it ended; None until then.
        supervisor: None until the job has begun.
        cancelled: somebody asked for the end.
    """

    progressed = Signal(float, str, float, float, str)
    noticed = Signal(str)
    happened = Signal(object)
    ended = Signal(object)
    refused = Signal(object)

    def __init__(self, begin: Callable[[], Supervisor], *, patience: float = 10.0) -> None:
        """Prepares; `start` begins.

        Args:
            begin: makes the job's folder and a supervisor of it, not started; runs in the thread, so it may read files.
            patience: seconds that a cancelled job gets to end by itself; 0 ends it at once, for work that saves
                nothing on the way.
        """
        super().__init__(None)
        self._begin = begin
        self._patience = patience
        self._cancel = threading.Event()
        self._words = self._phase = ""
        self._latest: Progress | None = None
        self.supervisor: Supervisor | None = None
        self.outcome: Outcome | None = None
        _alive.add(self)
        self.finished.connect(self._forget)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end."""
        return self._cancel.is_set()

    @property
    def is_live(self) -> bool:
        """Whether it is still at work, or about to be."""
        return self in _alive

    def cancel(self) -> None:
        """Asks the job to end; `ended` follows."""
        self._cancel.set()

    def run(self) -> None:
        """The thread: begin, then poll until the job has ended."""
        try:
            supervisor = self.supervisor = self._begin()
            if self._cancel.is_set():
                shutil.rmtree(supervisor.folder.path, ignore_errors=True)
                self.ended.emit(Outcome("stopped", "Stopped before the work began."))
                return
            supervisor.start()
        except (UserError, OSError) as failure:
            self.refused.emit(failure)
            return
        self._finish(supervisor, self._watch(supervisor))

    def _watch(self, supervisor: Supervisor) -> Outcome:
        asked = False
        while True:
            if self._cancel.is_set() and not asked:
                asked = True
                if self._patience:
                    supervisor.stop(self._patience)
                else:
                    supervisor.kill()
            self._poll(supervisor)
            if supervisor.outcome is not None:
                self._poll(supervisor)  # what came with the end
                return supervisor.outcome
            if asked:
                self.msleep(round(POLL_SECONDS * 1000))
            else:
                self._cancel.wait(POLL_SECONDS)

    def _poll(self, supervisor: Supervisor) -> None:
        try:
            events: list[Event] = supervisor.poll()
        except OSError as failure:
            self.noticed.emit(f"{supervisor.folder.events()}: {failure.strerror or failure}")
            return
        if events:
            self._tell(events)

    def _tell(self, events: list[Event]) -> None:
        moved = False
        for event in events:
            body = event.body
            if isinstance(body, PhaseStarted):
                if body.phase != self._phase:  # another sentence of the same phase goes on where it was
                    self._phase, self._latest = body.phase, None
                self._words, moved = body.message, True
            elif isinstance(body, Progress):
                self._latest, moved = body, True
            elif isinstance(body, Notice):
                self.noticed.emit(body.message)
        if moved:
            done, total, unit = (0.0, 0.0, "")
            if self._latest is not None:
                done, total, unit = float(self._latest.done), float(self._latest.total), self._latest.unit
            self.progressed.emit(min(1.0, done / total) if total > 0 else -1.0, self._words, done, total, unit)
        self.happened.emit(events)

    def _finish(self, supervisor: Supervisor, outcome: Outcome) -> None:
        if outcome.kind in ("completed", "stopped"):
            shutil.rmtree(supervisor.folder.path, ignore_errors=True)
        self.outcome = outcome
        self.ended.emit(outcome)

    def _forget(self) -> None:
        _alive.discard(self)


_alive: set[JobThread] = set()


def live_jobs() -> tuple[JobThread, ...]:
    """Every job that is at work."""
    return tuple(_alive)


def end_jobs(milliseconds: int = 15_000) -> int:
    """Cancels every job and waits for their threads; returns how many were still working after that time."""
    for job in live_jobs():
        job.cancel()
    for job in live_jobs():
        if job.wait(milliseconds):
            _alive.discard(job)
    return len(_alive)
