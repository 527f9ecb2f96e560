"""Rows to tokens in batches: written by Python while the library tokenises the batch before, and kept on disk."""

import dataclasses
import functools
import hashlib
import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core import __version__
from core.data.drafts import Draft, make_drafts
from core.data.labels import finish_drafts, tokenize_drafts
from core.data.split import content_key
from core.data.templates import NONE, ChatTemplate
from core.data.token_cache import TokenCache
from core.data.tokenizer import EncodedTexts, Tokenizer
from core.data.types import Encoded, Sample
from core.errors import Problem
from core.spec.sections import TrainOn

MOST_ROWS = 512
MOST_CHARACTERS = 500_000
"""A batch has at most so many rows and so much text; a longer row is one of its own. As a core tokenises some three
million characters a second, little is lost when somebody ends the program, and a batch takes little memory."""

_WORTH_KEEPING = 20_000
"""A batch of less text is tokenised in less time than a file takes."""

_ALIVE_SECONDS = 0.1
_AHEAD = 3
"""Batches that may wait for the library, so that it never waits for Python."""

_CHARACTERS_AHEAD = (_AHEAD + 1) * MOST_CHARACTERS
"""All batches on their way have at most so much text, or else are one: the library takes some 300 bytes for a token
while it works, which for three rows of 7 MiB at once came to 2.3 GB (measured)."""


@dataclass(slots=True)
class Pending:
    """A batch on its way.

    Attributes:
        size: how much text it has.
        key: what it is kept under; empty if it is not kept.
        rows: its tokens, where they were found on disk.
    """

    samples: Sequence[Sample]
    size: int = 0
    key: str = ""
    rows: list[Encoded | Problem] | None = None
    drafts: Sequence[Draft | Problem] = ()
    found: "Future[tuple[EncodedTexts, EncodedTexts]] | None" = None


Done = tuple[Sample, Encoded | Problem]


