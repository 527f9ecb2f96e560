"""The rows of a data set as tokens, and what is to be said about those that came to nothing."""

from collections.abc import Iterable, Sequence
from typing import Self

from core.data.batches import Done, TokenBatches
from core.data.reading import Progress, as_warnings, capped
from core.data.sides import sides_of
from core.data.templates import ChatTemplate
from core.data.token_cache import TokenCache
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded, EncodedRow, Pair, Sample
from core.errors import Edit, Fix, Problem, UserError, warning
from core.spec.sections import DataSpec


class Encoder:
    """Tokenises rows and remembers which of them came to nothing. Use it as a context manager."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        spec: DataSpec,
        progress: Progress,
        cache: TokenCache | None = None,
    ) -> None:
        self.tokenizer, self.template = tokenizer, template
        self._spec, self._progress = spec, progress
        self._batches = TokenBatches(tokenizer, template, spec.train_on, alive=progress.alive, cache=cache)
        # With the sample itself, whose identity may only mean this one as long as it is there.
        self._known: dict[int, Done] = {}
        # The two halves of each pair, by the identity of its sample: they have to stay what they are as well.
        self._sides: dict[int, tuple[Sample, ...]] = {}
        self._halves = 0
        self._failures: list[Problem] = []
        self._masked: list[Encoded] = []

    @property
    def failed(self) -> int:
        """Rows that the template could not write."""
        return len(self._failures)

    @property
    def masked(self) -> int:
        """Rows without a token that carries loss."""
        return len(self._masked)

    @property
    def hidden(self) -> int:
        """Tokens of the longest row whose answer lies behind the length limit; 0 where there is none."""
        lost = max((row.lost_tokens for row in self._masked), default=0)
        return self._spec.max_length + lost if lost else 0

    def offer(self, sample: Sample) -> None:
        """A row that will be asked for; it is tokenised while others are still being read."""
        for side in self._sides_of(sample):
            self._keep(self._batches.add(side))

    def _sides_of(self, sample: Sample) -> tuple[Sample, ...]:
        """The documents that a row is made of, the same objects whenever it is asked for."""
        if not sample.rejected:
            return (sample,)
        if id(sample) not in self._sides:
            # With the sample in front, so that it stays as long as its identity is remembered.
            self._sides[id(sample)] = (sample, *sides_of(sample))
        return self._sides[id(sample)][1:]

    def encode(self, samples: Sequence[Sample]) -> list[EncodedRow]:
        """The rows that can be learned from; one that is there several times is tokenised once."""
        self._keep(self._batches.flush())
        fresh = {id(sample): sample for sample in samples}
        for sample in fresh.values():
            for side in self._sides_of(sample):
                if id(side) not in self._known:
                    self._keep(self._batches.add(side))
        self._keep(self._batches.flush())
        found: dict[int, EncodedRow] = {}
        for number, sample in fresh.items():
            row = self._row([self._known[id(side)][1] for side in self._sides_of(sample)])
            if row is not None:
                found[number] = row
        return [found[id(sample)] for sample in samples if id(sample) in found]

    def _row(self, documents: Sequence[Encoded | Problem]) -> EncodedRow | None:
        """The row that is made of these; None, and remembered, where either of them came to nothing."""
        whole: list[Encoded] = []
        for document in documents:
            if isinstance(document, Problem):
                self._failures.append(document)
                return None
            whole.append(document)
        for document in whole:
            if not document.supervised:
                self._masked.append(Encoded((), (), document.place, document.lost_tokens))
                return None
        return whole[0] if len(whole) == 1 else Pair(whole[0], whole[1])

    def _keep(self, batches: Iterable[Sequence[Done]]) -> None:
        limit = self._spec.max_length
        for batch in batches:
            for sample, row in batch:
                self._known[id(sample)] = sample, row if isinstance(row, Problem) else row.cut(limit)
            self._halves += len(batch)
            done, self._halves = divmod(self._halves, 2 if self._spec.train_on == "preferences" else 1)
            self._progress.encoded(done)

    def problems(self) -> list[Problem]:
        """What is to be said about the rows that were left out.

        Raises:
            UserError: rows failed, and the spec says to stop then.
        """
        found: list[Problem] = []
        if self._failures:
            if self._spec.bad_rows == "stop":
                raise UserError(*capped(self._failures, self.failed))
            found += as_warnings(capped(self._failures, self.failed))
        if self._masked:
            found.append(self._masked_problem())
        return found

    def _masked_problem(self) -> Problem:
        cut = sum(1 for row in self._masked if row.lost_tokens)
        count = len(self._masked)
        message = "1 row has no token that carries loss and is left out"
        if count > 1:
            message = f"{count} rows have no token that carries loss and are left out"
        message += f" ({cut} because the answer begins after the length limit)." if cut else "."
        advice = "Raise data.max_length." if cut else "Add an answer to these rows, or remove them."
        learn_all = Fix("Train on everything", (Edit("data.train_on", "all"),))
        fixes = (learn_all,) if self._spec.train_on not in ("all", "preferences") else ()
        return warning(self._masked[0].place, message, advice, *fixes)

    def close(self) -> None:
        """Waits for nothing."""
        self._batches.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
