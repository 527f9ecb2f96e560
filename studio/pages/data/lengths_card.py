"""What the whole set comes to: counts for training and validation, and how long the rows are."""

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QProgressBar, QWidget

from core.data.report.types import Lengths
from core.facts.types import DataFacts
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.figures import Figures
from studio.pages.data.histogram import LengthHistogram
from studio.pages.data.progress import show_progress
from studio.state.data_report import rows_key
from studio.state.desk import Desk
from studio.widgets.basics import Card, button, column, label, row, show_inside
from studio.words import say, tr

LIMIT = "data.max_length"
_MEMORY = "data.lengths"
_LEAST_PLOT = 280


class LengthsCard(Card):
    """Counts and histogram of the data, or what is being read, or why nothing can be counted."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("What will be trained"))
        self._desk = desk
        self._facts: DataFacts | None = None
        self._facts_of: object = None
        self._figures = Figures()
        self.histogram = LengthHistogram()
        self._lengths = (Lengths(), Lengths())
        self.histogram.limit_moving.connect(self._show_cuts)
        self.histogram.limit_moved.connect(self._limit_moved)
        self._template = label("", "muted", wrap=True)
        self._is_pair = False
        self._pairs = label(
            tr("A row is a pair: it is as long as both answers together, each with its prompt. The picture shows each "
               "answer with its prompt by itself, and the limit cuts each by itself."),
            "muted", wrap=True,
        )  # fmt: skip
        self._pairs.setObjectName("lengths-of-pairs")
        self._pairs.hide()
        counted = QWidget()
        counted.setLayout(column(_Pair(self._figures, self.histogram), self._pairs, self._template))
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
            limit = self._desk.session.spec.data.max_length
            self.histogram.set_limit(limit)
            self._show_cuts(limit)
        self._refresh()

    def _limit_moved(self, limit: int) -> None:
        self._desk.session.edit(LIMIT, limit)

    def _show_cuts(self, limit: int) -> None:
        if self._facts is not None:
            self._figures.show_cuts([lengths.cut(limit) for lengths in self._lengths], is_pair=self._is_pair)

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
        self._is_pair = self._desk.session.spec.data.train_on == "preferences"
        self._lengths = self._longest_known()
        self._figures.show_facts(facts)
        if self.histogram.is_moving:
            self._show_cuts(self.histogram.limit)
        data = self._desk.session.spec.data
        self.histogram.show_lengths(self._lengths[0], data.max_length, is_pair=self._is_pair)
        self._pairs.setVisible(self._is_pair)
        self._template.setText(self._template_words(facts))

    def _longest_known(self) -> tuple[Lengths, Lengths]:
        """The lengths counted under the largest limit: a low one leaves rows out whose whole answer it cuts off."""
        found = self._desk.session.lengths
        key = self._rows_key()
        known = self._desk.memory.get(_MEMORY)
        if isinstance(known, tuple) and known[0] == key and known[1][0].total_rows > found[0].total_rows:
            remembered: tuple[Lengths, Lengths] = known[1]
            return remembered
        self._desk.memory[_MEMORY] = (key, found)
        return found

    def _rows_key(self) -> object:
        """The same for the same rows and tokens, whatever the limit; rows that are split depend on it."""
        data = self._desk.session.spec.data
        limit = data.max_length if "split_long" in data.repairs else 0
        return rows_key(data), data.repairs, limit, self._desk.session.spec.model.base.strip()

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


class _Pair(QWidget):
    """Two parts side by side, or below each other where that would be too narrow."""

    def __init__(self, first: QWidget, second: QWidget) -> None:
        super().__init__()
        self._parts = (first, second)
        self._box = row(first, second, spacing=tokens.SPACE_6)
        self.setLayout(self._box)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As wide as the wider part: more is not needed."""
        least = [part.minimumSizeHint().expandedTo(part.minimumSize()) for part in self._parts]
        return QSize(max(size.width() for size in least), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Puts the parts beside or below each other."""
        super().resizeEvent(event)
        first, second = (part.sizeHint().width() for part in self._parts)
        low = self.width() < first + min(second, look().px(_LEAST_PLOT)) + tokens.SPACE_6
        self._box.setDirection(QBoxLayout.Direction.TopToBottom if low else QBoxLayout.Direction.LeftToRight)


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
        self._words.setText(show_progress(self._bar, busy))
