"""A data set in words: how a row becomes tokens, and the report about all of them."""

import bisect
import itertools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.cli.console import LABEL, Console
from core.data.report.types import Finding, Report
from core.errors import Problem
from core.facts.types import ModelFacts
from core.records import to_plain
from core.spec.hub_data import short_name
from core.spec.sections import DataSpec
from core.units import format_count, format_share

_MOST_PIECES = 1200
"""Characters of the first row that are printed; what is behind them is counted."""
_PLACES = 3
_BAR = 32
_BINS = 12
_LANGUAGES = 6


_ANSWERS = ("chosen", "rejected")


@dataclass(frozen=True, slots=True)
class FirstDocument:
    """What stands alone in a row, as tokens.

    Attributes:
        parts: runs of text that carry loss, or do not; those behind the length limit are None.
        tokens, supervised: how many there are, and how many carry loss.
    """

    parts: tuple[tuple[bool | None, str], ...]
    tokens: int
    supervised: int

    @property
    def counts(self) -> str:
        """How many tokens there are, in words."""
        return f"{self.tokens:,} tokens, {self.supervised:,} of them carry loss"

    def plain(self) -> dict[str, Any]:
        """The same for programs."""
        parts = [{"trained": trained, "text": text} for trained, text in self.parts]
        return {"tokens": self.tokens, "supervised_tokens": self.supervised, "parts": parts}


