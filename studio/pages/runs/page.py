"""The page “Runs”: the list, what can be done with a run, and the comparison of several."""

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, QPoint, QSortFilterProxyModel, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from core.errors import Problem, UserError
from core.runs.history import RunSummary
from studio.look import tokens
from studio.look.theme import look
from studio.pages.page import Page
from studio.pages.runs.comparison import Comparison
from studio.pages.runs.evaluation import EvaluationView
from studio.pages.runs.further import FurtherCard
from studio.pages.runs.stories import Story, has_saved_state, read_sparks, read_stories
from studio.pages.runs.table import COLUMNS, RUN_ROLE, SORT_ROLE, PillDelegate, RunsModel, SparkDelegate
from studio.state.desk import Action, Desk
from studio.state.runs import spec_of
from studio.widgets.basics import Empty, button, label
from studio.widgets.flow import FlowLayout
from studio.widgets.scrolled import ScrolledContent
from studio.widgets.tables import as_list
from studio.words import say, tr
from studio.workers.task import Task, start_task

_LEAST_IMPORTANT = (
    ("date", 1120),
    ("method", 1040),
    ("base", 900),
    ("time", 760),
    ("validation", 680),
    ("curve", 580),
)
"""Columns that go first where the page is narrow, and the width below which each goes."""


