"""A conversation as values: prompts, an answer from everybody who was asked, what is sent, and files to keep it in."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from core.data.types import Message
from core.errors import UserError, error
from core.events.types import ChatAnswer, ChatEnd, ChatPiece
from core.paths import write_atomic
from core.records import RecordError, from_plain
from core.runs.voices import BASE, TUNED

FORMAT = 1
_SEEDS = 2**31
_TITLES = {BASE: "Base model", TUNED: "Tuned model"}


def fresh_seed() -> int:
    """A seed that nobody chose."""
    return random.randrange(_SEEDS)  # noqa: S311 (no secret)


@dataclass(slots=True)
class Reply:
    """One voice's answer to one prompt.

    Attributes:
        voice: who answers, as the engine knows it.
        title: what people call it; empty for the base and the tuned model of a conversation.
        request: the chat's name for the question; empty once nothing more can come.
        ended: how the answer ended; empty while it is waited for.
        tokens: so far; `speed`: tokens a second, `first_seconds`: until the first token; None while unknown.
        message, hint: why it failed and what to do next.
        seed: what it was drawn with.
    """

    voice: str
    title: str = ""
    request: str = ""
    text: str = ""
    ended: ChatEnd | None = None
    tokens: int = 0
    speed: float | None = None
    first_seconds: float | None = None
    message: str = ""
    hint: str = ""
    seed: int = 0

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self.ended is None

    def add(self, piece: ChatPiece) -> None:
        """More of the answer."""
        self.text += piece.text
        self.tokens = piece.tokens

    def end(self, answer: ChatAnswer) -> None:
        """The answer is over."""
        self.text, self.ended, self.tokens = answer.text, answer.ended, answer.tokens
        self.speed = answer.tokens_per_second
        self.first_seconds = answer.first_token_seconds or None
        self.message, self.hint = answer.message, answer.hint
        self.request = ""

    def fail(self, message: str, hint: str) -> None:
        """Nothing more will come, for a reason."""
        self.ended, self.message, self.hint, self.request = "failed", message, hint, ""


@dataclass(slots=True)
class Turn:
    """A prompt and its answers, by voice."""

    prompt: str
    replies: dict[str, Reply] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether an answer is still waited for."""
        return any(reply.is_open for reply in self.replies.values())


