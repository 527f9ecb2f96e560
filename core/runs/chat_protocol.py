"""What a chat's client writes and its engine reads, one line of JSON each: questions, and who is to answer them."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from core.data.types import Message
from core.errors import Problem, UserError, error
from core.records import RecordError, from_plain, to_plain
from core.runs.voices import Voice

LONGEST_ANSWER = 32_768
_FILE_MODE = 0o644


class RequestError(ValueError):
    """A line is no request; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ChatSampling:
    """How an answer is made.

    Attributes:
        max_new_tokens: where it is cut at the latest.
        temperature: 0 takes the likeliest token; more is freer.
        top_p: draws from the likeliest tokens that together have this probability.
        top_k: draws from so many of the likeliest tokens; 0 from all.
        repetition_penalty: above 1 makes tokens that were there already less likely.
        seed: the same seed and conversation give the same answer.
    """

    max_new_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0

    def problems(self) -> tuple[Problem, ...]:
        """Everything about these settings that cannot be."""
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("max_new_tokens", self.max_new_tokens, 1, LONGEST_ANSWER),
            ("temperature", self.temperature, 0, 10),
            ("top_p", self.top_p, 0.001, 1),
            ("top_k", self.top_k, 0, 1_000_000),
            ("repetition_penalty", self.repetition_penalty, 0.1, 10),
            ("seed", self.seed, 0, 2**32 - 1),
        )
        return tuple(
            error(name, f"{name} is {value:g}, and {low:g} to {high:g} is possible.", "Choose a value in between.")
            for name, value, low, high in limits
            if not low <= value <= high
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: the whole conversation, its last message from the user.

    Attributes:
        request: the client's name for it, used once.
        voice: who answers.
    """

    request: str
    voice: str
    messages: tuple[Message, ...]
    sampling: ChatSampling = field(default_factory=ChatSampling)

    def check(self) -> None:
        """Refuses what no model could answer.

        Raises:
            UserError: with everything that is wrong.
        """
        problems = list(self.sampling.problems())
        if not self.messages or self.messages[-1].role != "user" or not self.messages[-1].content.strip():
            problems.append(error("messages", "There is nothing to answer.", "Write what the model should answer."))
        for message in self.messages:
            if not _is_text(message.content):
                words = "A message holds half of a character pair (a lone surrogate), which is no text."
                problems.append(error("messages", words, "Write it again."))
        if problems:
            raise UserError(*problems)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The wish to end the answer to a request, begun or not."""

    request: str


@dataclass(frozen=True, slots=True)
class Drop:
    """The wish to take a voice's adapter off the model."""

    voice: str


Request = Ask | Cancel | Voice | Drop
"""A `Voice` is the wish to put its adapter on the model."""


def encode_request(request: Request) -> str:
    """The request as one line of JSON without its line end."""
    plain: dict[str, object]
    match request:
        case Ask():
            plain = {"ask": to_plain(request)}
        case Cancel():
            plain = {"cancel": request.request}
        case Drop():
            plain = {"drop": request.voice}
        case _:
            plain = {"bring": to_plain(request)}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode_request(line: str) -> Request:
    """The request that a line describes.

    Raises:
        RequestError: it describes none.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as failure:
        raise RequestError(f"not JSON: {failure}") from None
    try:
        match record:
            case {"cancel": str(request)}:
                return Cancel(request)
            case {"drop": str(voice)}:
                return Drop(voice)
            case {"bring": dict(voice)}:
                return from_plain(Voice, voice, path="bring")
            case {"ask": ask}:
                return from_plain(Ask, ask, path="ask")
    except RecordError as failure:
        raise RequestError(str(failure)) from None
    raise RequestError("expected an object with “ask”, “cancel”, “bring” or “drop”")


def append_request(path: Path, request: Request) -> None:
    """Hands a request over, in one write, so that the engine never sees half a line.

    Raises:
        OSError: the file cannot be written.
    """
    data = (encode_request(request) + "\n").encode("utf-8")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), _FILE_MODE)
    try:
        written = os.write(file, data)
    finally:
        os.close(file)
    if written < len(data):
        raise OSError(f"only {written} of {len(data)} bytes of the request could be written to {path}")


class RequestTail:
    """The engine's ear: every `read` returns the lines that were completed since the one before."""

    def __init__(self, path: Path) -> None:
        """Begins at the start of ``path``, which need not exist yet."""
        self._path = path
        self._offset = 0

    def read(self) -> list[str]:
        """New whole lines; costs one question to the file system when there are none.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset)
                *lines, _ = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        self._offset += sum(len(line) + 1 for line in lines)
        return [line.decode("utf-8", errors="replace") for line in lines if line.strip()]


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
