"""The engine behind the page “Try”: one at a time, started, heard and ended in a thread of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from core.events.types import ChatReady
from core.runs.chat import ChatSession
from core.runs.targets import ChatTarget
from studio.state.chat_choice import ChatChoice, find_target
from studio.workers.chat_thread import ChatThread


class Phase(StrEnum):
    """Where the engine is in its life, as the page shows it.

    ASKING: it would come beside a training, so the user has to say whether it may.
    """

    EMPTY = "empty"
    ASKING = "asking"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@dataclass(slots=True)
class Loaded:
    """The engine that is loading or ready: its thread, who answers, and what it said about itself."""

    thread: ChatThread
    target: ChatTarget | None = None
    ready: ChatReady | None = None
    words: str = ""


class ChatEngine(QObject):
    """Starts an engine when the one before it has gone.

    Attributes:
        loaded: the engine that is loading or ready.
        wanted: another one is to come as soon as the last one has gone.
        make_session: what makes the session of a target.
        targeted: the engine has been launched and can be told questions.
        refused: the exception with which it could not be.
        updated: what it and its guests say, a list of `ChatUpdate`.
        gone: the last one has ended.
    """

    targeted = Signal(object)
    refused = Signal(object)
    updated = Signal(object)
    gone = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.loaded: Loaded | None = None
        self.wanted: ChatChoice | None = None
        self.make_session: Callable[[ChatTarget], ChatSession] = ChatSession
        self._leaving: ChatThread | None = None

    @property
    def phase(self) -> Phase:
        """Where it is in its life."""
        if self.loaded is not None:
            return Phase.READY if self.loaded.ready is not None else Phase.LOADING
        if self._leaving is not None:
            return Phase.LOADING if self.wanted else Phase.UNLOADING
        return Phase.EMPTY

    def load(self, choice: ChatChoice) -> None:
        """Launches an engine for a choice, as soon as the last one has gone: never two at once."""
        if self._leaving is not None:
            self.wanted = choice
            return
        self.wanted = None
        thread = ChatThread(lambda: find_target(choice), self.make_session)
        self.loaded = Loaded(thread)
        for signal, slot in (
            (thread.targeted, self._targeted),
            (thread.refused, self._refused),
            (thread.updated, self.updated.emit),
        ):
            signal.connect(_while_loaded(self, thread, slot), Qt.ConnectionType.QueuedConnection)
        thread.finished.connect(lambda: self._finished(thread), Qt.ConnectionType.QueuedConnection)
        thread.start()

    def leave(self) -> bool:
        """Ends the engine in the background, which gives all its memory back; returns whether there was one."""
        self.wanted = None
        if self.loaded is None:
            return False
        thread, self.loaded = self.loaded.thread, None
        self._leaving = thread if not thread.isFinished() else None
        thread.leave()
        return True

    def _targeted(self, target: ChatTarget) -> None:
        assert self.loaded is not None
        self.loaded.target = target
        self.targeted.emit(target)

    def _refused(self, failure: Exception) -> None:
        self.loaded = None
        self.refused.emit(failure)

    def _finished(self, thread: ChatThread) -> None:
        if self._leaving is thread:
            self._leaving = None
            if self.wanted is not None:
                self.load(self.wanted)
            self.gone.emit()


def _while_loaded(engine: ChatEngine, thread: ChatThread, slot: Callable[[Any], None]) -> Callable[[Any], None]:
    """What a thread says counts only as long as it is the one that is loaded."""

    def hear(value: Any) -> None:
        if engine.loaded is not None and engine.loaded.thread is thread:
            slot(value)

    return hear
