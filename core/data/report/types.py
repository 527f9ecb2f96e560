"""What the report says, as records."""

import bisect
import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import Fix, Severity

MOST_PLACES = 200
"""How many rows a finding names; the rest is counted."""


@dataclass(frozen=True, slots=True)
class RowPlace:
    """A row that a finding is about.

    Attributes:
        file: the data file or folder, as the spec names it.
        row: its number among all rows of ``file``, unreadable ones included, counted from 0: what
            `core.data.preview.RowPages.page` takes.
        line: the line on which it begins, counted from 1; None where there are no lines.
        excerpt: the words that the finding is about, or else the beginning of the row, on one line.
        part: the file inside a folder that holds the row; empty where ``file`` is no folder.
    """

    file: str
    row: int
    line: int | None
    excerpt: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data that is worth knowing.

    Attributes:
        name: what kind of finding it is, such as "duplicates"; one report has each at most once.
        count: how many rows it is about.
        message: what was found, one or two sentences with the numbers in it.
        advice: why it matters and what to do, one or two sentences.
        rows: the first of these rows, at most `MOST_PLACES`.
        fixes: changes to the spec that mend it.
        severity: a warning should be looked at; information explains. Nothing here blocks a run.
    """

    name: str
    title: str
    count: int
    message: str
    advice: str
    rows: tuple[RowPlace, ...] = ()
    fixes: tuple[Fix, ...] = ()
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Cut:
    """What a length limit costs: how many rows are longer, and how many tokens lie behind it."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Lengths:
    """How long the training rows are before they are cut: an exact histogram.

    Attributes:
        tokens: every length that occurs, ascending.
        rows: how many rows have that length.
    """

    tokens: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def longest(self) -> int:
        """Tokens of the longest row; 0 where there are no rows."""
        return self.tokens[-1] if self.tokens else 0

    @property
    def total_rows(self) -> int:
        """How many rows there are."""
        return self._sums[0][-1]

    @property
    def total_tokens(self) -> int:
        """How many tokens they have together."""
        return self._sums[1][-1]

    def cut(self, limit: int) -> Cut:
        """What a limit of so many tokens cuts off. Fast enough to follow a mouse: one binary search."""
        index = bisect.bisect_right(self.tokens, limit)
        rows, tokens = self._sums
        longer = rows[-1] - rows[index]
        return Cut(longer, tokens[-1] - tokens[index] - longer * limit)

    def percentile(self, percent: float) -> int:
        """The smallest length that at least ``percent`` % of the rows do not exceed; 0 where there are no rows."""
        if not self.tokens:
            return 0
        rows = self._sums[0]
        wanted = max(1.0, percent / 100 * rows[-1])
        return self.tokens[min(len(self.tokens), bisect.bisect_left(rows, wanted)) - 1]

    def bins(self, width: int) -> tuple[int, ...]:
        """Rows in bins of ``width`` tokens: the first holds lengths up to ``width``, empty bins between included.

        Raises:
            ValueError: the width is not positive.
        """
        if width < 1:
            raise ValueError(f"a bin is at least one token wide, got {width}")
        counts = [0] * -(-self.longest // width)
        for length, rows in zip(self.tokens, self.rows, strict=True):
            counts[max(0, -(-length // width) - 1)] += rows
        return tuple(counts)

    @functools.cached_property
    def _sums(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Rows and tokens of the lengths before each index."""
        tokens = (length * rows for length, rows in zip(self.tokens, self.rows, strict=True))
        return (0, *itertools.accumulate(self.rows)), (0, *itertools.accumulate(tokens))


@dataclass(frozen=True, slots=True)
class Language:
    """A language and how many training rows are written in it.

    Attributes:
        code: ISO 639-1 where one language was told, such as "de"; the name of a script, such as "cyrillic", where only
            that is known; "other" for what is neither.
        name: in English, such as "German".
    """

    code: str
    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch takes of the training rows, with the weights of their files and at most `data.max_rows`.

    Attributes:
        rows, tokens, supervised_tokens: as in `Report`; a row that is taken twice counts twice.
        unused_rows: how many rows it does not take at all; nothing else in the report is about them.
    """

    rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    unused_rows: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What the data is.

    Attributes:
        rows: training rows that can be learned from, after the repairs that the spec asks for, each counted once.
        validation_rows: rows that are measured.
        skipped_rows: rows that cannot be used.
        tokens: of the training rows, after the cut at `max_length`.
        supervised_tokens: those of them that carry loss.
        lengths: of the training rows, before the cut; of pairs of each answer by itself, with its prompt.
        documents: how many lengths a row has: 2 where rows are preference pairs, else 1.
        epoch: the same counts for an epoch; the same numbers where files have no weights and all rows are taken.
        max_length: the limit that the report was made with.
        languages: the most frequent first.
        findings: what is worth knowing, warnings first.
        repaired: how many rows each repair that the spec asks for changed or left out.
        shape: how the rows were understood.
        template_name: what writes conversations.
        is_complete: whether all near-duplicates were looked for; with very many of them the search ends early.
    """

    rows: int
    validation_rows: int
    skipped_rows: int
    tokens: int
    supervised_tokens: int
    lengths: Lengths
    max_length: int
    languages: tuple[Language, ...] = ()
    findings: tuple[Finding, ...] = ()
    repaired: Mapping[str, int] = field(default_factory=dict)
    shape: str = ""
    template_name: str = ""
    is_complete: bool = True
    epoch: Epoch = Epoch()
    documents: int = 1
