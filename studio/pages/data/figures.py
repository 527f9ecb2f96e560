"""The counts of the data as a small table: training and validation side by side."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from core.data.report.types import Cut
from core.facts.types import DataFacts, LengthFacts
from core.units import format_share
from studio.look import tokens
from studio.look.theme import look
from studio.widgets.basics import label
from studio.words import tr, tr_count


class Figures(QWidget):
    """The counts as a small table: training and validation side by side."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(tokens.SPACE_4)
        self._grid.setVerticalSpacing(tokens.SPACE_1)
        self._numbers: dict[str, tuple[QLabel, QLabel]] = {}
        for place, heading in enumerate((tr("Training"), tr("Validation")), 1):
            self._grid.addWidget(label(heading, "muted"), 0, place, Qt.AlignmentFlag.AlignRight)
        for line_number, (name, title, tip) in enumerate(_lines(), 1):
            made = label(title, "term" if tip else "")
            if tip:
                made.setToolTip(f"<p>{tip}</p>")
            self._grid.addWidget(made, line_number, 0, Qt.AlignmentFlag.AlignLeft)
            pair = (label("", "strong"), label())
            for place, number in enumerate(pair, 1):
                number.setObjectName(f"count-{name}" if place == 1 else f"count-{name}-validation")
                number.setAccessibleDescription(title)
                self._grid.addWidget(number, line_number, place, Qt.AlignmentFlag.AlignRight)
            self._numbers[name] = pair
        self._left_out = label("", "help", wrap=True)
        self._left_out.setObjectName("left-out")
        self._grid.addWidget(self._left_out, len(self._numbers) + 1, 0, 1, 3)
        self._grid.setRowStretch(len(self._numbers) + 2, 1)
        self._grid.setColumnMinimumWidth(1, look().px(64))

    def show_facts(self, facts: DataFacts) -> None:
        """Shows other counts."""
        for place, lengths in enumerate((facts.train, facts.validation)):
            for name, text in _numbers(lengths).items():
                self._numbers[name][place].setText(text if lengths.rows else "–")
        parts = []
        if facts.skipped_rows:
            parts.append(tr_count(facts.skipped_rows, "One row is skipped because it is broken.",
                                  "{n} rows are skipped because they are broken."))  # fmt: skip
        if facts.fully_masked_rows:
            parts.append(tr_count(facts.fully_masked_rows, "One row is left out: none of its tokens would be trained.",
                                  "{n} rows are left out: none of their tokens would be trained."))  # fmt: skip
        self._left_out.setText("\n".join(parts))
        self._left_out.setVisible(bool(parts))

    def show_cuts(self, cuts: Sequence[Cut], *, is_pair: bool = False) -> None:
        """Shows what another limit cuts off, of training and of validation, before it has been counted.

        Of pairs it is known how many answers that will be, and so only how many rows at most.
        """
        for place, cut in enumerate(cuts):
            has_rows = self._numbers["rows"][place].text() != "–"
            for name, count in (("cut", cut.rows), ("lost", cut.tokens)):
                text = f"{count:,}" if has_rows else "–"
                if is_pair and has_rows and name == "cut" and count:
                    text = tr("up to {n}", n=text)
                self._numbers[name][place].setText(text)


def _lines() -> tuple[tuple[str, str, str], ...]:
    """Name, title and explanation of each count."""
    token = tr("A piece of text that the model knows by a number: a short word or part of one. "
               "Everything a model reads or writes is made of them.")  # fmt: skip
    trained = tr("The tokens that the model learns to write, usually the answers. "
                 "The others are only read, so that the answer has its question.")  # fmt: skip
    p95 = tr("95 of 100 rows are no longer than this. The few that are longer decide the memory.")
    cut = tr("Rows with more tokens than the limit; what lies beyond it is not trained. Raise the limit to keep it.")
    lost = tr("Tokens that lie beyond the limit, of all rows that are cut together. They are not read and not trained.")
    return (
        ("rows", tr("Rows"), ""),
        ("tokens", tr("Tokens"), token),
        ("supervised", tr("Trained tokens"), trained),
        ("share", tr("Share trained"), ""),
        ("longest", tr("Longest row"), ""),
        ("median", tr("Median row"), ""),
        ("p95", tr("95th percentile"), p95),
        ("cut", tr("Rows cut"), cut),
        ("lost", tr("Tokens lost"), lost),
    )


def _numbers(lengths: LengthFacts) -> dict[str, str]:
    counts = {
        "rows": lengths.rows,
        "tokens": lengths.tokens,
        "supervised": lengths.supervised_tokens,
        "longest": lengths.longest,
        "median": lengths.median,
        "p95": lengths.p95,
        "cut": lengths.truncated_rows,
        "lost": lengths.lost_tokens,
    }
    texts = {name: f"{count:,}" for name, count in counts.items()}
    texts["share"] = format_share(lengths.supervised_tokens / lengths.tokens) if lengths.tokens else "–"
    return texts
