"""The thread that talks to a chat's engines: starts them, hears them thirty times a second, and ends them."""

import threading
from collections.abc import Callable, Sequence

from PySide6.QtCore import QThread, Signal

from core.data.types import Message
from core.errors import UserError
from core.runs.chat import ChatSampling, ChatSession, ChatUpdate
from core.runs.panel import Panel
from core.runs.targets import ChatTarget

POLL_SECONDS = 1 / 30


class ChatThread(QThread):
    """A QThread around a `Panel`. It keeps itself alive until its engines have ended.

    Questions may be put as soon as `targeted` was emitted, before the model is loaded.

    Attributes:
        targeted: the `ChatTarget` has been found and its engine launched.
        refused: the exception with which it could not (a `UserError` or `OSError`); the thread ends after it.
        updated: a list of `ChatUpdate`, in their order; the last of all is the `Outcome`.
        troubled: a sentence about something that passes, such as a log that cannot be read right now.
        panel: None until `targeted`.
        closing: somebody wants it to end.
    """

    targeted = Signal(object)
    refused = Signal(object)
    updated = Signal(object)
    troubled = Signal(str)

    def __init__(self, find: Callable[[], ChatTarget], make: Callable[[ChatTarget], ChatSession] = ChatSession) -> None:
        """Prepares; `start` begins. ``find`` runs in the thread, so it may read files; ``make`` makes the session."""
        super().__init__(None)
        self._find, self._make = find, make
        self._leave = threading.Event()
        self.panel: Panel | None = None
        _alive.add(self)
        self.finished.connect(self._forget)

    @property
    def closing(self) -> bool:
        """Whether somebody wants it to end."""
        return self._leave.is_set()

    def run(self) -> None:
        """The thread: find, load, listen until it is over, and leave no process behind."""
        try:
            panel = Panel(self._find(), make=self._make)
            if self._leave.is_set():
                return
            panel.start()
        except (UserError, OSError) as failure:
            self.refused.emit(failure)
            return
        self.panel = panel
        self.targeted.emit(panel.target)
        try:
            while not self._leave.is_set() and panel.outcome is None:
                self._poll(panel)
                self._leave.wait(POLL_SECONDS)
        finally:
            panel.close()

    def _poll(self, panel: Panel) -> None:
        try:
            updates: list[ChatUpdate] = panel.poll()
        except OSError as failure:
            self.troubled.emit(f"{panel.log}: {failure.strerror or failure}")
            return
        if updates:
            self.updated.emit(updates)

    def ask(self, messages: Sequence[Message], voice: str, sampling: ChatSampling) -> str:
        """Puts a question; see `Panel.ask`.

        Raises:
            UserError: it cannot be asked.
        """
        assert self.panel is not None, "questions come after “targeted”"
        return self.panel.ask(messages, voice, sampling)

    def cancel(self, request: str) -> None:
        """Ends one answer; see `Panel.cancel`.

        Raises:
            OSError: the wish cannot be written down.
        """
        if self.panel is not None:
            self.panel.cancel(request)

    def leave(self) -> None:
        """Ends the engine, in the background."""
        self._leave.set()

    def _forget(self) -> None:
        _alive.discard(self)


_alive: set[ChatThread] = set()


def live_chats() -> tuple[ChatThread, ...]:
    """Every chat whose engine has not ended."""
    return tuple(thread for thread in _alive if not thread.isFinished())


def end_chats(milliseconds: int = 15_000) -> int:
    """Ends every chat and waits for the threads; returns how many were still there after that time."""
    for chat in tuple(_alive):
        chat.leave()
    for chat in tuple(_alive):
        if chat.wait(milliseconds):
            _alive.discard(chat)
    return len(_alive)
