"""A chat's engine without a model, for tests of its client: ``python fake_chat_engine.py FOLDER MODE``.

It repeats what it is asked, word by word. A question can order it to behave badly: “die”, “hang”, “slow”.
"""

import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.events.types import (
    PROTOCOL_VERSION,
    ChatAnswer,
    ChatPiece,
    ChatReady,
    ChatVoice,
    Completed,
    Failed,
    Hello,
    PhaseStarted,
)
from core.events.writer import EventWriter
from core.runs.chat_protocol import Ask, Cancel, Drop, RequestTail, decode_request
from core.runs.control import pending_requests
from core.runs.layout import RunFolder
from core.runs.lock import hold_lock
from core.runs.voices import Voice

LONG_SECONDS = 120.0


class Engine:
    """Hears and repeats."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.events = EventWriter(folder.events())
        self.tail = RequestTail(folder.chat_requests)
        self.cancelled: set[str] = set()
        self.waiting: deque[Ask] = deque()
        self.voices = {"base", "tuned"}

    def begin(self) -> None:
        self.events.emit(Hello(PROTOCOL_VERSION, "0", "chat", os.getpid(), "3"))
        self.events.emit(PhaseStarted("load", "Loading nothing"))

    def listen(self) -> None:
        for line in self.tail.read():
            request = decode_request(line)
            if isinstance(request, Cancel):
                self.cancelled.add(request.request)
            elif isinstance(request, Drop):
                self.events.emit(ChatVoice(request.voice, "gone", 0.1))
            elif isinstance(request, Voice):
                self.bring(request)
            else:
                self.waiting.append(request)

    def bring(self, voice: Voice) -> None:
        if "foreign" in voice.adapter:
            self.events.emit(ChatVoice(voice.name, "refused", 0.1, 0, "It is of another model.", "Choose another one."))
        else:
            self.voices.add(voice.name)
            self.events.emit(ChatVoice(voice.name, "ready", 0.2, 1000))

    def serve(self) -> None:
        self.events.emit(ChatReady(("base", "tuned"), "model", 64, "cpu", 0.1))
        while "stop" not in pending_requests(self.folder):
            self.listen()
            if self.waiting:
                self.repeat(self.waiting.popleft())
            time.sleep(0.005)
        self.events.emit(Completed(0, 1.0, "The chat was closed.", {}))

    def repeat(self, ask: Ask) -> None:
        if ask.voice not in self.voices:
            message = f"“{ask.voice}” cannot be asked here."
            self.events.emit(ChatAnswer(ask.request, ask.voice, "", "failed", message=message, hint="Ask another."))
            return
        words = ask.messages[-1].content.split()
        said = ""
        for count, word in enumerate(words, 1):
            piece = f" {word}" if said else word
            self.events.emit(ChatPiece(ask.request, piece, count))
            said += piece
            if word == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if word in ("hang", "die"):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(LONG_SECONDS)
            time.sleep(0.05 if "slow" in words else 0.0)
            self.listen()
            if ask.request in self.cancelled:
                self.events.emit(ChatAnswer(ask.request, ask.voice, said, "cancelled", count))
                return
        self.events.emit(ChatAnswer(ask.request, ask.voice, said, "end", len(words), 3, 0.2, 0.1))


def main(arguments: list[str]) -> None:
    folder = RunFolder(Path(arguments[0]))
    with hold_lock(folder):
        engine = Engine(folder)
        engine.begin()
        if arguments[1] == "no_model":
            engine.events.emit(Failed("model_load", "The base model could not be loaded.", "Check the folder."))
            sys.exit(4)
        engine.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
