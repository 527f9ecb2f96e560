"""A conversation with a model as values: prompts, answers by variant, what is sent, and files to keep it in. No Qt."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.data.types import Message
from core.events.types import ChatAnswer, ChatEnd, ChatPiece, Variant
from core.runs.outcome import Outcome


@dataclass(slots=True)
class Reply:
    """One variant's answer to one prompt.

    Attributes:
        request: the chat's name for the question; empty once nothing more can come.
        ended: how the answer ended; empty while it is waited for.
        tokens: so far; `speed`: tokens a second, `first_seconds`: until the first token; None while unknown.
        message, hint: why it failed and what to do next.
        seed: what it was drawn with.
    """

    variant: Variant
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
    """A prompt and its answers."""

    prompt: str
    replies: dict[Variant, Reply] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether an answer is still waited for."""
        return any(reply.is_open for reply in self.replies.values())


@dataclass(slots=True)
class Conversation:
    """Turns with one model, under one system prompt.

    Attributes:
        title: the model's or run's name.
        plain: it is with one model that has no base here, such as a merged one.
        system: the system prompt; empty for none.
        draft: what is typed and not sent yet.
        editing: the draft replaces the last prompt.
        notice: how the engine ended over it; None while all is well.
    """

    title: str = ""
    plain: bool = False
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    draft: str = ""
    editing: bool = False
    notice: Outcome | None = None
    began: float = field(default_factory=time.time)

    def messages(self, variant: Variant, upto: int) -> list[Message]:
        """What a variant is sent to answer the turn at the index ``upto``.

        It sees its own answers of before; where it was not asked, those of the other one, so that the talk goes on. A
        turn without any answer is left out.
        """
        found = [Message("system", self.system.strip())] if self.system.strip() else []
        for turn in self.turns[:upto]:
            own = turn.replies.get(variant)
            others = [reply for reply in turn.replies.values() if reply.text.strip()]
            said = own if own is not None and own.text.strip() else others[0] if others else None
            if said is not None:
                found += [Message("user", turn.prompt), Message("assistant", said.text)]
        return [*found, Message("user", self.turns[upto].prompt)]

    def reply_to(self, request: str) -> Reply | None:
        """The answer that a request is for."""
        return next((reply for reply in self.open_replies() if reply.request == request), None)

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

    def as_json(self) -> str:
        """The conversation for programs."""
        turns = [
            {
                "prompt": turn.prompt,
                "answers": [
                    {
                        "variant": reply.variant,
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
        began = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.began))
        whole = {"model": self.title, "began": began, "system": self.system, "turns": turns}
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"

    def as_markdown(self) -> str:
        """The conversation for people."""
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.began))
        parts = [f"# {self.title}", began]
        if self.system.strip():
            parts.append(f"**System**\n\n{self.system.strip()}")
        for turn in self.turns:
            parts.append(f"**You**\n\n{turn.prompt}")
            for reply in turn.replies.values():
                name = "Model" if self.plain else {"base": "Base model", "tuned": "Tuned model"}[reply.variant]
                parts.append(f"**{name}**\n\n{reply.text or reply.message}")
        return "\n\n".join(parts) + "\n"
