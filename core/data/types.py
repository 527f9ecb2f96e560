"""The stations between a file and a batch, as records."""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import Problem
from core.spec.sections import RecordFormat

TOKEN_BYTES = 4
"""What a token id takes in memory."""


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
        rejected: of a preference pair, the conversation that ends in the worse answer; ``messages`` end in the better
            one. Empty for any other row, and where only the better answer is learned.
    """

    place: str
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    completion: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    rejected: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, init=False)
class Encoded:
    """One document as tokens: what the engine trains on and the token view shows, made by one function.

    Five bytes a token instead of the sixteen of two tuples (measured), so that what fits a disk as text fits the memory
    as tokens; who wants numbers one by one gets tuples.

    Attributes:
        ids: token ids, special ones included: 32-bit integers in the machine's byte order.
        marks: a byte for each token, 1 where it carries loss; the first token never does.
        place: where the row came from, ``file:line``.
        lost_tokens: how many were cut off at the length limit.
    """

    ids: bytes
    marks: bytes
    place: str
    lost_tokens: int

    def __init__(self, tokens: Iterable[int], trained: Iterable[bool], place: str = "", lost_tokens: int = 0) -> None:
        _fill(self, array("i", tokens).tobytes(), bytes(map(bool, trained)), place, lost_tokens)

    @classmethod
    def packed(cls, ids: bytes, marks: bytes, place: str = "", lost_tokens: int = 0) -> "Encoded":
        """A document whose bytes are at hand."""
        row = cls.__new__(cls)
        _fill(row, ids, marks, place, lost_tokens)
        return row

    def __len__(self) -> int:
        return len(self.marks)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Token ids, special ones included."""
        return tuple(memoryview(self.ids).cast("i"))

    @property
    def trained(self) -> tuple[bool, ...]:
        """For each token, whether it carries loss."""
        return tuple(map(bool, self.marks))

    @property
    def supervised(self) -> int:
        """Number of tokens that carry loss."""
        return self.marks.count(1)

    @property
    def documents(self) -> tuple["Encoded", ...]:
        """What stands alone within the row: all of it."""
        return (self,)

    def cut(self, max_length: int) -> "Encoded":
        """The document with at most so many tokens."""
        lost = len(self) - max_length
        if lost <= 0:
            return self
        ids, marks = self.ids[: TOKEN_BYTES * max_length], self.marks[:max_length]
        return Encoded.packed(ids, marks, self.place, self.lost_tokens + lost)


def _fill(row: Encoded, ids: bytes, marks: bytes, place: str, lost_tokens: int) -> None:
    for name, value in (("ids", ids), ("marks", marks), ("place", place), ("lost_tokens", lost_tokens)):
        object.__setattr__(row, name, value)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt as tokens, of which the first is to be preferred: one row that is two documents.

    Attributes:
        chosen: the prompt and the better answer; only the answer carries loss.
        rejected: the prompt and the worse answer, likewise.
        reference: the log-probability of each answer before the training; None until it is measured.
    """

    chosen: Encoded
    rejected: Encoded
    reference: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def documents(self) -> tuple[Encoded, ...]:
        """What stands alone within the row: the better one first."""
        return self.chosen, self.rejected

    @property
    def ids(self) -> bytes:
        """Token ids of both, as `Encoded.ids`."""
        return self.chosen.ids + self.rejected.ids

    @property
    def marks(self) -> bytes:
        """Marks of both, as `Encoded.marks`."""
        return self.chosen.marks + self.rejected.marks

    @property
    def place(self) -> str:
        """Where the row came from, ``file:line``."""
        return self.chosen.place

    @property
    def supervised(self) -> int:
        """Number of tokens that carry loss."""
        return self.chosen.supervised + self.rejected.supervised

    @property
    def lost_tokens(self) -> int:
        """How many were cut off at the length limit."""
        return self.chosen.lost_tokens + self.rejected.lost_tokens


EncodedRow = Encoded | Pair
"""What counts as one row of a step, whatever it is made of."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of a file are.

    Attributes:
        name: one of `RecordFormat` without "auto".
        columns: part -> the column that plays it, or a template of several columns.
        reason: why it was recognised, one sentence.
        confidence: the share of the first rows that it makes sense of, 0 to 1.
        notes: what everybody should know about rows like these.
        pairs: whether both answers of a preference pair are wanted, and not only the better one.
    """

    name: RecordFormat
    columns: Mapping[str, str]
    reason: str
    confidence: float = 1.0
    notes: tuple[Problem, ...] = ()
    pairs: bool = False
