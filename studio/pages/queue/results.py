"""What a sweep found: the curves of its runs over each other, and a table that can be sorted by any column."""

from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
)
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHeaderView, QTableView, QVBoxLayout, QWidget

from core.errors import UserError
from core.runs.sweep import described
from core.runs.sweep_groups import Group, find_group, list_groups
from core.runs.sweep_table import SweepRow, best_row, read_rows
from core.spec.run_spec import field_at
from core.units import format_bytes, format_count, format_duration
from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.pages.runs.comparison import shown
from studio.pages.runs.table import status_words
from studio.state.desk import Desk
from studio.widgets.basics import Empty, button, label, row
from studio.widgets.controls import CalmList
from studio.widgets.plots.curve_card import CurveCard
from studio.widgets.plots.curve_plot import CurvePlot
from studio.widgets.plots.smoothing import Smoother
from studio.widgets.tables import as_list
from studio.words import say, tr
from studio.workers.task import Task, start_task

Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole + 1
_SMOOTHING = 0.9
_SMOOTH_FROM = 20
"""Fewer steps than this are shown as they are: smoothed, they would all lie near the first one."""
_NUMBERS = (
    "trainable",
    "loss",
    "validation_loss",
    "best_validation_loss",
    "tokens_per_second",
    "memory_bytes",
    "seconds",
)

_LEAST_IMPORTANT = (("trainable", 1020), ("validation_loss", 940), ("memory_bytes", 860), ("tokens_per_second", 700))
"""Columns that go first where the page is narrow, and the width below which each goes."""


