"""The settings of a training before it starts: schedule with its picture, batch in words, prompts, and the rest."""

from PySide6.QtWidgets import QBoxLayout, QLabel, QVBoxLayout, QWidget

from studio.forms.editors import NumberEditor
from studio.forms.form import FieldRow, MoreSettings, rows_of
from studio.look import tokens
from studio.look.theme import look
from studio.pages.training.batch_words import run_words, step_words, why_words
from studio.pages.training.presets_menu import presets_button
from studio.pages.training.rate_curve import RateCurve
from studio.state.desk import Desk
from studio.widgets.basics import Card, column, label
from studio.words import tr, tr_count

_SCHEDULE = (
    "training.epochs",
    "training.max_steps",
    "training.learning_rate",
    "training.schedule",
    "training.cycles",
    "training.decay",
    "training.warmup",
)
_PREFERENCES = ("training.preference_loss", "training.preference_beta", "training.chosen_weight")
_ELSEWHERE = (*_SCHEDULE, *_PREFERENCES, "training.effective_batch", "training.sample_prompts")
_SIDE_BY_SIDE = 720


class ScheduleCard(Card):
    """How long and how fast: five settings, and beside them what they make of the learning rate."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Schedule"))
        self._session = desk.session
        self.head.addWidget(presets_button(desk))
        self.curve = RateCurve()
        self.words = label("", "muted", wrap=True)
        settings = QWidget()
        rows = [FieldRow(desk, path) for path in _SCHEDULE]
        for row in rows:
            if isinstance(row.editor, NumberEditor) and isinstance(row.editor.unit, QLabel):
                row.editor.unit.setWordWrap(True)  # leaves the picture its width
        settings.setLayout(column(*rows, None, spacing=tokens.SPACE_2))
        picture = QWidget()
        picture.setLayout(column(label(tr("Learning rate"), "muted"), self.curve, self.words, spacing=tokens.SPACE_1))
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._box.setSpacing(tokens.SPACE_6)
        self._box.addWidget(settings, 7)
        self._box.addWidget(picture, 4)
        self.add(self._box)
        desk.session.plan_changed.connect(self.refresh)
        desk.session.spec_changed.connect(self._spec_changed)
        self.refresh()

    def refresh(self) -> None:
        """Shows the present plan."""
        session = self._session
        self.curve.show_plan(session.spec, session.plan)
        curve = self.curve.curve
        warmup = curve.warmup_steps if curve is not None else 0
        sentences = (
            [tr_count(warmup, "It rises in the first step.", "It rises in the first {n} steps.")] if warmup else []
        )
        if self.curve.evaluations():
            sentences.append(tr("Dots mark where the validation loss is measured."))
        elif self.curve.known:
            sentences.append(tr("Without validation rows no validation loss is measured."))
        else:
            sentences = [tr("The number of steps is known once there is data.")]
        self.words.setText("\n".join(sentences))

    def _spec_changed(self, _paths: object) -> None:
        if self._session.plan is None:
            self.refresh()

    def arrange(self, width: int) -> None:
        """Puts the picture below the settings where the page's width is short."""
        wide = width >= look().px(_SIDE_BY_SIDE)
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._box.direction() != direction:
            self._box.setDirection(direction)


class BatchCard(Card):
    """What a step is made of, and what computes it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Batch"))
        self._session = desk.session
        self.words = label("", wrap=True)
        self.words.setObjectName("batch-words")
        self.length = label("", "help", wrap=True)
        self.reasons = label("", "muted", wrap=True)
        self.add(FieldRow(desk, "training.effective_batch"))
        for row in rows_of(desk, "hardware", advanced=False):
            self.add(row)
        box = Card(role="inset", margin=tokens.SPACE_3)
        for item in (self.words, self.length, self.reasons):
            box.add(item)
        self.add(box)
        desk.session.plan_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows the present plan."""
        plan = self._session.plan
        if plan is None:
            self.words.setText(tr("Looking at this computer…"))
            self.length.hide()
            self.reasons.hide()
            return
        self.words.setText(step_words(plan))
        length = run_words(plan)
        reasons = why_words(plan) if plan.batch is not None else []
        for item, text in ((self.length, length), (self.reasons, "\n".join(reasons))):
            item.setText(text)
            item.setVisible(bool(text))


class PreferencesCard(Card):
    """How pairs of answers are learned from; there only while they are."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Preferences"))
        self.setObjectName("preferences-card")
        self._session = desk.session
        rows = [FieldRow(desk, path) for path in _PREFERENCES]
        numbers = [item.editor for item in rows if isinstance(item.editor, NumberEditor)]
        words = max(item.words_width() for item in numbers)
        for item in rows:
            self.add(item)
        for editor in numbers:
            editor.unit.setFixedWidth(words)  # sliders of one length, fields below each other
        desk.session.spec_changed.connect(self._show_or_hide)
        self._show_or_hide()

    def _show_or_hide(self, _paths: object = None) -> None:
        self.setVisible(self._session.spec.data.train_on == "preferences")


class PromptsCard(Card):
    """Prompts that are answered before, during and after."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Samples"))
        self.add(FieldRow(desk, "training.sample_prompts", show_help=True))


class SetupView(QWidget):
    """All settings of the page."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.schedule = ScheduleCard(desk)
        self.batch = BatchCard(desk)
        self.preferences = PreferencesCard(desk)
        self.prompts = PromptsCard(desk)
        others = [
            *rows_of(desk, "training", advanced=False, without=_ELSEWHERE),
            *rows_of(desk, "training", advanced=True, without=_ELSEWHERE),
            *rows_of(desk, "hardware", advanced=True),
        ]
        self.more = MoreSettings(desk, "training", others)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_4)
        for item in (self.schedule, self.preferences, self.batch, self.prompts, self.more):
            box.addWidget(item)
        box.addStretch(1)
