"""What an evaluation found, as tables: base beside tuned, the rows that changed most, and other runs."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout

from core.data.source import elide
from core.runs.evaluations import Compared, Evaluation, HeldOut, RowChange
from studio.look import tokens
from studio.widgets.basics import Card, Elided, label
from studio.words import tr

_SHOWN = 8
_TEXT = 80
_NONE = "–"

Rows = list[tuple[str, ...]]


def numbers_card(found: Evaluation) -> Card:
    """Base against tuned, in each measure that was taken."""
    card = Card(tr("Base against tuned"))
    card.setObjectName("evaluation-numbers")
    card.add(_table(("", tr("Base"), tr("Tuned"), tr("Change")), numbers_of(found)))
    for sentence in _sources(found):
        card.add(label(sentence, "help", wrap=True))
    return card


def numbers_of(found: Evaluation) -> Rows:
    """The rows of the first table: name, base, tuned, change."""
    rows: Rows = []
    held, answers, choices = found.held_out, found.answers, found.choices
    if held is not None:
        one, other = held.perplexities
        change = f"{held.tuned - held.base:+.4f} ± {held.error:.4f}"
        rows.append((tr("Loss"), f"{held.base:.4f}", f"{held.tuned:.4f}", change))
        rows.append((tr("Perplexity"), f"{one:,.2f}", f"{other:,.2f}", f"{other - one:+,.2f}"))
    if answers is not None:
        base, tuned = answers.base, answers.tuned
        rows.append(_shares(tr("Exact answers"), base.exact, tuned.exact))
        rows.append(_shares(tr("Similarity of characters"), base.similarity, tuned.similarity))
        rows.append(_shares(tr("Words in common (F1)"), base.f1, tuned.f1))
    if choices is not None:
        rows.append(_shares(tr("Choices right"), choices.base.accuracy, choices.tuned.accuracy))
        rows.append(_shares(tr("Choices right, per character"), choices.base.normalized, choices.tuned.normalized))
    return rows


def _shares(title: str, base: float, tuned: float) -> tuple[str, ...]:
    return title, f"{base:.1%}", f"{tuned:.1%}", tr("{n} points", n=f"{100 * (tuned - base):+.1f}")


def _sources(found: Evaluation) -> list[str]:
    sentences = []
    held, answers, choices = found.held_out, found.answers, found.choices
    if held is not None:
        sentences.append(
            tr(
                "{rows} rows of {source}, {tokens} tokens that carry loss; it went down for {better} rows and up for "
                "{worse}.",
                rows=f"{held.rows:,}",
                source=_source(held),
                tokens=f"{held.tokens:,}",
                better=f"{held.better:,}",
                worse=f"{held.worse:,}",
            )
        )
        if held.seen:
            sentences.append(tr("{n} of these rows were trained: their loss says nothing of new rows.", n=held.seen))
    if answers is not None:
        file = Path(answers.source).name
        sentences.append(tr("{n} prompts of {file}, greedy answers.", n=f"{answers.prompts:,}", file=file))
    if choices is not None:
        sentences.append(
            tr(
                "{n} questions of {file}; guessing reaches {share}.",
                n=f"{choices.questions:,}",
                file=Path(choices.source).name,
                share=f"{choices.chance:.0%}",
            )
        )
    skipped = sum(part.skipped for part in (held, answers, choices) if part is not None)
    if skipped:
        sentences.append(tr("{n} rows could not be used.", n=f"{skipped:,}"))
    return sentences


def _source(held: HeldOut) -> str:
    return tr("the validation data") if held.source == "validation" else Path(held.source).name


def changed_card(held: HeldOut) -> Card:
    """The rows whose loss went down most, and up most."""
    card = Card(tr("Rows that changed most"), tr("By the mean loss of a row’s tokens."))
    card.setObjectName("evaluation-changed")
    heads = (tr("Base"), tr("Tuned"), tr("Change"), tr("Row"), tr("What is learned there"))
    for title, changes in ((tr("Gained most"), held.gains), (tr("Lost most"), held.losses)):
        card.add(label(title, "strong"))
        if changes:
            card.add(_table(heads, [_change(item) for item in changes[:_SHOWN]], wide=(3, 4)))
        else:
            card.add(label(tr("None."), "help"))
    return card


def _change(item: RowChange) -> tuple[str, ...]:
    return (
        f"{item.base:.3f}",
        f"{item.tuned:.3f}",
        f"{-item.gain:+.3f}",
        Path(item.place).name,
        elide(item.text, _TEXT),
    )


def runs_card(compared: Compared) -> Card:
    """The tuned models of several runs, on the rows that they have in common."""
    card = Card(
        tr("Beside other runs"), tr("Tuned models on the same rows; a dash where a run was not measured on them.")
    )
    card.setObjectName("evaluation-runs")
    heads = (tr("Run"), tr("Loss"), tr("Perplexity"), tr("Similarity"), tr("Choices right"))
    rows: Rows = []
    for name, held, answers, choices in zip(
        compared.names, compared.held_out, compared.answers, compared.choices, strict=True
    ):
        rows.append(
            (
                name,
                f"{held.tuned:.4f}" if held else _NONE,
                f"{held.perplexities[1]:,.2f}" if held else _NONE,
                f"{answers.tuned.similarity:.1%}" if answers else _NONE,
                f"{choices.tuned.accuracy:.1%}" if choices else _NONE,
            )
        )
    card.add(_table(heads, rows))
    return card


def _table(heads: Sequence[str], rows: Rows, *, wide: Sequence[int] = (0,)) -> QGridLayout:
    """A grid of texts; the columns ``wide`` share what room there is, the later ones more of it."""
    grid = QGridLayout()
    grid.setHorizontalSpacing(tokens.SPACE_4)
    grid.setVerticalSpacing(tokens.SPACE_2)
    for share, column in enumerate(wide, 1):
        grid.setColumnStretch(column, share**2)
    for column, head in enumerate(heads):
        grid.addWidget(label(head, "muted"), 0, column)
    for number, cells in enumerate(rows, 1):
        for column, text in enumerate(cells):
            made = Elided(text, mode=Qt.TextElideMode.ElideMiddle) if column in wide[:1] else label(text)
            if column in wide[1:]:
                made = Elided(text)
            grid.addWidget(made, number, column, Qt.AlignmentFlag.AlignVCenter)
    return grid