@dataclass(slots=True)
class Conversation:
    """Turns under one system prompt.

    Attributes:
        title: the model's or run's name.
        target: where it lies, as a path or name that finds it again; empty where nobody said.
        plain: it is with one model that has no base here, such as a merged one.
        system: the system prompt; empty for none.
        began: Unix time.
    """

    title: str = ""
    target: str = ""
    plain: bool = False
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def messages(self, voice: str, upto: int) -> list[Message]:
        """What a voice is sent to answer the turn at the index ``upto``.

        It sees its own answers of before; where it was not asked, those of another one, so that the talk goes on. A
        turn without any answer is left out.
        """
        found = [Message("system", self.system.strip())] if self.system.strip() else []
        for turn in self.turns[:upto]:
            own = turn.replies.get(voice)
            others = [reply for reply in turn.replies.values() if reply.text.strip()]
            said = own if own is not None and own.text.strip() else others[0] if others else None
            if said is not None:
                found += [Message("user", turn.prompt), Message("assistant", said.text)]
        return [*found, Message("user", self.turns[upto].prompt)]

    def open_turn(self, turn: Turn, voices: Mapping[str, str], seed: int) -> None:
        """Waits for answers to a turn, in the place of those that it had.

        Args:
            turn: one of this conversation.
            voices: who answers, with their titles.
            seed: the same for all of them.
        """
        turn.replies = {voice: Reply(voice, title, seed=seed) for voice, title in voices.items()}

    def hear(self, update: ChatPiece | ChatAnswer) -> Reply | None:
        """Takes in more of an answer, or its end; returns the answer, None where nobody waits for it."""
        reply = next((reply for reply in self.open_replies() if reply.request == update.request), None)
        if reply is None:
            return None
        if isinstance(update, ChatPiece):
            reply.add(update)
        else:
            reply.end(update)
        return reply

    def replies(self) -> Iterator[Reply]:
        """Every answer."""
        return (reply for turn in self.turns for reply in turn.replies.values())

    def open_replies(self) -> Iterator[Reply]:
        """Every answer that is waited for."""
        return (reply for reply in self.replies() if reply.is_open)

    @property
    def is_open(self) -> bool:
        """Whether any answer is waited for."""
        return any(turn.is_open for turn in self.turns)

    def plain_record(self) -> dict[str, object]:
        """The conversation as plain data."""
        turns = [
            {
                "prompt": turn.prompt,
                "answers": [
                    {
                        "voice": reply.voice,
                        "title": reply.title,
                        "text": reply.text,
                        "ended": reply.ended or "open",
                        "tokens": reply.tokens,
                        "tokens_per_second": reply.speed,
                        "first_token_seconds": reply.first_seconds,
                        "seed": reply.seed,
                        **({"message": reply.message} if reply.message else {}),
                    }
                    for reply in turn.replies.values()
                ],
            }
            for turn in self.turns
        ]
        return {
            "format": FORMAT,
            "model": self.title,
            "target": self.target,
            "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.began)),
            "system": self.system,
            "turns": turns,
        }

    def as_json(self) -> str:
        """The conversation for programs; `read_conversation` reads it back."""
        return json.dumps(self.plain_record(), indent=2, ensure_ascii=False) + "\n"

    def as_markdown(self) -> str:
        """The conversation for people."""
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.began))
        parts = [f"# {self.title}", began]
        if self.system.strip():
            parts.append(f"**System**\n\n{self.system.strip()}")
        for turn in self.turns:
            parts.append(f"**You**\n\n{turn.prompt}")
            for reply in turn.replies.values():
                name = reply.title or ("Model" if self.plain else _TITLES.get(reply.voice, reply.voice))
                parts.append(f"**{name}**\n\n{reply.text or reply.message}")
        return "\n\n".join(parts) + "\n"

    def save(self, path: Path) -> None:
        """Writes it as JSON or, under any other ending, as Markdown.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        write_atomic(path, self.as_json() if path.suffix == ".json" else self.as_markdown())


@dataclass(frozen=True, slots=True)
class _KeptAnswer:
    voice: str
    text: str
    title: str = ""
    ended: str = "end"
    tokens: int = 0
    tokens_per_second: float | None = None
    first_token_seconds: float | None = None
    seed: int = 0
    message: str = ""

    def reply(self) -> Reply:
        ended = self.ended if self.ended in get_args(ChatEnd) else "cancelled"
        return Reply(
            voice=self.voice,
            title=self.title,
            text=self.text,
            ended=ended,  # type: ignore[arg-type]  # one of them, as was just seen
            tokens=self.tokens,
            speed=self.tokens_per_second,
            first_seconds=self.first_token_seconds,
            message=self.message,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class _KeptTurn:
    prompt: str
    answers: tuple[_KeptAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    turns: tuple[_KeptTurn, ...]
    format: int = FORMAT
    model: str = ""
    target: str = ""
    began: str = ""
    system: str = ""


def read_conversation(path: Path) -> Conversation:
    """A conversation that was saved as JSON, as far as it had come.

    Raises:
        UserError: the file cannot be read, or is none of ours.
    """
    advice = "Choose a conversation that was saved as JSON; one in Markdown is for reading only."
    try:
        kept = from_plain(_Kept, json.loads(path.read_text(encoding="utf-8")), path="conversation")
    except OSError as failure:
        message = f"The conversation in {path} cannot be read: {failure.strerror or failure}."
        raise UserError(error(str(path), message, "Check the path and its permissions.")) from failure
    except (RecordError, ValueError, RecursionError) as failure:
        message = f"There is no conversation in {path}: {failure}."
        raise UserError(error(str(path), message, advice)) from failure
    if kept.format > FORMAT:
        message = f"The conversation in {path} was saved by a newer version of this program."
        raise UserError(error(str(path), message, "Update Lowrank Studio, then try again."))
    turns = [Turn(turn.prompt, {item.voice: item.reply() for item in turn.answers}) for turn in kept.turns]
    return Conversation(kept.model, kept.target, system=kept.system, turns=turns, began=_moment(kept.began))


def _moment(text: str) -> float:
    try:
        return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return time.time()