class SweepModel(QAbstractTableModel):
    """The runs of a sweep as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[SweepRow, ...] = ()
        self.best: SweepRow | None = None
        self.columns: tuple[str, ...] = ()
        self._titles = {
            "name": tr("Run"),
            "status": tr("Status"),
            "trainable": tr("Parameters"),
            "loss": tr("Loss"),
            "validation_loss": tr("Validation"),
            "best_validation_loss": tr("Best"),
            "tokens_per_second": tr("Tokens/s"),
            "memory_bytes": tr("Memory"),
            "seconds": tr("Duration"),
        }

    def show_rows(self, paths: tuple[str, ...], rows: tuple[SweepRow, ...]) -> None:
        """Takes other rows; ``paths`` are the settings that differ."""
        self.beginResetModel()
        self.rows, self.best = rows, best_row(rows)
        self.columns = ("name", *paths, "status", *_NUMBERS)
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """One row for each run."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """The settings that differ among them."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(  # noqa: N802 (Qt's name)
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The columns' titles."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        name = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._titles[name] if name in self._titles else say(field_at(name).setting.title)
        return _alignment(name) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A cell."""
        found, name = self.rows[index.row()], self.columns[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return cell(found, name)
        if role == SORT_ROLE:
            return sort_value(found, name)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(name)
        if role == Qt.ItemDataRole.DecorationRole and name == "name" and found is self.best:
            return icon("star", "accent", 16)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{found.run.name}\n{found.run.path}"
        return None


def cell(found: SweepRow, name: str) -> str:
    """What a cell says."""
    if name == "name":
        return found.run.name
    if name == "status":
        return status_words(found.run.status)[0]
    if name not in _NUMBERS:
        return shown(name, found.values.get(name))
    value = getattr(found, name)
    if value is None:
        return "–"
    if name == "trainable":
        return format_count(value)
    if name == "memory_bytes":
        return format_bytes(value)
    if name == "seconds":
        return format_duration(value)
    return f"{value:,.0f}" if name == "tokens_per_second" else f"{value:.4f}"


def sort_value(found: SweepRow, name: str) -> Any:
    """What a column is sorted by; unknown numbers come last."""
    if name in _NUMBERS:
        value = getattr(found, name)
        return float("inf") if value is None else float(value)
    value = found.values.get(name)
    return float(value) if isinstance(value, int | float) else cell(found, name).casefold()


def _alignment(name: str) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignLeft if name in ("name", "status") else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter


class Results(QWidget):
    """The sweeps there are, and one of them in full."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.group: Group | None = None
        self._wanted = ""
        self._task: Task | None = None
        self.choice = CalmList()
        self.choice.setObjectName("sweep-choice")
        self.choice.setAccessibleName(tr("Sweep that is shown"))
        self.choice.activated.connect(lambda _index: self.show_group(str(self.choice.currentData())))
        self.plot = CurvePlot(tr("Loss"), empty=tr("None of these runs has taken a step."))
        self.plot.setObjectName("sweep-plot")
        self.plot.setMinimumHeight(look().px(220))
        card = CurveCard(self.plot, "sweep")
        card.failed.connect(desk.complain)
        self._best = label("", "strong", wrap=True)
        self._best.setObjectName("sweep-best")
        self.model = SweepModel()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.model)
        self._sorted.setSortRole(SORT_ROLE)
        self.table = self._make_table()
        holder = QWidget()
        box = QVBoxLayout(holder)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        box.addLayout(row(self.choice, None))
        box.addWidget(self._best)
        box.addWidget(card, 3)
        box.addWidget(self.table, 2)
        self._make_first = button(tr("Make a sweep"), None, icon_name="plus", role="primary", name="sweep-first")
        empty = Empty(
            "git-compare",
            tr("No sweeps yet"),
            tr("A sweep trains the same settings with several ranks or learning rates, and compares what came of it."),
            self._make_first,
        )
        self.found, self.empty = holder, empty
        holder.hide()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(holder)
        outer.addWidget(empty)
        self.make_asked = self._make_first.clicked

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setObjectName("sweep-table")
        table.setAccessibleName(tr("Runs of the sweep"))
        table.setModel(self._sorted)
        as_list(table)
        table.setSortingEnabled(True)
        table.setMinimumHeight(look().px(140))
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(look().px(32))
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.model.modelReset.connect(self._arrange)
        header.setMinimumSectionSize(look().px(80))
        table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        table.doubleClicked.connect(self.open)
        return table

    def _arrange(self) -> None:
        """The name takes the room that is left; where that is little, the least important columns go."""
        for number, name in enumerate(self.model.columns):
            hidden = self.width() < look().px(dict(_LEAST_IMPORTANT).get(name, 0))
            self.table.setColumnHidden(number, hidden)
        if self.model.columns:
            self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Leaves out the least important columns where the page is narrow."""
        super().resizeEvent(event)
        self._arrange()

    def open(self, index: QModelIndex) -> None:
        """Shows a run on the Training page."""
        found = self.model.rows[self._sorted.mapToSource(index).row()]
        if found.run.status not in ("new", "damaged"):
            self.desk.runs.watch(found.run.folder)
            self.desk.go("training")

    def show_group(self, name: str = "") -> None:
        """Reads the sweeps and shows one, by default the one that was shown, or the newest."""
        self._wanted = name or self._wanted
        if self._task is not None:
            self._task.cancel()
        wanted = self._wanted
        self._task = start_task(
            lambda _report: _read(wanted), on_done=self._took, on_failed=self._not_read, parent=self
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being read."""
        return self._task is None

    def _took(self, result: tuple[tuple[str, ...], Group | None, tuple[SweepRow, ...]]) -> None:
        self._task = None
        names, group, rows = result
        self.found.setVisible(group is not None)
        self.empty.setVisible(group is None)
        if group is None:
            return
        if [self.choice.itemData(index) for index in range(self.choice.count())] != list(names):
            self.choice.clear()
            for name in names:
                self.choice.addItem(name, name)
        self.choice.setCurrentIndex(self.choice.findData(group.name))
        if self.group is None or self.group.name != group.name:
            self.plot.clear()
        self.group = group
        self._wanted = group.name
        if rows != self.model.rows:
            self.model.show_rows(group.paths, rows)
        best = self.model.best
        self._best.setText(
            tr("Lowest loss so far: {run}, with {values}.", run=best.run.name, values=described(best.values))
            if best is not None
            else tr("No run of this sweep has taken a step yet.")
        )
        for number, found in enumerate(rows):
            self._draw(number, found)

    def _not_read(self, failure: Exception) -> None:
        self._task = None
        if isinstance(failure, UserError):
            self._wanted = ""
            self.desk.show_problems(failure.problems)
        elif isinstance(failure, OSError):
            self.desk.complain(tr("The runs of the sweep cannot be read: {reason}.", reason=str(failure)))
        else:
            raise failure

    def _draw(self, number: int, found: SweepRow) -> None:
        color = number % len(look().colors.series)
        smooth, checked = f"{number}-smooth", f"{number}-validation"
        words = described(found.values)
        self.plot.set_series(smooth, words, color, "strong")
        self.plot.set_series(checked, tr("{run}, validation", run=words), color, "marked")
        history, evaluations = found.state.history, found.state.evaluations
        if len(history):
            losses = history.column("loss")
            drawn = Smoother(_SMOOTHING).extend(losses) if len(losses) >= _SMOOTH_FROM else losses
            self.plot.set_data(smooth, history.column("step"), drawn)
        if evaluations:
            self.plot.set_data(checked, [float(one.step) for one in evaluations], [one.loss for one in evaluations])


def _read(wanted: str) -> tuple[tuple[str, ...], Group | None, tuple[SweepRow, ...]]:
    groups = list_groups()
    if not groups:
        return (), None, ()
    group = find_group(wanted) if wanted else groups[0]
    return tuple(one.name for one in groups), group, read_rows(group)
