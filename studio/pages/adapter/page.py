"""The Adapter page: the frozen base in 4 bits or not, the method, rank and alpha, and where adapters go."""

from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.forms.form import FieldRow, MoreSettings
from studio.look import tokens
from studio.pages.adapter.advice import AdviceCard
from studio.pages.adapter.changes import Changes
from studio.pages.adapter.places import PlacesCard
from studio.pages.adapter.precision import PrecisionCard
from studio.pages.adapter.strength import StrengthCard
from studio.pages.page import Page
from studio.state.desk import Desk
from studio.widgets.basics import Empty, ProblemNote, button, label
from studio.words import tr

_MORE = (
    "model.double_quant",
    "model.compute_dtype",
    "adapter.targets",
    "adapter.layers",
    "adapter.rank_pattern",
    "adapter.modules_to_save",
    "adapter.start",
    "adapter.b_rate_ratio",
)
_OPEN = "adapter.advice"


class AdapterPage(Page):
    """What is trained, how strongly and where; every change says at once what it costs."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk,
            tr("Adapter"),
            tr("Adapters are small matrices beside the frozen weights: all that learns. Choose how large, and where."),
        )
        self._session = desk.session
        self.suggest = button(tr("Suggest"), self._suggest, icon_name="wand-sparkles", name="suggest")
        self.suggest.setToolTip(tr("Good values for this model and data, each with its reason"))
        self.head.addWidget(self.suggest)
        self._empty = QWidget()
        self._empty_box = QVBoxLayout(self._empty)
        self._empty_box.setContentsMargins(0, 0, 0, 0)
        self.add(self._empty, 1)
        self.content: QWidget | None = None
        self._content_box: QVBoxLayout | None = None
        self.advice: AdviceCard | None = None
        self._told: object = None
        self._session.facts_changed.connect(self._facts_changed)
        self._session.busy_changed.connect(self._follow)
        self._session.spec_changed.connect(self._spec_changed)
        self._follow()

    def _facts_changed(self, _name: str) -> None:
        self._follow()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if "adapter.method" in paths and self.content is not None:
            self.places.setVisible(self._session.spec.adapter.method != "full")
        if "model.base" in paths:
            self._follow()

    def _follow(self) -> None:
        has_model = self._session.model is not None and self._session.plan is not None
        self.suggest.setEnabled(has_model)
        if has_model and self.content is None:
            self._build()
        if self.content is not None:
            self.content.setVisible(has_model)
        self._empty.setVisible(not has_model)
        if not has_model:
            self._show_empty()

    def _build(self) -> None:
        desk = self.desk
        self.content = QWidget()
        box = QVBoxLayout(self.content)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_4)
        changes = Changes(desk, self)
        self.precision = PrecisionCard(desk, changes)
        self.strength = StrengthCard(desk, changes)
        self.places = PlacesCard(desk, changes)
        for card in (self.precision, self.strength, self.places):
            box.addWidget(card)
        self.places.setVisible(self._session.spec.adapter.method != "full")
        box.addWidget(MoreSettings(desk, "adapter", [FieldRow(desk, path) for path in _MORE]))
        box.addStretch(1)
        self._content_box = box
        self.add(self.content, 1)
        if self.desk.memory.get(_OPEN):
            self._suggest()

    def _show_empty(self) -> None:
        session = self._session
        told = (session.spec.model.base.strip(), "model" in session.busy, session.model_problems)
        if told == self._told:
            return
        self._told = told
        while (item := self._empty_box.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        base, reading, problems = told
        if reading or (base and not problems):
            self._empty_box.addWidget(label(tr("Reading the base model’s files…"), "help"))
            self._empty_box.addStretch(1)
            return
        for problem in problems:
            self._empty_box.addWidget(ProblemNote(problem, lambda fix: session.apply(fix.edits)))
        go = button(tr("Choose a base model"), lambda: self.desk.go("model"), role="primary", name="go-model")
        text = tr("Which adapters are possible, and what they cost, depends on the base model.")
        self._empty_box.addWidget(Empty("layers", tr("No base model yet"), text, go), 1)

    def _suggest(self) -> None:
        self.desk.memory[_OPEN] = True
        if self.advice is None and self._content_box is not None:
            self.advice = AdviceCard(self.desk)
            self.advice.closed.connect(self._close_advice)
            self._content_box.insertWidget(0, self.advice)
        if self.advice is not None:
            self.advice.take_all.setFocus()

    def _close_advice(self) -> None:
        self.desk.memory[_OPEN] = False
        if self.advice is not None:
            self.advice.hide()
            self.advice.deleteLater()
            self.advice = None
        self.suggest.setFocus()