class TokenBatches:
    """Tokenises rows in batches beside whoever reads them. Use it as a context manager.

    Rows are given one by one (`add`, `flush`), or batches of the caller's own making (`begin`, `finish`).

    What it does for a batch hangs on the batch alone, so the same rows come to the same tokens with and without files
    on disk, and whatever the number of cores.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        train_on: TrainOn,
        *,
        alive: Callable[[], None],
        cache: TokenCache | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            tokenizer: the model's tokenizer.
            template: what writes conversations.
            train_on: which tokens carry loss.
            alive: called several times a second while this one works or waits; what it raises ends the work.
            cache: where batches are kept.
        """
        self._tokenizer, self._template, self._train_on = tokenizer, template, train_on
        self._alive, self._cache = alive, cache
        self._told = time.monotonic()
        self._open: list[Sample] = []
        self._keys: list[bytes] = []
        self._size = 0
        self._waiting: deque[Pending] = deque()
        self._pool = ThreadPoolExecutor(2, "tokenizer")
        self._identity = b"" if cache is None else _identity(tokenizer, template, train_on)

    def begin(self, samples: Sequence[Sample], keys: Sequence[bytes] = (), size: int | None = None) -> Pending:
        """Looks for a batch on disk, or writes its texts and hands them to the library.

        Args:
            samples: the rows.
            keys: their content keys, where they are at hand; empty where one is not.
            size: how much text they have, where that is known.
        """
        batch = Pending(samples, sum(map(size_of, samples)) if size is None else size)
        if self._cache is not None and batch.size >= _WORTH_KEEPING:
            batch.key = _batch_key(self._identity, samples, keys or itertools.repeat(b""))
            batch.rows = self._cache.read(batch.key, [sample.place for sample in samples])
        if batch.rows is None:
            batch.drafts = make_drafts(self._watched(samples), self._template, self._train_on)
            batch.found = self._pool.submit(tokenize_drafts, batch.drafts, self._tokenizer)
        return batch

    def finish(self, batch: Pending) -> list[Encoded | Problem]:
        """The rows of a batch, nothing cut off; a row that cannot be written gives its problem."""
        if batch.rows is None:
            assert batch.found is not None, "a batch is either on disk or on its way"
            batch.rows = finish_drafts(batch.drafts, self._wait(batch.found), self._tokenizer)
            if self._cache is not None and batch.key:
                self._cache.write(batch.key, batch.rows)
        return batch.rows

    def add(self, sample: Sample, key: bytes = b"") -> Iterator[list[Done]]:
        """Takes one more row, and gives the batches that have become tokens meanwhile, in order.

        Args:
            sample: the row.
            key: its content key, if that is at hand.
        """
        size = size_of(sample)
        if self._open and (len(self._open) == MOST_ROWS or self._size + size > MOST_CHARACTERS):
            yield from self._hand_over(_AHEAD)
        self._open.append(sample)
        self._keys.append(key)
        self._size += size

    def flush(self) -> Iterator[list[Done]]:
        """The batches that are still on their way."""
        yield from self._hand_over(0)

    def _hand_over(self, ahead: int) -> Iterator[list[Done]]:
        if self._open:
            while self._waiting and sum(batch.size for batch in self._waiting) + self._size > _CHARACTERS_AHEAD:
                yield self._first_finished()
            self._waiting.append(self.begin(self._open, self._keys, self._size))
            self._open, self._keys, self._size = [], [], 0
        while len(self._waiting) > ahead:
            yield self._first_finished()

    def _first_finished(self) -> list[Done]:
        first = self._waiting.popleft()
        return list(zip(first.samples, self.finish(first), strict=True))

    def _wait(self, found: "Future[tuple[EncodedTexts, EncodedTexts]]") -> tuple[EncodedTexts, EncodedTexts]:
        while True:
            try:
                return found.result(_ALIVE_SECONDS)
            except TimeoutError:
                if found.done():  # it is the library's own
                    raise
                self._say_alive()

    def _watched(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if time.monotonic() - self._told > _ALIVE_SECONDS:
                self._say_alive()
            yield sample

    def _say_alive(self) -> None:
        self._told = time.monotonic()
        self._alive()

    def close(self) -> None:
        """Waits for nothing: what the library has in hand ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._cache is not None:
            self._cache.trim()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def size_of(sample: Sample) -> int:
    """How much text a row has."""
    return len(sample.prompt) + len(sample.completion) + sum([len(turn.content) for turn in sample.messages])


def _identity(tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn) -> bytes:
    """A hash of everything but the rows that decides which tokens they become, and which of them carry loss."""
    parts = {
        "program": _program(),
        "tokenizer": tokenizer.fingerprint,
        "template": {
            item.name: _plain(getattr(template, item.name)) for item in dataclasses.fields(template) if item.compare
        },
        "joined": template.name == NONE,
        "train_on": train_on,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).digest()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | None) else sorted(value.items())


@functools.cache
def _program() -> str:
    """Our code and the libraries': another version may write or cut a text in another way."""
    import jinja2
    import tokenizers

    versions = (__version__, jinja2.__version__, tokenizers.__version__, sys.version_info[:2])
    found = hashlib.sha256(repr(versions).encode("utf-8"))
    for path in sorted(Path(__file__).parent.glob("*.py")):  # none in a packaged application, whose version says it all
        found.update(path.read_bytes())
    return found.hexdigest()


def _batch_key(identity: bytes, samples: Sequence[Sample], keys: Iterable[bytes]) -> str:
    """A hash of what the rows say, in the order in which they say it: templates may write what stands first first."""
    found = hashlib.sha256(identity)
    for sample, key in zip(samples, keys, strict=False):
        extras = [turn.extra for turn in sample.messages]
        # Where nothing has an order, the content's own key tells one row from another.
        found.update(b"\n" + (key or content_key(sample)))
        if any(extras) or sample.tools:
            found.update(_ENCODER.encode((extras, sample.tools)).encode("ascii"))
    return found.hexdigest()


def _mapping(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else repr(value)


_ENCODER = json.JSONEncoder(ensure_ascii=True, default=_mapping)