@dataclass(frozen=True, slots=True)
class FirstSample:
    """The first row that can be used, as tokens.

    Attributes:
        place: where it stands.
        shape: what the rows of its file are, and why.
        template: what writes conversations.
        documents: what it becomes: one document, or two with the chosen and the rejected answer.
        notes: what everybody should know about rows like these, and what the template does to them of its own.
    """

    place: str
    shape: str
    template: str
    documents: tuple[FirstDocument, ...]
    notes: tuple[Problem, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The same for programs: a pair has “chosen” and “rejected” where any other row has its parts."""
        found = self.documents[0].plain()
        if len(self.documents) > 1:
            found = {name: document.plain() for name, document in zip(_ANSWERS, self.documents, strict=True)}
        return {"place": self.place, **found, "notes": to_plain(self.notes)}


def first_sample(spec: DataSpec, model: ModelFacts) -> FirstSample | None:
    """The first row of the first file that can be used and written; None where there is none among the first ones.

    Raises:
        UserError: the file, the tokenizer or the template cannot be used.
    """
    from core.data.preview import open_preview
    from core.data.templates import choose_template
    from core.data.token_preview import TokenPreview, preview_documents
    from core.data.tokenizer import Tokenizer
    from core.errors import UserError

    tokenizer = Tokenizer.load(Path(model.path))
    template = choose_template(spec.template, model, tokenizer)
    preview = open_preview(spec.train[0], spec)
    shape = f"{preview.shape.name}: {preview.shape.reason}" if preview.shape is not None else "unknown"

    def parts(tokens: TokenPreview) -> Iterator[tuple[bool | None, str]]:
        limit = len(tokens.ids) if tokens.cut_at is None else tokens.cut_at
        marks = (None if place >= limit else mark for place, mark in enumerate(tokens.trained))
        for mark, run in itertools.groupby(zip(marks, tokens.pieces, strict=True), lambda item: item[0]):
            yield mark, "".join(piece for _, piece in run)

    for row in preview.rows:
        if row.sample is None:
            continue
        try:
            found = preview_documents(row.sample, tokenizer, template, spec)
        except UserError:  # the report counts such rows and says why
            continue
        shown = list(preview.shape.notes if preview.shape is not None else ())
        shown += [note for note in found[0].notes if note not in shown]
        shown += [note for tokens in found[1:] for note in tokens.notes if note not in shown]
        documents = (FirstDocument(tuple(parts(tokens)), len(tokens.ids), tokens.supervised) for tokens in found)
        return FirstSample(row.sample.place, shape, template.name, tuple(documents), tuple(shown))
    return None


def print_sample(console: Console, spec: DataSpec, model: ModelFacts, sample: FirstSample | None) -> None:
    """The files, how their rows are understood, and the first of them with its loss mask."""
    console.item("Files", *(short_name(name) for name in spec.train))
    if sample is None:
        console.item("First row", "None of the first rows can be used.")
        return
    console.item("Rows", sample.shape)
    own = sample.template == "model"
    console.item("Template", f"the own one of {Path(model.path).name}" if own else sample.template)
    place, documents = Path(sample.place).name, sample.documents
    if len(documents) == 1:
        console.item("First row", f"{place}, {documents[0].counts}")
        console.line()
        _print_parts(console, documents[0].parts)
    else:
        console.item("First row", f"{place}, two answers to one prompt")
        shared = _shared(documents)
        for name, document in zip(_ANSWERS, documents, strict=True):
            console.line()
            console.item(name.capitalize(), document.counts)
            skipped = shared if document is not documents[0] else 0
            if skipped:
                _print_part(console, "masked", "dim", "(as above)")
            _print_parts(console, document.parts[skipped:])
    console.line()
    if sample.notes:
        console.problems(sample.notes, to_errors=False)
        console.line()


def _shared(documents: tuple[FirstDocument, ...]) -> int:
    """How many parts both begin with that carry no loss: what stands before the answers, which is read once."""
    pairs = itertools.takewhile(lambda both: both[0] == both[1], zip(*(item.parts for item in documents), strict=False))
    return sum(1 for _ in itertools.takewhile(lambda both: both[0][0] is False, pairs))


def _print_parts(console: Console, parts: tuple[tuple[bool | None, str], ...]) -> None:
    """A document, with the word for what training does with each run of its text."""
    room = _MOST_PIECES
    for trained, text in parts:
        word, colour = {True: ("trained", "green"), False: ("masked", "dim"), None: ("cut off", "red")}[trained]
        _print_part(console, word, colour, text if len(text) <= room else f"{text[:room]}…")
        room -= len(text)
        if room <= 0:
            break


def _print_part(console: Console, word: str, colour: str, text: str) -> None:
    """A run of text, with the word for it beside its first line."""
    label = f"{word:>{LABEL - 2}}  "
    for line in text.splitlines() or [""]:
        for piece in console.wrap(line, " " * LABEL, label):
            console.line(console.dim(piece) if colour == "dim" else console.colour(colour, piece))
        label = " " * LABEL


def print_report(console: Console, report: Report) -> None:
    """Numbers, lengths, languages, repairs and findings."""
    rows = f"{report.rows:,} rows to learn from, {report.validation_rows:,} to measure with"
    skipped = [f"{report.skipped_rows:,} rows cannot be used"] if report.skipped_rows else []
    console.item("All rows", rows, *skipped)
    epoch = report.epoch
    if epoch.unused_rows or epoch.rows != report.rows:
        unused = [f"{epoch.unused_rows:,} rows are not used (data.max_rows, data.weights)"] if epoch.unused_rows else []
        tokens = f"{format_count(epoch.tokens)} tokens, {format_count(epoch.supervised_tokens)} of them carry loss"
        console.item("An epoch", f"{epoch.rows:,} rows, {tokens}", *unused)
    share = report.supervised_tokens / max(1, report.tokens)
    carry = f"{format_count(report.supervised_tokens)} of them ({format_share(share)}) carry loss"
    console.item("Tokens", f"{format_count(report.tokens)}, {carry}")
    lengths = report.lengths
    cut = lengths.cut(report.max_length)
    what = "answers" if report.documents > 1 else "rows"
    lost = f"{cut.rows:,} {what} are cut at {report.max_length:,}, {cut.tokens:,} tokens are lost"
    middle, most = lengths.percentile(50), lengths.percentile(95)
    spread = f"{middle:,} tokens at the median, {most:,} at 95 %, {lengths.longest:,} at most"
    apart = ["of each answer with its prompt, by itself"] if report.documents > 1 else []
    console.item("Lengths", spread, *apart, lost if cut.rows else f"none is cut at {report.max_length:,}")
    for line in _bars(report):
        console.line(f"{'':{LABEL}}{line}")
    named = report.languages[:_LANGUAGES]
    words = [f"{language.name} {format_share(language.rows / max(1, report.rows))}" for language in named]
    console.item("Languages", ", ".join(words) + (", …" if len(report.languages) > len(named) else ""))
    if report.repaired:
        console.item("Repairs", *(f"{name}: {count:,} rows" for name, count in report.repaired.items()))
    if not report.is_complete:
        console.item("", "There are so many near-duplicates that not all of them were looked for.")
    console.line()
    if not report.findings:
        console.line(console.colour("green", "Nothing is wrong with these rows."))
    for finding in report.findings:
        console.problems([_as_problem(finding)], to_errors=False)
        for place in finding.rows[:_PLACES]:
            where = Path(place.part or place.file).name + (f":{place.line}" if place.line else f", row {place.row + 1}")
            console.line(console.dim(_on_one_line(f"    {where}  {place.excerpt}", console.width)))


def _on_one_line(text: str, width: int) -> str:
    """A text cut to what a line of a terminal shows; Chinese letters and their like take two places."""
    ends = list(itertools.accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text))
    if not ends or ends[-1] <= width:
        return text
    return f"{text[: bisect.bisect_right(ends, width - 1)]}…"


def _as_problem(finding: Finding) -> Problem:
    return Problem(finding.severity, "", finding.message, finding.advice, finding.fixes)


def _bars(report: Report) -> Iterator[str]:
    """The lengths as a histogram of at most so many bins, as wide as its longest bar allows."""
    longest = report.lengths.longest
    if not longest:
        return
    width = -(-longest // _BINS)
    counts = report.lengths.bins(width)
    label = len(f"{width * len(counts):,}")
    for number, count in enumerate(counts, start=1):
        bar = "█" * round(_BAR * count / max(counts)) if count else ""
        yield f"{number * width:>{label},} {bar} {count:,}".rstrip() if count else f"{number * width:>{label},}"
