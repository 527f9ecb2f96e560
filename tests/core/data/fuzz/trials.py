"""One mutated file after another through everything that reads data, and what may never happen meanwhile."""

import random
import re
import resource
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.data.labels import encode_samples
from core.data.preview import RowPages, open_preview
from core.data.reading import Progress, collect_samples
from core.data.templates import ChatTemplate
from core.data.tokenizer import Tokenizer
from core.data.types import Sample
from core.errors import Problem, UserError
from core.spec.sections import DataSpec
from tests.core.data.fuzz.mutations import MUTATIONS
from tests.core.data.fuzz.seeds import seeds

MOST_SECONDS = 2.0
MOST_GROWTH_BYTES = 512 * 1024 * 1024
"""What one process may take beyond what it had before the first file, however many files follow."""

_ENDINGS = ("", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".md", ".parquet", ".arrow", ".dat")
_ENCODED = 12
_ENCODED_CHARACTERS = 20_000
"""Rows longer than this are not tokenised here: that is the tokenizer's work and its memory."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A spoilt file; ``number`` and the seed make it again."""

    number: int
    name: str
    mutations: tuple[str, ...]
    blob: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What went wrong with a trial."""

    number: int
    name: str
    mutations: tuple[str, ...]
    trouble: str


@dataclass(slots=True)
class Tally:
    """How the trials went: refused as a whole, read with complaints, read without; and the slowest."""

    refused: int = 0
    complained: int = 0
    clean: int = 0
    slowest: float = 0.0
    slowest_number: int = -1


def make_trial(seed: int, number: int) -> Trial:
    """The same file for the same two numbers, everywhere."""
    source = random.Random(f"{seed}/{number}")
    name, blob = source.choice(seeds())
    chosen = tuple(source.choice(list(MUTATIONS)) for _ in range(source.choice((1, 1, 2, 3, 5))))
    for mutation in chosen:
        blob = MUTATIONS[mutation](source, blob)[:4_000_000]
    if source.random() < 0.1:
        name = name.partition(".")[0] + source.choice(_ENDINGS)
    return Trial(number, name, chosen, blob)


def peak_bytes() -> int:
    """The most memory that this program ever held.

    Where Linux tells, not what getrusage says: that counts what the process held before it became this program.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii")) if status.exists() else None
    return int(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Importer:
    """Reads trials as the window and the command line do: looks in, pages, reads it all, writes tokens."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        self._folder, self._tokenizer, self._template = folder, tokenizer, template
        self._before = 0
        self._slowest = 0.0
        self.tally = Tally()

    def findings(self, seed: int, numbers: range) -> Iterator[Finding]:
        """Whatever should not have happened, trial by trial."""
        for number in numbers:
            trial = make_trial(seed, number)
            trouble = self._trouble(trial)
            if trouble:
                yield Finding(number, trial.name, trial.mutations, trouble)

    def _trouble(self, trial: Trial) -> str:
        path = self._folder / trial.name
        path.write_bytes(trial.blob)
        self._slowest = 0.0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                complaints = self._read(path)
        except Exception:  # noqa: BLE001 (whatever it is, it is what is being looked for)
            return traceback.format_exc(limit=-6)
        finally:
            path.unlink()
        if self._slowest > self.tally.slowest:
            self.tally.slowest, self.tally.slowest_number = self._slowest, trial.number
        wrong = next((line for line in map(_objection, complaints) if line), "")
        if wrong:
            return wrong
        if self._slowest > MOST_SECONDS:
            return f"one reading took {self._slowest:.1f} s"
        return self._too_much_memory()

    def _too_much_memory(self) -> str:
        if not self._before:
            self._before = peak_bytes()
        grown = peak_bytes() - self._before
        return f"memory grew by {grown >> 20} MiB" if grown > MOST_GROWTH_BYTES else ""

    def _read(self, path: Path) -> list[Problem]:
        """Everything that is said about a file by those who read it."""
        found: list[Problem] = []
        refusals = 0
        for spec in (DataSpec(train=(str(path),)), DataSpec(train=(str(path),), bad_rows="skip")):
            for action in (self._look, self._load):
                began = time.process_time()
                try:
                    found += action(path, spec)
                except UserError as failure:
                    refusals += 1
                    found += failure.problems
                    if not failure.problems:
                        raise AssertionError("refused without a word") from failure
                finally:
                    self._slowest = max(self._slowest, time.process_time() - began)
        self.tally.refused += refusals == 4
        self.tally.complained += bool(found) and refusals < 4
        self.tally.clean += not found
        return found

    def _look(self, path: Path, spec: DataSpec) -> list[Problem]:
        seen = open_preview(path, spec)
        with RowPages(seen) as pages:
            rows = pages.page(len(seen.rows), 5)
        found = [*seen.problems, *(row.problem for row in rows if row.problem is not None)]
        for row in seen.rows[:50]:
            for message in row.messages:
                message.content.encode("utf-8")
        return found

    def _load(self, path: Path, spec: DataSpec) -> list[Problem]:
        (read,), _ = collect_samples(spec, Progress(None))
        some = [sample for sample in read.samples[:_ENCODED] if _length(sample) <= _ENCODED_CHARACTERS]
        encoded = encode_samples(some, self._tokenizer, self._template, "completions", 512)
        return [*read.problems, *(row for row in encoded if isinstance(row, Problem))]


def _length(sample: Sample) -> int:
    return len(sample.prompt) + len(sample.completion) + sum(len(str(turn)) for turn in sample.messages)


def _objection(problem: Problem) -> str:
    """What is wrong with a complaint itself: it must say what and where, in text that can be shown and stored."""
    text = str(problem)
    if not problem.message.strip() or not problem.path:
        return f"a complaint without words or place: {problem!r}"
    if len(text) > 3000:
        return f"a complaint of {len(text)} characters: {text[:200]}"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"a complaint that cannot be written down: {text!r}"
    return ""