class RunsPage(Page):
    """All runs."""

    scrolls = False

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, tr("Runs"), tr("Every run on this computer, and what became of it."))
        self.model = RunsModel()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.model)
        self._sorted.setSortRole(SORT_ROLE)
        self._sorted.setFilterKeyColumn(-1)
        self._sorted.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._sparks: Task | None = None
        self._reading: Task | None = None
        self.comparison: Comparison | None = None
        self._scroller = QScrollArea()
        self.table = self._make_table()
        self._note = label("", "muted", wrap=True)
        self._note.setObjectName("runs-note")
        self.buttons: dict[str, QPushButton] = {}
        self._stack = QStackedWidget()
        self._stack.addWidget(self._make_list())
        self._stack.addWidget(self._make_empty())
        self.form = FurtherCard(desk)
        self.form.asked.connect(self._show_form)
        self.form.begun.connect(lambda: desk.go("training"))
        self.form.closed.connect(self._leave_form)
        desk.runs.further_asked.connect(self.form.ask_about)
        self._further = _scrolling(self.form)
        self._stack.addWidget(self._further)
        self.evaluation = EvaluationView(desk)
        self._evaluating = _scrolling(self.evaluation)
        self.evaluation.asked.connect(self._show_evaluation)
        self.evaluation.closed.connect(self._leave_form)
        self._stack.addWidget(self._evaluating)
        self._scroller.setParent(self)
        self._scroller.hide()
        self.add(self._stack, 1)
        desk.runs.listed.connect(self.refresh)
        desk.runs.current_ended.connect(desk.runs.refresh)
        self.refresh()

    # --- making

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setObjectName("runs-table")
        table.setAccessibleName(tr("Runs"))
        table.setModel(self._sorted)
        as_list(table)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setSortingEnabled(True)
        table.sortByColumn(COLUMNS.index("date"), Qt.SortOrder.DescendingOrder)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(look().px(40))
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(COLUMNS.index("name"), QHeaderView.ResizeMode.Stretch)
        curve = COLUMNS.index("curve")
        header.setSectionResizeMode(curve, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(curve, look().px(128))
        header.setMinimumSectionSize(look().px(80))
        self._pills, self._curves = PillDelegate(), SparkDelegate(self.model)
        table.setItemDelegateForColumn(COLUMNS.index("status"), self._pills)
        table.setItemDelegateForColumn(curve, self._curves)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._show_menu)
        table.doubleClicked.connect(self.open)
        table.selectionModel().selectionChanged.connect(self._selection_changed)
        return table

    def _make_list(self) -> QWidget:
        deeds = (
            ("open", tr("Open"), "activity", self.open, "Return"),
            ("compare", tr("Compare"), "git-compare", self.compare, "Ctrl+M"),
            ("evaluate", tr("Evaluate"), "scale", self.evaluate, "Ctrl+E"),
            ("duplicate", tr("Use as new spec"), "copy", self.duplicate, "Ctrl+D"),
            ("resume", tr("Resume"), "play", self.resume, "Ctrl+R"),
            ("stop", tr("Stop"), "square", self.stop, "Ctrl+."),
            ("further", tr("Train further"), "skip-forward", self.further, "Ctrl+Shift+R"),
            ("continue", tr("Continue on new data"), "database", self.continue_on, "Ctrl+Shift+D"),
            ("folder", tr("Open folder"), "folder-open", self.open_folder, "Ctrl+Shift+F"),
            ("delete", tr("Delete"), "trash-2", self.delete, "Delete"),
        )
        flow = FlowLayout()
        for name, title, icon_name, deed, keys in deeds:
            made = button(
                title, deed, icon_name=icon_name, name=f"runs-{name}", role="danger" if name == "delete" else ""
            )
            self.buttons[name] = made
            flow.addWidget(made)
            shortcut = QShortcut(QKeySequence(keys), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(made.click)
        self.filter = QLineEdit()
        self.filter.setObjectName("runs-filter")
        self.filter.setPlaceholderText(tr("Filter by name, model or status"))
        self.filter.setAccessibleName(tr("Filter the runs"))
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._sorted.setFilterFixedString)
        holder = QWidget()
        box = QVBoxLayout(holder)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        box.addWidget(self.filter)
        box.addLayout(flow)
        box.addWidget(self.table, 1)
        box.addWidget(self._note)
        self.back = button(tr("Back to the list"), self.close_comparison, icon_name="chevron-left", name="runs-back")
        self.head.addWidget(self.back)
        self.queue = button(tr("Queue and sweeps"), lambda: self.desk.go("queue"), icon_name="list", name="runs-queue")
        self.head.addWidget(self.queue)
        self.back.hide()
        return holder

    def _make_empty(self) -> QWidget:
        go = button(tr("Go to Training"), lambda: self.desk.go("training"), role="primary", name="runs-go")
        return Empty(
            "history", tr("No runs yet"), tr("Each training is kept here, with its curves and its result."), go
        )

    # --- the list

    def refresh(self) -> None:
        """Shows the newest list, and keeps what is selected."""
        chosen = {run.path for run in self.selected()}
        self.model.show_runs(self.desk.runs.all)
        self._choose(chosen)
        if self.comparison is None and self.form.folder is None and self._stack.currentWidget() is not self._evaluating:
            self._stack.setCurrentIndex(0 if self.desk.runs.all else 1)
        self._selection_changed()
        if self._sparks is None and self.desk.runs.all:
            folders, known = tuple(run.folder for run in self.desk.runs.all), dict(self.model.sparks)
            self._sparks = start_task(
                lambda report: read_sparks(folders, known, report),
                on_done=self._sparks_read,
                on_failed=self._sparks_failed,
                parent=self,
            )

    def _sparks_read(self, sparks: dict[Path, object]) -> None:
        self._sparks = None
        self.model.add_sparks(sparks)  # type: ignore[arg-type]  # a signal carries any object

    def _sparks_failed(self, failure: Exception) -> None:
        self._sparks = None
        raise failure

    def _choose(self, paths: set[Path]) -> None:
        selection = self.table.selectionModel()
        flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        for number in range(self._sorted.rowCount()):
            index = self._sorted.index(number, 0)
            if index.data(RUN_ROLE).path in paths and not selection.isSelected(index):
                selection.select(index, flags)

    def selected(self) -> list[RunSummary]:
        """The runs that are selected, from top to bottom."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self._sorted.index(row, 0).data(RUN_ROLE) for row in rows]

    def _selection_changed(self) -> None:
        chosen = self.selected()
        for name, made in self.buttons.items():
            obstacle = self._obstacle(name, chosen)
            made.setEnabled(not obstacle)
            made.setToolTip(obstacle)
        only = chosen[0] if len(chosen) == 1 else None
        self._note.setText(f"{only.name}: {say(only.problem)}" if only is not None and only.problem else "")
        self._note.setVisible(bool(self._note.text()))

    def _obstacle(self, name: str, chosen: list[RunSummary]) -> str:
        """Why a deed cannot be done with what is selected; empty when it can."""
        if not chosen:
            return tr("Select a run first.")
        if name == "compare":
            return "" if len(chosen) > 1 else tr("Select two or more runs.")
        if name == "delete":
            return tr("A run that is at work is stopped first.") if _running(chosen) else ""
        if len(chosen) > 1:
            return tr("Select one run only.")
        return self._obstacle_of(name, chosen[0])

    def _obstacle_of(self, name: str, run: RunSummary) -> str:
        """The same for one run."""
        if name == "folder":
            return ""
        if run.status == "damaged":
            return tr("This run’s folder is damaged.")
        if name == "stop":
            return "" if run.status == "running" else tr("This run is not at work.")
        if name == "open" and run.status == "new":
            return tr("This run has not been started.")
        if name == "evaluate":
            return "" if run.status == "completed" else tr("This run is not complete yet; resume it first.")
        if name in ("further", "continue"):
            return self._cannot_go_further(name, run)
        return self._cannot_resume(run) if name == "resume" else ""

    def _cannot_go_further(self, name: str, run: RunSummary) -> str:
        if run.status != "completed":
            return tr("This run is not complete yet; resume it first.")
        if name == "further":
            return "" if has_saved_state(run.folder) else tr("Nothing was saved to go on from.")
        return (
            tr("This run has trained the whole model; take its result as the base model.")
            if run.method == "full"
            else ""
        )

    def _cannot_resume(self, run: RunSummary) -> str:
        if run.status == "running":
            return tr("This run is at work.")
        if self.desk.runs.is_live:
            return tr("Another run is at work; stop it first.")
        if run.status == "completed":
            return tr("This run is complete.")
        return "" if has_saved_state(run.folder) else tr("Nothing was saved to go on from.")

    # --- deeds

    def open(self) -> None:
        """Shows the selected run on the Training page."""
        for run in self._one("open"):
            self.desk.runs.watch(run.folder)
            self.desk.go("training")

    def duplicate(self) -> None:
        """Takes the run's settings as a new spec; the one before can be had back with Undo."""
        for run in self._one("duplicate"):
            try:
                spec = spec_of(run.folder)
            except UserError as failure:
                self.desk.show_problems(failure.problems)
                return
            self.desk.session.set_spec(spec)
            undo = Action(tr("Undo"), lambda: _ignore(self.desk.session.undo()))
            self.desk.tell(tr("The settings of {run} are the new spec.", run=run.name), actions=(undo,))
            self.desk.go("model")

    def resume(self) -> None:
        """Goes on with the selected run."""
        for run in self._one("resume"):
            self.desk.runs.resume(run.folder)
            self.desk.go("training")

    def further(self) -> None:
        """Asks how the selected run is to be trained further."""
        for run in self._one("further"):
            self.form.ask_about(run.folder)

    def evaluate(self) -> None:
        """Shows what was measured of the selected run, and offers to measure it."""
        for run in self._one("evaluate"):
            self.evaluation.ask_about(run.folder)

    def continue_on(self) -> None:
        """Makes settings of a new run that goes on from the selected one's adapter, with data still to be named."""
        from core.runs.start_from import continuation
        from core.runs.store import load_facts

        for run in self._one("continue"):
            try:
                spec = continuation(run.folder, load_facts(run.folder).model)
            except UserError as failure:
                self.desk.show_problems(failure.problems)
                return
            self.desk.session.set_spec(spec)
            undo = Action(tr("Undo"), lambda: _ignore(self.desk.session.undo()))
            self.desk.tell(
                tr("The next run goes on from the adapter of {run}.", run=run.name),
                tr("Choose the data that it is to learn from now."),
                actions=(undo,),
            )
            self.desk.go("data")

    def stop(self) -> None:
        """Asks the selected run to stop and save."""
        for run in self._one("stop"):
            try:
                self.desk.runs.stop(run.folder)
            except OSError as failure:
                self.desk.complain(
                    tr("The request could not be placed: {reason}.", reason=failure.strerror or str(failure)),
                    tr("Check that the disk of the run’s folder is not full."),
                )
                return
            self.desk.tell(tr("{run} saves its state and stops.", run=run.name))

    def open_folder(self) -> None:
        """Opens the run's folder in the system's file manager."""
        for run in self._one("folder"):
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.path)))

    def delete(self) -> None:
        """Moves the selected runs into the trash; the notice takes it back."""
        chosen = self.selected()
        if self._obstacle("delete", chosen):
            return
        moved = []
        for run in chosen:
            place = self.desk.runs.delete(run.folder)
            if place is not None:
                moved.append((place, run.path))
        if moved:
            names = ", ".join(path.name for _, path in moved)
            undo = Action(tr("Undo"), lambda: self._bring_back(moved))
            self.desk.tell(tr("{runs} moved to the trash.", runs=names), actions=(undo,))

    def _bring_back(self, moved: list[tuple[Path, Path]]) -> None:
        for place, home in moved:
            try:
                if home.exists():
                    raise FileExistsError(f"{home} exists again")
                place.rename(home)
            except OSError as failure:
                self.desk.complain(
                    tr("The run could not be brought back: {reason}.", reason=failure.strerror or str(failure)),
                    tr("It lies in {path}.", path=str(place)),
                )
        self.desk.runs.refresh()

    def _one(self, name: str) -> list[RunSummary]:
        chosen = self.selected()
        return [] if self._obstacle(name, chosen) else chosen

    def _show_menu(self, at: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for made in self.buttons.values():
            action = menu.addAction(made.icon(), made.text(), made.click)
            action.setEnabled(made.isEnabled())
        menu.popup(self.table.viewport().mapToGlobal(at))

    # --- comparison

    def compare(self) -> None:
        """Reads the selected runs and shows them side by side."""
        chosen = self.selected()
        if self._obstacle("compare", chosen) or self._reading is not None:
            return
        folders = tuple(run.folder for run in chosen)
        self._reading = start_task(
            lambda report: read_stories(folders, report),
            on_done=self._stories_read,
            on_failed=self._not_read,
            parent=self,
        )

    def _stories_read(self, result: tuple[tuple[Story, ...], tuple[Problem, ...]]) -> None:
        self._reading = None
        stories, problems = result
        self.desk.show_problems(problems)
        if len(stories) < 2:
            return
        self.close_comparison()
        self.comparison = Comparison(self.desk, stories)
        self._scroller = _scrolling(self.comparison)
        self._stack.setCurrentIndex(self._stack.addWidget(self._scroller))
        self.back.show()
        self.back.setFocus()

    def _show_form(self) -> None:
        self.close_comparison()
        self._stack.setCurrentWidget(self._further)

    def _show_evaluation(self) -> None:
        self.close_comparison()
        self._stack.setCurrentWidget(self._evaluating)

    def _leave_form(self) -> None:
        self._stack.setCurrentIndex(0 if self.desk.runs.all else 1)
        self.table.setFocus()

    def _not_read(self, failure: Exception) -> None:
        self._reading = None
        raise failure

    def close_comparison(self) -> None:
        """Goes back to the list."""
        if self.comparison is not None:
            self._stack.removeWidget(self._scroller)
            self._scroller.deleteLater()
            self.comparison = None
        self.back.hide()
        self._stack.setCurrentIndex(0 if self.desk.runs.all else 1)
        self.table.setFocus()

    def shown(self) -> None:
        """Asks for the newest list."""
        self.desk.runs.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Leaves out the least important columns where the page is narrow."""
        super().resizeEvent(event)
        for name, least in _LEAST_IMPORTANT:
            self.table.setColumnHidden(COLUMNS.index(name), self.width() < look().px(least))


def _scrolling(content: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    holder = ScrolledContent()
    holder.setObjectName("pageBody")
    box = QVBoxLayout(holder)
    box.setContentsMargins(0, 0, tokens.SPACE_2, 0)
    box.addWidget(content)
    area.setWidget(holder)
    return area


def _running(chosen: list[RunSummary]) -> bool:
    return any(run.status == "running" for run in chosen)


def _ignore(_value: object) -> None:
    """An action returns nothing."""
