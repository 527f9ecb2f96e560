"""From losses, answers and likelihoods of base and tuned to the numbers that are kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.data.source import elide
from core.runs.evaluation_rows import Prompts, Questions, Rows, rows_fingerprint
from core.runs.evaluations import (
    MOST_CHANGED,
    AnsweredPrompt,
    AnswerScores,
    AnswersFound,
    ChoiceScores,
    ChoicesFound,
    HeldOut,
    Picked,
    RowChange,
)
from core.runs.similarity import edit_similarity, exact_match, word_f1

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Said:
    """An answer; ``cut`` where the length limit ended it, and not the model."""

    text: str
    cut: bool


def held_found(rows: Rows, base: Sequence[float], tuned: Sequence[float]) -> HeldOut:
    """The loss of both, and the rows that changed most.

    Args:
        rows: what was measured.
        base: summed loss of each row with the base model, in nats.
        tuned: the same with the tuned one.
    """
    counts = [row.supervised for row in rows.rows]
    tokens = sum(counts)
    changes = [
        RowChange(row.place, elide(text, _SHOWN), count, one / count, other / count)
        for row, text, count, one, other in zip(rows.rows, rows.texts, counts, base, tuned, strict=True)
    ]
    ranked = sorted(changes, key=lambda change: -change.gain)
    better = [change for change in ranked if change.gain > 0]
    worse = [change for change in reversed(ranked) if change.gain < 0]
    return HeldOut(
        source=rows.source,
        fingerprint=rows_fingerprint(rows.rows),
        rows=len(changes),
        tokens=tokens,
        base=sum(base) / tokens,
        tuned=sum(tuned) / tokens,
        error=_ratio_error([other - one for one, other in zip(base, tuned, strict=True)], counts),
        better=len(better),
        worse=len(worse),
        gains=tuple(better[:MOST_CHANGED]),
        losses=tuple(worse[:MOST_CHANGED]),
        seen=rows.seen,
        skipped=rows.skipped,
        cut=sum(row.lost_tokens > 0 for row in rows.rows),
    )


def _ratio_error(changes: Sequence[float], counts: Sequence[int]) -> float:
    """Standard error of the sum of changes over the sum of counts, rows being drawn at random (a ratio estimator)."""
    number, total = len(changes), sum(counts)
    if number < 2:
        return 0.0
    ratio = sum(changes) / total
    spread = math.fsum((change - ratio * count) ** 2 for change, count in zip(changes, counts, strict=True))
    return math.sqrt(spread * number / (number - 1)) / total


def answers_found(prompts: Prompts, base: Sequence[Said], tuned: Sequence[Said]) -> AnswersFound:
    """Means of the three measures; ``base`` and ``tuned`` are what each said."""
    answered = tuple(
        AnsweredPrompt(
            place=item.place,
            prompt=item.prompt,
            expected=item.expected,
            base=one.text,
            tuned=other.text,
            base_similarity=edit_similarity(one.text, item.expected),
            tuned_similarity=edit_similarity(other.text, item.expected),
        )
        for item, one, other in zip(prompts.items, base, tuned, strict=True)
    )
    expected = [item.expected for item in prompts.items]
    return AnswersFound(
        source=prompts.source,
        fingerprint=prompts.fingerprint,
        prompts=len(answered),
        base=_scores(base, expected),
        tuned=_scores(tuned, expected),
        answers=answered,
        skipped=prompts.skipped,
        cut=sum(said.cut for said in (*base, *tuned)),
    )


def _scores(said: Sequence[Said], expected: Sequence[str]) -> AnswerScores:
    pairs = [(one.text, text) for one, text in zip(said, expected, strict=True)]
    return AnswerScores(
        exact=sum(exact_match(*pair) for pair in pairs) / len(pairs),
        similarity=math.fsum(edit_similarity(*pair) for pair in pairs) / len(pairs),
        f1=math.fsum(word_f1(*pair) for pair in pairs) / len(pairs),
    )


def choices_found(questions: Questions, base: Sequence[float], tuned: Sequence[float]) -> ChoicesFound:
    """Accuracy of both; ``base`` and ``tuned`` are the summed losses of the choices, one after another."""
    one, other = _picks(questions, base), _picks(questions, tuned)
    picked = tuple(
        Picked(item.place, elide(item.text, _SHOWN), item.right, first, second)
        for item, (_, first), (_, second) in zip(questions.items, one, other, strict=True)
    )
    count = len(questions.items)
    return ChoicesFound(
        source=questions.source,
        fingerprint=questions.fingerprint,
        questions=count,
        chance=math.fsum(1 / len(item.choices) for item in questions.items) / count,
        base=_accuracy(questions, one),
        tuned=_accuracy(questions, other),
        picked=picked,
        skipped=questions.skipped,
    )


def _picks(questions: Questions, losses: Sequence[float]) -> list[tuple[int, int]]:
    """For each question the likeliest choice, and the likeliest per character; the first one of equals."""
    found, start = [], 0
    for item in questions.items:
        own = losses[start : start + len(item.choices)]
        start += len(item.choices)
        per_letter = [loss / len(choice) for loss, choice in zip(own, item.choices, strict=True)]
        found.append((own.index(min(own)), per_letter.index(min(per_letter))))
    assert start == len(losses), "a loss for each choice"
    return found


def _accuracy(questions: Questions, picks: Sequence[tuple[int, int]]) -> ChoiceScores:
    count = len(picks)
    pairs = list(zip(questions.items, picks, strict=True))
    return ChoiceScores(
        accuracy=sum(item.right == plain for item, (plain, _) in pairs) / count,
        normalized=sum(item.right == fair for item, (_, fair) in pairs) / count,
    )
