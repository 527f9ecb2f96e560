"""A conversation with a model in an engine process of its own: ask, get the answer in pieces, and close. No Qt."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from core import paths
from core.data.types import Message
from core.errors import ExitCode, UserError, error
from core.events.types import ChatAnswer, ChatPiece, ChatReady, ChatVoice, Event, Notice, PhaseStarted
from core.runs.chat_protocol import Ask, Cancel, ChatSampling, Drop, Request, append_request
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.runs.process_record import living_process
from core.runs.process_tree import ProcessKey, identify, is_alive
from core.runs.store import create_job, load_job
from core.runs.supervisor import State, Supervisor
from core.runs.targets import ChatTarget
from core.runs.voices import TUNED, Voice

__all__ = ["ChatSampling", "ChatSession", "ChatState", "ChatUpdate"]

ChatUpdate = PhaseStarted | ChatReady | ChatVoice | ChatPiece | ChatAnswer | Notice | Outcome
"""What `ChatSession.poll` tells: it loads; it is ready; an adapter came or went; more of an answer; an answer is over;
a notice; the end."""

IDLE_SECONDS = 30 * 60.0
CLOSE_SECONDS = 3.0
_GONE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_TOLD = (PhaseStarted, ChatReady, ChatVoice, ChatPiece, ChatAnswer, Notice)


class ChatState(StrEnum):
    """Where a session is in its life."""

    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    ANSWERING = "answering"
    ENDED = "ended"


@dataclass(slots=True)
class _Open:
    """A question without its answer yet."""

    voice: str
    pieces: list[str] = field(default_factory=list)


class ChatSession:
    """One engine that answers for one target. All methods may be called from any thread.

    Every question that `ask` took gets exactly one `ChatAnswer` from `poll`, also when the engine dies over it; the
    last update of all is the `Outcome`. Questions may be asked while the model still loads.

    Attributes:
        target: who answers.
        outcome: how the engine ended; None while it lives.
    """

    def __init__(
        self,
        target: ChatTarget,
        *,
        idle_seconds: float = IDLE_SECONDS,
        command: Callable[[RunFolder], LaunchCommand] | None = None,
    ) -> None:
        """Prepares a session; nothing happens before `start`.

        Args:
            target: who answers.
            idle_seconds: the engine ends by itself, and frees the memory, when nobody asks anything for so long.
            command: what is launched on the job folder, by default the engine.
        """
        self.target = target
        self.outcome: Outcome | None = None
        self._idle_seconds = idle_seconds
        self._command = command
        self._lock = threading.RLock()
        self._supervisor: Supervisor | None = None
        self._open: dict[str, _Open] = {}
        self._numbers = itertools.count(1)
        self._is_ready = False

    @property
    def state(self) -> ChatState:
        """Where the session is in its life."""
        with self._lock:
            if self._supervisor is None:
                return ChatState.IDLE if self.outcome is None else ChatState.ENDED
            if self.outcome is not None:
                return ChatState.ENDED
            if not self._is_ready:
                return ChatState.LOADING
            return ChatState.ANSWERING if self._open else ChatState.READY

    @property
    def log(self) -> Path | None:
        """What the engine printed; there until the session is closed."""
        supervisor = self._supervisor
        return supervisor.folder.log if supervisor is not None else None

    def start(self) -> None:
        """Launches the engine, which loads the model.

        Raises:
            UserError: the job's folder cannot be made, or the engine cannot be launched.
        """
        with self._lock:
            if self._supervisor is not None or self.outcome is not None:
                raise RuntimeError("a chat session starts once; make another one")
            clear_leftovers()
            owner = identify(os.getpid())
            assert owner is not None, "a running process has an identity"
            folder = create_job(
                "chat",
                {
                    **self.target.arguments(),
                    "owner_pid": owner.pid,
                    "owner_birth": owner.birth,
                    "idle_seconds": self._idle_seconds,
                },
            )
            supervisor = Supervisor(folder, self._command(folder) if self._command is not None else None)
            try:
                supervisor.start()
            except UserError:
                shutil.rmtree(folder.path, ignore_errors=True)
                raise
            self._supervisor = supervisor

    def ask(self, messages: Sequence[Message], voice: str = TUNED, sampling: ChatSampling | None = None) -> str:
        """Puts a question and returns its name, which pieces and answer carry; answers come in the order of questions.

        Args:
            messages: the whole conversation, its last message from the user; a system message may come first.
            voice: who answers: one of the target's variants, or one that was brought.
            sampling: how the answer is made.

        Raises:
            UserError: it cannot be asked: it is empty, a setting is out of its range, or the engine has ended.
        """
        ask = Ask(str(next(self._numbers)), voice, tuple(messages), sampling or ChatSampling())
        ask.check()
        with self._lock:
            self._hand_over(ask)
            self._open[ask.request] = _Open(voice)
        return ask.request

    def bring(self, voice: Voice) -> None:
        """Puts another adapter on the loaded model; a `ChatVoice` says when it is there, or why it cannot be.

        Raises:
            UserError: the engine has ended.
        """
        with self._lock:
            self._hand_over(voice)

    def drop(self, voice: str) -> None:
        """Takes a voice's adapter off the model, with its memory.

        Raises:
            UserError: the engine has ended.
        """
        with self._lock:
            self._hand_over(Drop(voice))

    def _hand_over(self, request: Request) -> None:
        supervisor = self._living()
        try:
            append_request(supervisor.folder.chat_requests, request)
        except OSError as failure:
            message = f"The question could not be handed to the engine: {failure.strerror or failure}."
            advice = "Check that the disk is not full, and ask again."
            where = str(supervisor.folder.chat_requests)
            raise UserError(error(where, message, advice), exit_code=ExitCode.FAILED) from failure

    def cancel(self, request: str) -> None:
        """Ends the answer to a question, begun or not; its `ChatAnswer` comes all the same.

        Raises:
            OSError: the wish cannot be written down.
        """
        with self._lock:
            if request in self._open and self._supervisor is not None and self.outcome is None:
                append_request(self._supervisor.folder.chat_requests, Cancel(request))

    def poll(self) -> list[ChatUpdate]:
        """What has happened since the last call; call it about 30 times a second while an answer comes.

        Raises:
            OSError: the event log is there and cannot be read right now.
        """
        with self._lock:
            if self._supervisor is None or self.outcome is not None:
                return []
            updates: list[ChatUpdate] = []
            for event in self._supervisor.poll():
                updates += self._observe(event)
            if self._supervisor.outcome is not None:
                updates += self._end(self._supervisor.outcome)
            return updates

    def close(self, grace_seconds: float = CLOSE_SECONDS) -> None:
        """Ends the engine, by force after ``grace_seconds`` (it has nothing to lose), and removes its folder.

        Takes as long as the engine does; a second call does nothing.
        """
        with self._lock:
            supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        supervisor.stop(grace_seconds + _GONE_SECONDS)
        _wait(supervisor, grace_seconds)
        if supervisor.state is not State.ENDED:
            supervisor.kill()
            _wait(supervisor, _GONE_SECONDS)
        with self._lock:
            self.outcome = self.outcome or supervisor.outcome
            self._open.clear()
        shutil.rmtree(supervisor.folder.path, ignore_errors=True)

    def _living(self) -> Supervisor:
        if self._supervisor is None or self.outcome is not None:
            message = self.outcome.message if self.outcome is not None else "The model is not loaded."
            raise UserError(error("", message, "Load the model again."), exit_code=ExitCode.FAILED)
        return self._supervisor

    def _observe(self, event: Event) -> list[ChatUpdate]:
        body = event.body
        if isinstance(body, ChatReady):
            self._is_ready = True
        elif isinstance(body, ChatPiece) and body.request in self._open:
            self._open[body.request].pieces.append(body.text)
        elif isinstance(body, ChatAnswer):
            self._open.pop(body.request, None)
        return [body] if isinstance(body, _TOLD) else []

    def _end(self, outcome: Outcome) -> list[ChatUpdate]:
        """The engine is gone: whoever still waits for an answer gets what was said, and why there is no more."""
        self.outcome = outcome
        updates: list[ChatUpdate] = [
            ChatAnswer(
                request=request,
                voice=waiting.voice,
                text="".join(waiting.pieces),
                ended="failed",
                message=outcome.message,
                hint=outcome.hint,
            )
            for request, waiting in self._open.items()
        ]
        self._open.clear()
        return [*updates, outcome]


def clear_leftovers() -> None:
    """Removes the folders of chats whose program ended without closing them, and whose engine has gone as well."""
    for path in paths.jobs_dir().glob("chat-*"):
        folder = RunFolder(path)
        try:
            arguments = load_job(folder).arguments
            owner = ProcessKey(int(str(arguments.get("owner_pid", 0))), str(arguments.get("owner_birth", "")))
            is_left = not is_alive(owner) and living_process(folder) is None
        except (UserError, OSError, ValueError):
            continue  # not a chat of ours, or one that is just being made or removed
        if is_left:
            shutil.rmtree(path, ignore_errors=True)


def _wait(supervisor: Supervisor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while supervisor.state is not State.ENDED and time.monotonic() < deadline:
        supervisor.poll()
        time.sleep(_POLL_SECONDS)
