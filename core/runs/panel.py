"""Up to three who answer the same questions, on as few loaded models as possible. No Qt."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.types import Message
from core.errors import UserError, error
from core.events.types import ChatAnswer, ChatPiece, ChatReady, ChatVoice, Notice, PhaseStarted
from core.runs.chat import ChatSampling, ChatSession, ChatUpdate
from core.runs.outcome import Outcome
from core.runs.targets import ChatTarget, as_voice
from core.runs.voices import BASE, TUNED

_PREFIX = "voice-"


@dataclass(slots=True)
class _Seat:
    """Somebody who was added.

    Attributes:
        inner: what its engine calls it.
        prefix: what stands before its requests' names, where it has an engine of its own; else empty.
    """

    session: ChatSession
    inner: str
    prefix: str = ""

    @property
    def is_alone(self) -> bool:
        """Whether it has an engine of its own."""
        return bool(self.prefix)


def shares_weights(main: ChatTarget, other: ChatTarget) -> bool:
    """Whether ``other`` can answer on the weights that are loaded for ``main``: at the cost of an adapter alone."""
    same = main.model.resolve() == other.model.resolve() and not main.whole
    return same and (as_voice(other, BASE) is not None or not other.tuned)


class Panel:
    """A main model that is loaded first, and others beside it. All methods may be called from any thread.

    Whoever is added stands on the main one's weights where it can (`shares_weights`); else it gets an engine of its
    own, with its memory. With the main one's engine the panel ends.

    Attributes:
        target: the main one.
        outcome: how its engine ended; None while it lives.
    """

    def __init__(self, target: ChatTarget, *, make: Callable[[ChatTarget], ChatSession] = ChatSession) -> None:
        """Prepares; nothing happens before `start`."""
        self.target = target
        self._make = make
        self._main = make(target)
        self._seats: dict[str, _Seat] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._leaving: list[threading.Thread] = []

    @property
    def outcome(self) -> Outcome | None:
        """How the main engine ended; None while it lives."""
        return self._main.outcome

    @property
    def log(self) -> Path | None:
        """What the main engine printed; there until the panel is closed."""
        return self._main.log

    @property
    def session(self) -> ChatSession:
        """The main one's engine."""
        return self._main

    def start(self) -> None:
        """Launches the main engine.

        Raises:
            UserError: it cannot be launched.
        """
        self._main.start()

    def add(self, target: ChatTarget) -> str:
        """Lets somebody answer as well, and returns the name to ask; a `ChatVoice` tells when it is there.

        The base of the main one is there already, and keeps its name.

        Raises:
            UserError: the main engine has ended, or another one cannot be launched.
        """
        with self._lock:
            if self.outcome is not None:
                raise UserError(error("", self.outcome.message, "Load the model again."))
            shared = shares_weights(self.target, target)
            voice = as_voice(target, f"{_PREFIX}{next(self._numbers)}") if shared else None
            if voice is not None:
                self._main.bring(voice)
                self._seats[voice.name] = _Seat(self._main, voice.name)
                return voice.name
            if shared and BASE in self.target.variants:
                return BASE
            session = self._make(target)
            session.start()
            name = f"{_PREFIX}{next(self._numbers)}"
            inner = TUNED if TUNED in target.variants else BASE
            self._seats[name] = _Seat(session, inner, f"{name}.")
            return name

    def remove(self, name: str) -> None:
        """Lets somebody who was added go, with the memory that it took; in the background where it takes a while."""
        with self._lock:
            seat = self._seats.pop(name, None)
            if seat is None:
                return
            if seat.is_alone:
                self._let_go(seat.session)
            elif self.outcome is None:
                self._main.drop(seat.inner)

    def ask(self, messages: Sequence[Message], voice: str = TUNED, sampling: ChatSampling | None = None) -> str:
        """Puts a question to one of them, as `ChatSession.ask` does.

        Raises:
            UserError: it cannot be asked.
        """
        with self._lock:
            seat = self._seats.get(voice)
            if seat is None:
                return self._main.ask(messages, voice, sampling)
            return seat.prefix + seat.session.ask(messages, seat.inner, sampling)

    def cancel(self, request: str) -> None:
        """Ends the answer to a question, begun or not; its `ChatAnswer` comes all the same.

        Raises:
            OSError: the wish cannot be written down.
        """
        with self._lock:
            prefix, dot, number = request.rpartition(".")
            if not dot:
                self._main.cancel(request)
            elif prefix in self._seats:
                self._seats[prefix].session.cancel(number)

    def poll(self) -> list[ChatUpdate]:
        """What has happened since the last call, with everybody; the last of all is the main engine's `Outcome`.

        Raises:
            OSError: an event log is there and cannot be read right now.
        """
        with self._lock:
            updates: list[ChatUpdate] = []
            for name, seat in list(self._seats.items()):
                if seat.is_alone:
                    updates += [told for update in seat.session.poll() for told in self._renamed(name, seat, update)]
            updates += self._main.poll()
            if self.outcome is not None:
                for seat in self._seats.values():
                    if seat.is_alone:
                        self._let_go(seat.session)
                self._seats.clear()
            return updates

    def close(self) -> None:
        """Ends every engine, which gives all memory back, and waits until they are gone."""
        with self._lock:
            alone = [seat.session for seat in self._seats.values() if seat.is_alone]
            self._seats.clear()
            for session in alone:
                self._let_go(session)
        self._main.close()
        for thread in self._leaving:
            thread.join()

    def _let_go(self, session: ChatSession) -> None:
        thread = threading.Thread(target=session.close, name="chat-leaves")
        self._leaving.append(thread)
        thread.start()

    def _renamed(self, name: str, seat: _Seat, update: ChatUpdate) -> list[ChatUpdate]:
        """What an engine of somebody who was added says, as the panel's users know it."""
        match update:
            case ChatPiece():
                return [replace(update, request=seat.prefix + update.request)]
            case ChatAnswer():
                return [replace(update, request=seat.prefix + update.request, voice=name)]
            case ChatReady():
                return [ChatVoice(name, "ready", update.seconds)]
            case Outcome():
                self._seats.pop(name, None)
                self._let_go(seat.session)
                return [ChatVoice(name, "gone", 0.0, 0, update.message, update.hint)]
            case Notice():
                return [update]
            case PhaseStarted() | ChatVoice():
                return []
