"""Evaluations as lines: the numbers of one run, the rows that changed most, and several runs side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

from core.cli.console import Console
from core.cli.tables import columns, joined
from core.data.source import elide
from core.runs.evaluations import AnswersFound, ChoicesFound, Compared, Evaluation, HeldOut, RowChange
from core.units import format_duration

_SHOWN = 5
"""Rows of each kind that are printed; the file has more."""


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Base against tuned."""
    console.line(console.bold(f"{evaluation.run}: base against tuned"))
    rows = [("", "base", "tuned", "change")]
    held, answers, choices = evaluation.held_out, evaluation.answers, evaluation.choices
    rows += _held_rows(held) if held else []
    rows += _answer_rows(answers) if answers else []
    rows += _choice_rows(choices) if choices else []
    for number, cells in enumerate(columns(rows)):
        line = joined(cells)
        console.line(console.dim(line) if not number else line)
    console.line()
    if held:
        _print_held(held, console)
    if answers:
        _print_answers(answers, console)
    if choices:
        console.paragraph(
            f"{choices.questions:,} questions of {choices.source}; guessing reaches {choices.chance:.1%}."
            + _skipped(choices.skipped)
        )
    console.line(f"Evaluated in {format_duration(evaluation.seconds)}.")


Cells = tuple[str, str, str, str]


def _held_rows(held: HeldOut) -> list[Cells]:
    base, tuned = held.perplexities
    change = held.tuned - held.base
    return [
        ("Loss", f"{held.base:.4f}", f"{held.tuned:.4f}", f"{change:+.4f} ± {held.error:.4f}"),
        ("Perplexity", f"{base:,.2f}", f"{tuned:,.2f}", f"{tuned - base:+,.2f}"),
    ]


def _answer_rows(answers: AnswersFound) -> list[Cells]:
    one, other = answers.base, answers.tuned
    return [
        _shares("Exact match", one.exact, other.exact),
        _shares("Similarity", one.similarity, other.similarity),
        _shares("Word F1", one.f1, other.f1),
    ]


def _choice_rows(choices: ChoicesFound) -> list[Cells]:
    one, other = choices.base, choices.tuned
    return [
        _shares("Choices right", one.accuracy, other.accuracy),
        _shares("… per character", one.normalized, other.normalized),
    ]


def _shares(title: str, base: float, tuned: float) -> Cells:
    return title, f"{base:.1%}", f"{tuned:.1%}", f"{100 * (tuned - base):+.1f} points"


def _skipped(count: int) -> str:
    return f" Rows that could not be used: {count:,}." if count else ""


def _print_held(held: HeldOut, console: Console) -> None:
    where = "the validation rows" if held.source == "validation" else held.source
    console.paragraph(
        f"{held.rows:,} rows of {where}, {held.tokens:,} tokens that carry loss. The loss of {held.better:,} went "
        f"down, of {held.worse:,} up. ± is the standard error over rows.{_skipped(held.skipped)}"
    )
    for title, changes in (("Gained most", held.gains), ("Lost most", held.losses)):
        if not changes:
            continue
        console.line()
        console.line(console.bold(title))
        rows = [("base", "tuned", "change", "tokens", "row"), *map(_change_cells, changes[:_SHOWN])]
        for cells in columns(rows):
            console.line(joined(cells))
    console.line()


def _change_cells(change: RowChange) -> tuple[str, ...]:
    words = f"{Path(change.place).name}  {elide(change.text, 48)}"
    return f"{change.base:.3f}", f"{change.tuned:.3f}", f"{-change.gain:+.3f}", f"{change.tokens:,}", words


def _print_answers(answers: AnswersFound, console: Console) -> None:
    cut = f" {answers.cut:,} answers were ended by the length limit." if answers.cut else ""
    console.paragraph(
        f"{answers.prompts:,} prompts of {answers.source}, greedy answers.{cut}{_skipped(answers.skipped)}"
    )


def print_comparison(compared: Compared, console: Console) -> None:
    """The runs as columns; a dash where a run was not measured on the rows of the others."""
    rows: list[Sequence[str]] = [("", *compared.names)]
    if any(compared.held_out):
        base = [f"{part.base:.4f}" if part else "–" for part in compared.held_out]
        rows += [
            ("Loss, base", *base),
            ("Loss, tuned", *(f"{part.tuned:.4f}" if part else "–" for part in compared.held_out)),
            ("Perplexity, tuned", *(f"{part.perplexities[1]:,.2f}" if part else "–" for part in compared.held_out)),
        ]
    if any(compared.answers):
        rows += [
            ("Exact match", *_row(compared.answers, lambda part: part.tuned.exact)),
            ("Similarity", *_row(compared.answers, lambda part: part.tuned.similarity)),
            ("Word F1", *_row(compared.answers, lambda part: part.tuned.f1)),
        ]
    if any(compared.choices):
        rows += [
            ("Choices right", *_picked(compared.choices, lambda part: part.tuned.accuracy)),
            ("… per character", *_picked(compared.choices, lambda part: part.tuned.normalized)),
        ]
    for number, cells in enumerate(columns(rows)):
        line = joined(cells)
        console.line(console.bold(line) if not number else line)
    for note in compared.notes:
        console.paragraph(f"Note: {note}", "  ", "")


def _row(parts: Sequence[AnswersFound | None], value: Callable[[AnswersFound], float]) -> list[str]:
    return [f"{value(part):.1%}" if part else "–" for part in parts]


def _picked(parts: Sequence[ChoicesFound | None], value: Callable[[ChoicesFound], float]) -> list[str]:
    return [f"{value(part):.1%}" if part else "–" for part in parts]
