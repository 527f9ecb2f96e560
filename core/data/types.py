"""The stations between a file and a batch, as records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import Problem
from core.spec.sections import RecordFormat


@dataclass(frozen=True, slots=True)
class Row:
    """One raw row and where it stands, so that every complaint can name it."""

    path: str
    line: int
    value: Mapping[str, Any]

    @property
    def place(self) -> str:
        """``file:line`` as people and editors read it."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``extra`` keeps what a template may want beside it: tool_calls, name, reasoning_content."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """A row understood: either messages, or a prompt and a completion, or running text (``completion`` alone).

    Attributes:
        messages: the conversation; empty for the other two.
        tools: tool descriptions for the template.
        place: where the row came from, ``file:line``.
    """

    place: str
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    completion: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """One document as tokens: what the engine trains on and the token view shows, made by one function.

    Attributes:
        tokens: token ids, special ones included.
        trained: for each token, whether it carries loss; the first token never does.
        lost_tokens: how many were cut off at the length limit.
    """

    tokens: tuple[int, ...]
    trained: tuple[bool, ...]
    place: str = ""
    lost_tokens: int = 0

    @property
    def supervised(self) -> int:
        """Number of tokens that carry loss."""
        return sum(self.trained)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of a file are.

    Attributes:
        name: one of `RecordFormat` without "auto".
        columns: part -> the column that plays it, or a template of several columns.
        reason: why it was recognised, one sentence.
        confidence: the share of the first rows that it makes sense of, 0 to 1.
        notes: what everybody should know about rows like these.
    """

    name: RecordFormat
    columns: Mapping[str, str]
    reason: str
    confidence: float = 1.0
    notes: tuple[Problem, ...] = ()
