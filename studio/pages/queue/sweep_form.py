"""A new sweep: which settings are varied and how, how many runs that makes, and how long they take."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from core.errors import UserError, error
from core.spec.fields import Kind
from core.spec.run_spec import RunSpec, field_at, fields, is_visible
from core.units import format_bytes, format_duration
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.state.queue_entry import queue_blocker
from studio.widgets.basics import Card, button, label, row, tool_button
from studio.widgets.controls import CalmList, Switch
from studio.widgets.notes import ProblemNotes
from studio.words import say, tr, tr_count
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.prepare import Prepared
    from core.runs.sweep import Point

_SETTLE_MS = 300
_FIRST = (("adapter.rank", "8, 16, 32"), ("training.learning_rate", "1e-4, 2e-4"))
_SECTIONS = ("adapter", "training")
_ABOUT_ROWS = ("training.seed",)
"""Settings that change which rows are read; the window would have to read them again for each run."""
_MOST_AXES = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """What a sweep would be."""

    name: str
    points: "tuple[Point, ...]"
    prepared: "tuple[Prepared, ...]"

    @property
    def seconds(self) -> float:
        """How long all runs take one after another."""
        return sum(one.plan.duration.seconds for one in self.prepared if one.plan.duration is not None)

    @property
    def peak_bytes(self) -> int:
        """What the largest of them needs."""
        return max((one.plan.memory.peak_bytes for one in self.prepared if one.plan.memory is not None), default=0)

    @property
    def without_room(self) -> int:
        """How many of them do not fit now."""
        return sum(not one.plan.can_start for one in self.prepared)


class AxisRow(QWidget):
    """One setting and its values.

    Attributes:
        changed: either is another one.
        removed: the user does not want to vary it.
    """

    changed = Signal()
    removed = Signal()

    def __init__(self, spec: RunSpec, path: str, values: str) -> None:
        super().__init__()
        self.setting = CalmList()
        self.setting.setAccessibleName(tr("Setting that is varied"))
        for info in fields():
            if info.path == path or can_be_varied(spec, info.path):
                self.setting.addItem(say(info.setting.title), info.path)
        self.setting.setCurrentIndex(max(0, self.setting.findData(path)))
        self.values = QLineEdit(values)
        self.values.setAccessibleName(tr("Its values, with commas between them"))
        self.values.setPlaceholderText(tr("Values, such as 8, 16, 32"))
        self.values.setMinimumWidth(look().px(160))
        remove = tool_button("x", tr("Do not vary this setting"), self.removed.emit)
        box = QHBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        box.addWidget(self.setting, 1)
        box.addWidget(self.values, 1)
        box.addWidget(remove)
        self.setting.currentIndexChanged.connect(self._other_setting)
        self.values.textChanged.connect(lambda _text: self.changed.emit())

    @property
    def path(self) -> str:
        """The setting."""
        return str(self.setting.currentData())

    def _other_setting(self, _index: int) -> None:
        self.values.clear()  # values of another setting mean nothing here
        self.changed.emit()


def can_be_varied(spec: RunSpec, path: str) -> bool:
    """Whether a setting is a number that matters in this spec and does not change the rows."""
    info = field_at(path)
    is_number = info.setting.kind in (Kind.INTEGER, Kind.NUMBER)
    return is_number and info.section in _SECTIONS and path not in _ABOUT_ROWS and is_visible(spec, info)


class SweepForm(QWidget):
    """The form.

    Attributes:
        made: the name of a sweep that was made.
    """

    made = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.grid: Grid | None = None
        self.rows: list[AxisRow] = []
        self._task: Task | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._count)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(tokens.SPACE_2)
        self._more: QPushButton = button(
            tr("Vary another setting"), self._add_row, icon_name="plus", role="quiet", name="sweep-more"
        )
        self.follows = Switch(tr("Alpha follows the rank"))
        self.follows.setObjectName("sweep-alpha")
        self.follows.setChecked(True)
        self.follows.setToolTip(
            tr("Alpha divided by rank stays what it is, so that a higher rank is not a weaker adapter as well.")
        )
        self.follows.toggled.connect(lambda _on: self._changed())
        self._words = label("", "strong", wrap=True)
        self._words.setObjectName("sweep-words")
        self._notes = ProblemNotes(lambda _fix: None)
        self.go = button(tr("Add to queue"), self.add, icon_name="plus", role="primary", name="sweep-add")
        self.sure = Switch()
        self.sure.setObjectName("sweep-sure")
        self.sure.toggled.connect(lambda _on: self._show())
        card = Card(
            tr("What is varied"),
            tr(
                "Every value meets every other. All else is as in the present settings: the same model, the same seed, "
                "the same rows in the same order."
            ),
        )
        card.add(self._rows)
        card.add(row(self._more, None))
        card.add(row(self.follows, None))
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_4)
        box.addWidget(card)
        box.addWidget(self._words)
        box.addWidget(self._notes)
        box.addLayout(row(self.sure, None))
        box.addLayout(row(self.go, None))
        box.addStretch(1)
        for path, values in _FIRST:
            self._add_row(path, values)
        desk.session.plan_changed.connect(self._changed)
        desk.session.busy_changed.connect(self._changed)
        self._changed()

    def _add_row(self, path: str = "", values: str = "") -> None:
        spec = self.desk.session.spec
        taken = {other.path for other in self.rows}
        free = [info.path for info in fields() if can_be_varied(spec, info.path) and info.path not in taken]
        made = AxisRow(spec, path or (free[0] if free else "adapter.rank"), values)
        number = len(self.rows)
        made.setting.setObjectName(f"sweep-setting-{number}")
        made.values.setObjectName(f"sweep-values-{number}")
        made.changed.connect(self._changed)
        made.removed.connect(lambda: self._remove_row(made))
        self.rows.append(made)
        self._rows.addWidget(made)
        self._more.setEnabled(len(self.rows) < _MOST_AXES)
        self._changed()

    def _remove_row(self, made: AxisRow) -> None:
        self.rows.remove(made)
        self._rows.removeWidget(made)
        made.hide()
        made.deleteLater()
        self._more.setEnabled(True)
        self._more.setFocus()
        self._changed()

    # --- counting

    def _changed(self) -> None:
        self.grid = None
        self.follows.setVisible(any(made.path == "adapter.rank" for made in self.rows))
        self._settle.start()
        self._show()

    def _count(self) -> None:
        """Plans every run of the grid in the background."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        base = self.desk.session.prepared()
        texts = [f"{made.path}={made.values.text()}" for made in self.rows]
        if base is None or not texts or queue_blocker(self.desk):
            self._notes.show_problems(())
            self._show()
            return
        follows = self.follows.isChecked()
        self._task = start_task(
            lambda _report: _grid(base, texts, follows=follows),
            on_done=self._counted,
            on_failed=self._refused,
            parent=self,
        )

    def _counted(self, grid: Grid) -> None:
        self._task = None
        self.grid = grid
        self._notes.show_problems(())
        self._show()

    def _refused(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self._notes.show_problems(failure.problems)
        self._show()

    def _show(self) -> None:
        from core.runs.sweep import MANY_RUNS

        blocker = queue_blocker(self.desk)
        grid = self.grid
        many = grid is not None and len(grid.points) > MANY_RUNS
        self.sure.setVisible(many)
        if blocker or not self.rows:
            self._words.setText(blocker or tr("Choose a setting to vary."))
        elif grid is not None:
            self._words.setText(_words_of(grid))
            self.sure.setText(tr("Yes, make all {n} runs", n=str(len(grid.points))))
            self.sure.setAccessibleName(self.sure.text())
            self.sure.updateGeometry()
        elif self._settle.isActive() or self._task is not None:
            self._words.setText(tr("Planning the runs…"))
        else:
            self._words.setText("")
        self._words.setVisible(bool(self._words.text()))
        self.go.setEnabled(grid is not None and not blocker and (not many or self.sure.isChecked()))

    # --- making

    def add(self) -> None:
        """Makes the runs and puts them into the queue."""
        grid = self.grid
        if grid is not None:
            self.go.setEnabled(False)
            self.desk.queue.add_sweep(grid.name, grid.points, grid.prepared, lambda group: self._made(group.name))

    def _made(self, name: str) -> None:
        self.desk.runs.refresh()
        self._changed()  # the next one gets another name
        self.made.emit(name)


def _words_of(grid: Grid) -> str:
    text = tr_count(len(grid.points), "One run", "{n} runs")
    if grid.seconds:
        text = tr("{words}, about {time} together", words=text, time=format_duration(grid.seconds))
    if grid.peak_bytes:
        text = tr("{words}, at most {size} of memory", words=text, size=format_bytes(grid.peak_bytes))
    text = tr("{words}.", words=text)
    if grid.without_room:
        late = tr_count(
            grid.without_room,
            "One of them does not fit now; it is left out if it still does not when its turn comes.",
            "{n} of them do not fit now; they are left out if they still do not when their turn comes.",
        )
        return f"{text} {late}"
    return text


def _grid(base: "Prepared", texts: list[str], *, follows: bool) -> Grid:
    """The runs of a sweep with their plans.

    Raises:
        UserError: a value does not fit, or there are too many runs.
    """
    from core.runs.sweep import points, prepare_points, read_axes
    from core.runs.sweep_groups import group_name

    axes = read_axes(texts)
    if all(len(axis.values) == 1 for axis in axes):
        raise UserError(error("", "There is one value for each setting, so there would be one run.", "Add values."))
    name = group_name(base.spec, time.localtime())
    found = points(base.spec, axes, name, alpha_follows=follows)
    prepared = prepare_points(found, base=base)
    return Grid(
        name, tuple(replace(point, spec=one.spec) for point, one in zip(found, prepared, strict=True)), prepared
    )
