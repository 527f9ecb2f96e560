"""The thread that watches one engine process, and tells the window what it says ten times a second."""

import threading

from PySide6.QtCore import QThread, Signal

from core.errors import UserError
from core.events.types import Event
from core.runs.launch import LaunchCommand
from core.runs.layout import Request, RunFolder
from core.runs.supervisor import POLL_SECONDS, State, Supervisor


class RunThread(QThread):
    """A QThread around `core.runs.supervisor.Supervisor`. The engine is a process of its own and outlives it.

    Attributes:
        moved: the `RunState` after new events, and those of them that are no steps (which the state holds, and a long
            run has a million of).
        stirred: the supervisor's `State`, when it changed.
        ended: the `Outcome`; the thread ends after it.
        refused: the exception with which start or attach was refused; the thread ends after it.
        troubled: a sentence about something that passes, such as a log that cannot be read right now.
    """

    moved = Signal(object, object)
    stirred = Signal(object)
    ended = Signal(object)
    refused = Signal(object)
    troubled = Signal(str)

    def __init__(self, folder: RunFolder, *, attach: bool, command: LaunchCommand | None = None) -> None:
        """Watches ``folder``: finds its engine again if ``attach``, else starts one (or ``command``, in tests)."""
        super().__init__()
        self.folder = folder
        self.supervisor = Supervisor(folder, command, keep_steps=False)
        self.attach = attach
        self._told = self.supervisor.run_state
        self._leave = threading.Event()

    def run(self) -> None:
        """The thread: begin, then poll until the run has ended or the window lets go of it."""
        try:
            if self.attach:
                self.supervisor.attach()
            else:
                self.supervisor.start()
        except (UserError, OSError) as failure:
            self.refused.emit(failure)
            return
        last: State | None = None
        while not self._leave.is_set():
            self._poll()
            state = self.supervisor.state
            if state is not last:
                last = state
                self.stirred.emit(state)
            if self.supervisor.outcome is not None:
                self.ended.emit(self.supervisor.outcome)
                return
            self._leave.wait(POLL_SECONDS)

    def _poll(self) -> None:
        try:
            events: list[Event] = self.supervisor.poll()
        except OSError as failure:
            self.troubled.emit(f"{self.folder.events()}: {failure.strerror or failure}")
            return
        state = self.supervisor.run_state
        if state is not self._told or events:
            self._told = state
            self.moved.emit(state, events)

    def request(self, name: Request) -> None:
        """Asks the engine for something between two steps.

        Raises:
            OSError: the request cannot be placed.
        """
        self.supervisor.request(name)

    def stop(self, grace_seconds: float | None = None) -> None:
        """Asks the run to stop and save; with ``grace_seconds`` it is ended by force when that time has passed."""
        if grace_seconds is None:
            self.supervisor.stop()
        else:
            self.supervisor.stop(grace_seconds)

    def leave(self) -> None:
        """Stops watching; the engine goes on. Waits for the thread."""
        self._leave.set()
        self.wait()
