"""What the whole set comes to: counts for training and validation, and how long the rows are."""

from collections.abc import Mapping
from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QProgressBar, QWidget

from core.facts.types import DataFacts, LengthFacts
from core.units import format_share
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.histogram import LengthHistogram
from studio.state.desk import Desk
from studio.widgets.basics import Card, button, column, label, row, show_inside
from studio.words import say, tr, tr_count

LIMIT = "data.max_length"
_MEMORY = "data.lengths"
_ANY_LIMIT = 8


class LengthsCard(Card):
    """Counts and histogram of the data, or what is being read, or why nothing can be counted."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("What will be trained"))
        self._desk = desk
        self._facts: DataFacts | None = None
        self._facts_of: object = None
        self._figures = _Figures()
        self.histogram = LengthHistogram()
        self.histogram.limit_moved.connect(self._limit_moved)
        self._template = label("", "muted", wrap=True)
        counted = QWidget()
        counted.setLayout(column(row(self._figures, self.histogram, spacing=tokens.SPACE_6), self._template))
        self._counted = counted
        self._why = label("", "help", wrap=True)
        self._act = button("", self._perform)
        self._act.setObjectName("count-action")
        missing = QWidget()
        missing.setLayout(column(self._why, row(self._act, None)))
        self._missing = missing
        self._progress = _Progress(desk)
        self.add(self._progress)
        self.add(counted)
        self.add(missing)
        session = desk.session
        session.facts_changed.connect(self._facts_changed)
        session.busy_changed.connect(self._refresh)
        session.spec_changed.connect(self._spec_changed)
        self._action = ""
        self._refresh()

    def _facts_changed(self, _name: str) -> None:
        self._refresh()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if LIMIT in paths:
            self.histogram.set_limit(self._desk.session.spec.data.max_length)
        self._refresh()

    def _limit_moved(self, limit: int) -> None:
        self._desk.session.edit(LIMIT, limit)

    def _refresh(self) -> None:
        session = self._desk.session
        self._progress.refresh()
        show_inside(self, is_shown=bool(session.spec.data.train))
        if session.data is not None and session.data is not self._facts:
            self._facts, self._facts_of = session.data, self._rows_key()
            self._show(session.data)
        # while the same rows are counted anew under another limit the old numbers stay, so that nothing jumps
        is_coming = bool(session.busy.keys() & {"data", "model"})
        same_rows = self._facts is not None and self._facts_of == self._rows_key()
        self._counted.setVisible(same_rows and (session.data is not None or is_coming))
        self._missing.setVisible(session.data is None and not is_coming)
        if self._missing.isVisibleTo(self):
            self._explain()

    def _show(self, facts: DataFacts) -> None:
        self._figures.show_facts(facts)
        limit = self._desk.session.spec.data.max_length
        if not self.histogram.is_dragging:
            known = self._longest_known(facts, limit)
            cut = facts.train.truncated_rows if known is facts.train.histogram else 0
            self.histogram.show_lengths(known, cut, limit)
        self._template.setText(self._template_words(facts))

    def _longest_known(self, facts: DataFacts, limit: int) -> Mapping[str, int]:
        """The histogram counted under the largest limit: a lower limit hides how long the rows really are."""
        key = self._rows_key()
        known = self._desk.memory.get(_MEMORY)
        if facts.train.truncated_rows and isinstance(known, tuple) and known[0] == key and known[1] > limit:
            remembered: Mapping[str, int] = known[2]
            return remembered
        self._desk.memory[_MEMORY] = (key, limit, facts.train.histogram)
        return facts.train.histogram

    def _rows_key(self) -> object:
        """The same for the same rows and tokens, whatever the limit."""
        data = self._desk.session.spec.data
        same_rows = replace(data, max_length=_ANY_LIMIT, mapping={})
        return same_rows, tuple(data.mapping.items()), self._desk.session.spec.model.base.strip()

    def _template_words(self, facts: DataFacts) -> str:
        name = facts.template_name
        if facts.shape == "text":
            return tr("Running text: no chat template is used.")
        if name == "model":
            return tr("Written by the model’s own chat template.")
        if name == "none":
            return tr("Prompt and answer are joined as they are, without a chat template.")
        model = self._desk.session.model
        if self._desk.session.spec.data.template == "auto" and model is not None:
            return tr("This model has no chat template of its own, so “{name}” is used.", name=name)
        return tr("Written by the chat template “{name}”.", name=name)

    def _explain(self) -> None:
        session = self._desk.session
        if session.model is None and not session.model_problems:
            self._say(tr("Tokens can be counted once a base model is chosen."), tr("Choose a base model"), "model")
        elif session.model_problems:
            why = say(session.model_problems[0].message)
            self._say(tr("The base model cannot be used: {why}", why=why), tr("Go to Model"), "model")
        elif session.data_problems:
            self._say(tr("The rows cannot be trained as they are; see the problems above."), tr("Look again"), "count")
        else:
            self._say(tr("The tokens have not been counted."), tr("Count the tokens"), "count")

    def _say(self, why: str, action: str, what: str) -> None:
        self._why.setText(why)
        self._act.setText(action)
        self._action = what

    def _perform(self) -> None:
        if self._action == "model":
            self._desk.go("model")
        else:
            self._desk.session.refresh("data")


class _Progress(QWidget):
    """How far the counting is, with a button that ends it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._words = label("", "muted", wrap=True)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Progress of reading the data"))
        self._cancel = button(tr("Cancel"), lambda: desk.session.cancel("data"), name="cancel-counting")
        texts = column(self._words, self._bar, spacing=tokens.SPACE_1)
        box = row(spacing=tokens.SPACE_4)
        box.addLayout(texts, 1)
        box.addWidget(self._cancel)
        self.setLayout(box)

    def refresh(self) -> None:
        """Shows what is being read now; hidden when nothing is."""
        busy = self._desk.session.busy.get("data") or self._desk.session.busy.get("model")
        self.setVisible(busy is not None)
        self._cancel.setVisible("data" in self._desk.session.busy)
        if busy is None:
            return
        self._bar.setRange(0, busy.total)
        self._bar.setValue(busy.done)
        what = say(busy.what)
        rows = tr("{done} of {total} rows", done=f"{busy.done:,}", total=f"{busy.total:,}")
        self._words.setText(tr("{what}: {count}", what=what, count=rows) if busy.total else tr("{what}…", what=what))


class _Figures(QWidget):
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


def _lines() -> tuple[tuple[str, str, str], ...]:
    """Name, title and explanation of each count."""
    token = tr("A piece of text that the model knows by a number: a short word or part of one. "
               "Everything a model reads or writes is made of them.")  # fmt: skip
    trained = tr("The tokens that the model learns to write, usually the answers. "
                 "The others are only read, so that the answer has its question.")  # fmt: skip
    p95 = tr("95 of 100 rows are no longer than this. The few that are longer decide the memory.")
    cut = tr("Rows with more tokens than the limit; what lies beyond it is not trained. Raise the limit to keep it.")
    return (
        ("rows", tr("Rows"), ""),
        ("tokens", tr("Tokens"), token),
        ("supervised", tr("Trained tokens"), trained),
        ("share", tr("Share trained"), ""),
        ("longest", tr("Longest row"), ""),
        ("median", tr("Median row"), ""),
        ("p95", tr("95th percentile"), p95),
        ("cut", tr("Rows cut"), cut),
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
    }
    texts = {name: f"{count:,}" for name, count in counts.items()}
    texts["share"] = format_share(lengths.supervised_tokens / lengths.tokens) if lengths.tokens else "–"
    return texts
