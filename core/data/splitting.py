"""One row that is longer than the limit as several that are not, without losing a word of it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from core.data.labels import encode_sample, write_sample
from core.data.spans import Span
from core.data.templates import ChatTemplate
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.errors import UserError
from core.spec.sections import DataSpec

_BREAKS = ("\n\n", "\n", ". ", "。", "! ", "? ", " ")
"""Where a text is best cut: between paragraphs, then between lines, then between sentences, then between words."""

_LOOK_BACK = 0.5
"""The share of a piece that may be given up for a better place to cut."""


class Splitter:
    """Splits rows that are longer than the longest row of the spec.

    Running text is cut between paragraphs, lines, sentences or words; the pieces joined are the text. A conversation is
    cut before what a user says, and its system text stands before each part, so a later part does not show what was
    said before it. What cannot be cut, such as one long answer, stays as it is, and its end is cut off as ever.

    Attributes:
        count: how many rows were split so far.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate, spec: DataSpec, alive: Callable[[], None] | None = None
    ) -> None:
        """Takes what writes rows and makes tokens of them; ``alive`` is called for each row, and may end the work."""
        self.count = 0
        self._tokenizer, self._template, self._spec, self._alive = tokenizer, template, spec, alive

    def split_all(self, samples: Sequence[Sample]) -> list[Sample]:
        """The parts of many rows, in order; one that is there several times is split once."""
        known: dict[int, tuple[Sample, ...]] = {}
        for sample in samples:
            if id(sample) not in known:
                known[id(sample)] = self.split(sample)
                if self._alive is not None:
                    self._alive()
        return [part for sample in samples for part in known[id(sample)]]

    def split(self, sample: Sample) -> tuple[Sample, ...]:
        """The parts of a row; the row alone where it is short enough or cannot be cut."""
        if sample.rejected:
            return (sample,)  # what is said before the answers is what both of them answer
        parts = self._parts(sample)
        self.count += len(parts) > 1
        return parts if len(parts) > 1 else (sample,)

    def _parts(self, sample: Sample) -> tuple[Sample, ...]:
        if _bytes_of(sample) <= self._spec.max_length // 2 and len(sample.messages) < 3:
            return (sample,)  # a token stands for a byte at least, and a template writes some tokens for each turn
        if sample.messages:
            exchanges = _exchanges(sample.messages)
            if len(exchanges) > 2 and self._excess(sample):
                return tuple(self._conversations(sample, exchanges))
        elif not sample.prompt:
            return tuple(replace(sample, completion=text) for text in self._texts(sample.completion))
        return (sample,)

    def _excess(self, sample: Sample) -> int:
        """Tokens beyond the limit; none for a row that cannot be written, which is said where it is encoded."""
        try:
            return encode_sample(
                sample, self._tokenizer, self._template, self._spec.train_on, self._spec.max_length
            ).lost_tokens
        except UserError:
            return 0

    def _conversations(self, sample: Sample, exchanges: "Sequence[Sequence[Message]]") -> Iterator[Sample]:
        """As many exchanges in each part as fit, at least one."""
        head, *turns = exchanges
        part = [*head, *turns[0]]
        for exchange in turns[1:]:
            longer = replace(sample, messages=(*part, *exchange))
            if self._excess(longer):
                yield replace(sample, messages=tuple(part))
                part = [*head, *exchange]
            else:
                part += exchange
        yield replace(sample, messages=tuple(part))

    def _texts(self, text: str) -> Iterator[str]:
        room, places = self._spec.max_length, self._places(text)
        start = first = 0
        while len(places) - first > room or (start and len(self._places(text[start:])) > room):
            stop = self._stop(text, start, places[first : first + room], room)
            if stop >= len(text):
                break
            yield text[start:stop]
            start = stop
            while first < len(places) and places[first][1] <= start:
                first += 1
        yield text[start:]

    def _stop(self, text: str, start: int, places: Sequence[Span], room: int) -> int:
        """The end of a piece that fits, moved back to a good place."""
        wanted = min(room, len(places))
        while True:
            stop = _good_place(text, start, max(start + 1, places[wanted - 1][1]))
            excess = len(self._places(text[start:stop])) - room
            if excess <= 0 or wanted <= 1:
                return stop
            wanted = max(1, wanted - excess)

    def _places(self, text: str) -> Sequence[Span]:
        """The characters that each token of a running text stands for."""
        sample = Sample("", completion=text)
        return write_sample(sample, self._tokenizer, self._template, self._spec.train_on, sys.maxsize).offsets


def can_split(sample: Sample) -> bool:
    """Whether a row is of a kind that can be cut: running text, or a chat of more than one question."""
    if sample.rejected:
        return False
    return len(_exchanges(sample.messages)) > 2 if sample.messages else not sample.prompt


def _good_place(text: str, start: int, stop: int) -> int:
    """A place before ``stop`` where the text may be cut; white space goes with the piece in front, spaces behind."""
    if stop >= len(text):
        return len(text)
    least = start + max(1, int((stop - start) * (1 - _LOOK_BACK)))
    for mark in _BREAKS:
        found = text.rfind(mark, least, stop)
        if found > start:
            # A space belongs to the token of the word behind it, so the piece begins with the space.
            return found if mark == " " else found + len(mark.rstrip(" "))
    return stop


def _exchanges(messages: Sequence[Message]) -> "list[list[Message]]":
    """The system text, and then what is said from one question of a user up to the next."""
    head = [message for message in messages[:1] if message.role == "system"]
    found: list[list[Message]] = [head]
    before = "system"
    for message in messages[len(head) :]:
        if len(found) == 1 or (message.role == "user" and before != "user"):
            found.append([])
        found[-1].append(message)
        before = message.role
    return found


def _bytes_of(sample: Sample) -> int:
    texts = [message.content for message in sample.messages] or [sample.prompt, sample.completion]
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
