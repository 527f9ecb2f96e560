"""The card of suggestions: good values for this model and data, each with its reason, taken one by one or all."""

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QWidget

from core.plan.suggest import Suggestion, apply_suggestions, suggest
from core.plan.usual import TASKS, USUAL, Task, task_of
from core.spec.fields import FieldInfo
from core.spec.run_spec import field_at
from studio.look import tokens
from studio.state.desk import Desk
from studio.widgets.basics import Card, Elided, IconLabel, button, label, row, tool_button
from studio.widgets.controls import CalmList
from studio.words import say, tr

_SETTLE_MS = 150


class AdviceCard(Card):
    """What `core.plan.suggest` says about this spec; open until it is closed, and up to date.

    Attributes:
        closed: the user closed it.
    """

    closed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Suggested settings"))
        self.setObjectName("advice")
        self._session = desk.session
        self._found: tuple[Suggestion, ...] | None = None
        self.take_all = button(tr("Take all"), self._take_all, role="primary", name="advice-all")
        self.head.addWidget(self.take_all)
        self.head.addWidget(tool_button("x", tr("Close the suggestions"), self.closed.emit, name="advice-close"))
        self.task = CalmList()
        self.task.setObjectName("advice-task")
        self.task.setAccessibleName(tr("What is to be learned"))
        self.task.addItem("", None)
        for task in TASKS:
            self.task.addItem(say(USUAL[task].title), task)
        self.task.currentIndexChanged.connect(self.refresh)
        self.add(row(label(tr("What is to be learned")), self.task, None))
        self._rows = QWidget()
        self.add(self._rows)
        self._grid = QGridLayout(self._rows)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self._later.timeout.connect(self.refresh)
        self._session.plan_changed.connect(self._later.start)
        self.refresh()

    def refresh(self) -> None:
        """Asks again; rows are made anew only when something is suggested otherwise."""
        facts, spec = self._session.facts, self._session.spec
        guess = task_of(spec, facts.data if facts is not None else None)
        self.task.setItemText(0, tr("As the data looks: {task}", task=say(USUAL[guess].title)))
        chosen: Task | None = self.task.currentData()
        found = suggest(spec, facts, chosen) if facts is not None else ()
        if found == self._found:
            return
        self._found = found
        self.take_all.setEnabled(any(item.differs for item in found))
        old = self._rows
        self._rows = QWidget()
        self._grid = QGridLayout(self._rows)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(tokens.SPACE_3)
        self._grid.setVerticalSpacing(tokens.SPACE_2)
        self._grid.setColumnStretch(2, 1)
        for number, item in enumerate(sorted(found, key=lambda item: not item.differs)):
            self._add(number, item)
        if not found:
            self._grid.addWidget(
                label(tr("Choose a base model and data first; advice needs them."), "help", wrap=True), 0, 0, 1, 4
            )
        self.body.replaceWidget(old, self._rows)
        old.hide()
        old.deleteLater()

    def _add(self, number: int, item: Suggestion) -> None:
        info = field_at(item.path)
        mark = IconLabel("arrow-right", "accent") if item.differs else IconLabel("check", "good")
        title = label(say(info.setting.title), "strong" if item.differs else "")
        after = value_words(info, item.value)
        values = tr("{before} → {after}", before=value_words(info, item.before), after=after) if item.differs else after
        texts = QGridLayout()
        texts.setContentsMargins(0, 0, 0, 0)
        texts.setVerticalSpacing(2)
        texts.addLayout(_beside(title, Elided(values, "" if item.differs else "muted")), 0, 0)
        texts.addWidget(label(say(item.reason), "muted", wrap=True), 1, 0)
        self._grid.addWidget(mark, number, 0)
        self._grid.addLayout(texts, number, 1, 1, 2)
        if item.differs:
            take = button(tr("Take"), lambda: self._session.apply((item.edit,)), name=f"advice-{item.path}")
            take.setAccessibleName(tr("Take the suggestion for {setting}", setting=say(info.setting.title)))
            self._grid.addWidget(take, number, 3)

    def _take_all(self) -> None:
        self._session.set_spec(apply_suggestions(self._session.spec, self._found or ()))


def _beside(title: QLabel, values: Elided) -> QHBoxLayout:
    box = row(title, values)
    box.setStretch(1, 1)
    return box


def value_words(info: FieldInfo, value: object) -> str:
    """A setting's value as people read it."""
    for choice in info.setting.choices:
        if choice.value == value:
            return say(choice.title)
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value) or tr("none")
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
