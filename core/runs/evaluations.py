"""What evaluations found: records that the engine writes into a run's folder, and others list and compare."""

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import TypeVar

from core.errors import ExitCode, Problem, UserError, error, warning
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.layout import RunFolder

MOST_CHANGED = 20
"""How many rows are kept of those that gained, and of those that lost most."""
HIGHEST_LOSS = 700.0
"""Above this the perplexity is no number that a computer can hold."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row's mean loss per token that carries loss, with the base and with the tuned model.

    Attributes:
        text: the beginning of what carries loss.
    """

    place: str
    text: str
    tokens: int
    base: float
    tuned: float

    @property
    def gain(self) -> float:
        """By how much the loss went down; negative where it went up."""
        return self.base - self.tuned


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The loss on rows, as training measures it: a mean over all tokens that carry loss.

    Attributes:
        source: "validation" for the rows that the run held back, else the file.
        fingerprint: of the tokens and what carries loss; only equal ones can be compared.
        base, tuned: mean loss per token, in nats.
        error: standard error of their difference, over rows.
        better, worse: rows whose loss went down, and up.
        gains, losses: the rows that changed most, the greatest change first.
        seen: rows of the file that were trained as well; None where that is not known.
        skipped: rows that could not be used.
        cut: rows that end at the length limit.
    """

    source: str
    fingerprint: str
    rows: int
    tokens: int
    base: float
    tuned: float
    error: float
    better: int
    worse: int
    gains: tuple[RowChange, ...] = ()
    losses: tuple[RowChange, ...] = ()
    seen: int | None = None
    skipped: int = 0
    cut: int = 0

    @property
    def perplexities(self) -> tuple[float, float]:
        """E to the loss, of base and tuned; infinite where no number holds it."""
        base, tuned = (exp(loss) if loss < HIGHEST_LOSS else float("inf") for loss in (self.base, self.tuned))
        return base, tuned


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Means over all prompts, 0 to 1 each (`core.runs.similarity`)."""

    exact: float
    similarity: float
    f1: float


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """A prompt, the answer that was expected, the two that came, and how similar they are to it."""

    place: str
    prompt: str
    expected: str
    base: str
    tuned: str
    base_similarity: float
    tuned_similarity: float


@dataclass(frozen=True, slots=True)
class AnswersFound:
    """Greedy answers beside those of a file. ``cut`` counts answers of both models that the length limit ended."""

    source: str
    fingerprint: str
    prompts: int
    base: AnswerScores
    tuned: AnswerScores
    answers: tuple[AnsweredPrompt, ...]
    skipped: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """Shares of questions whose likeliest choice is right: by log-likelihood, and by that per character."""

    accuracy: float
    normalized: float


@dataclass(frozen=True, slots=True)
class Picked:
    """A question: the index of the right choice, and of those that base and tuned find likeliest per character."""

    place: str
    question: str
    right: int
    base: int
    tuned: int


@dataclass(frozen=True, slots=True)
class ChoicesFound:
    """Multiple-choice accuracy. ``chance`` is what guessing would reach."""

    source: str
    fingerprint: str
    questions: int
    chance: float
    base: ChoiceScores
    tuned: ChoiceScores
    picked: tuple[Picked, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a run: base against tuned, on the same weights, with the adapter off and on.

    Attributes:
        run: its name when it was evaluated.
        time: when, in seconds since 1970.
        notes: what was left out and why, sentences for people.
    """

    run: str
    time: float
    device: str
    compute_dtype: str
    quantization: str
    seconds: float
    held_out: HeldOut | None = None
    answers: AnswersFound | None = None
    choices: ChoicesFound | None = None
    notes: tuple[str, ...] = ()


Part = TypeVar("Part", HeldOut, AnswersFound, ChoicesFound)


def save_evaluation(evaluation: Evaluation, folder: RunFolder) -> Path:
    """Writes it as a file of its own into the run's folder, whole or not at all; returns the file."""
    folder.evaluations.mkdir(exist_ok=True)
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(evaluation.time))
    path = folder.evaluations / f"{moment}-{secrets.token_hex(2)}.json"
    write_json(path, to_plain(evaluation))
    return path


def load_evaluation(path: Path) -> Evaluation:
    """The evaluation in a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return from_plain(Evaluation, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, RecordError) as failure:
        message = f"The evaluation cannot be read: {failure}."
        raise UserError(
            error(str(path), message, "Remove the file, and evaluate the run again."), exit_code=ExitCode.FAILED
        ) from failure


def list_evaluations(folder: RunFolder) -> tuple[tuple[Evaluation, ...], tuple[Problem, ...]]:
    """All evaluations of a run, the newest first, and a warning for each file that cannot be read."""
    found, problems = [], []
    for path in sorted(folder.evaluations.glob("[!.]*.json")):
        try:
            found.append(load_evaluation(path))
        except UserError as failure:
            problems += [warning(item.path, item.message, item.advice) for item in failure.problems]
    return tuple(sorted(found, key=lambda item: -item.time)), tuple(problems)


@dataclass(frozen=True, slots=True)
class Compared:
    """Several runs, each with its newest numbers on the same rows.

    Attributes:
        names: the runs.
        held_out, answers, choices: the part of each run, None where it was not measured on the rows of the others.
        notes: what could not be compared, sentences for people.
    """

    names: tuple[str, ...]
    held_out: tuple[HeldOut | None, ...]
    answers: tuple[AnswersFound | None, ...]
    choices: tuple[ChoicesFound | None, ...]
    notes: tuple[str, ...] = ()


def compare_evaluations(folders: Sequence[RunFolder]) -> Compared:
    """Puts evaluations of several runs beside each other: of each part, those on the rows that most runs share.

    Raises:
        UserError: one of the runs was never evaluated.
    """
    names = tuple(folder.path.name for folder in folders)
    lists = [list_evaluations(folder) for folder in folders]
    missing = [name for name, (found, _) in zip(names, lists, strict=True) if not found]
    if missing:
        raise UserError(
            *(
                error("", f"The run “{name}” was never evaluated.", f"“lowrank evaluate {name}” does it.")
                for name in missing
            )
        )
    evaluations = [found for found, _ in lists]
    held, told_held = _shared(evaluations, names, lambda item: item.held_out, "the held-out loss")
    answers, told_answers = _shared(evaluations, names, lambda item: item.answers, "answers")
    choices, told_choices = _shared(evaluations, names, lambda item: item.choices, "multiple choice")
    unread = [str(problem) for _, problems in lists for problem in problems]
    return Compared(names, held, answers, choices, (*told_held, *told_answers, *told_choices, *unread))


def _shared(
    evaluations: Sequence[Sequence[Evaluation]],
    names: Sequence[str],
    part_of: Callable[[Evaluation], Part | None],
    what: str,
) -> tuple[tuple[Part | None, ...], list[str]]:
    """The newest part of each run on the rows that most of them were measured on, and who was not."""
    by_rows: list[dict[str, Part]] = []
    for listed in evaluations:
        known: dict[str, Part] = {}
        for part in map(part_of, listed):
            if part is not None:
                known.setdefault(part.fingerprint, part)
        by_rows.append(known)
    counts = Counter(fingerprint for known in by_rows for fingerprint in known)
    if not counts:
        return (None,) * len(names), []
    chosen, _ = counts.most_common(1)[0]
    parts = tuple(known.get(chosen) for known in by_rows)
    without = [name for name, part in zip(names, parts, strict=True) if part is None]
    source = next(part.source for part in parts if part is not None)
    rows = "the validation rows" if source == "validation" else source
    return parts, [f"“{name}” was not measured on the rows of the others for {what} ({rows})." for name in without]
