"""The queue itself: its runs in their order, and what can be done with them."""

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from core.runs.queue import Entry
from core.units import format_duration
from studio.look import tokens
from studio.look.theme import look
from studio.pages.queue.table import COLUMNS, ENTRY_ROLE, QueueModel, StateDelegate
from studio.state.desk import Desk
from studio.state.queue_entry import add_to_queue, queue_blocker
from studio.widgets.basics import Empty, button, label, row
from studio.widgets.flow import FlowLayout
from studio.widgets.tables import as_list
from studio.words import say, tr, tr_count

_LEAST_IMPORTANT = (("group", 900), ("validation", 760), ("loss", 660), ("steps", 560))
"""Columns that go first where the page is narrow, and the width below which each goes."""


class Waiting(QWidget):
    """The runs that wait, the one at work, and what became of those before."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.model = QueueModel()
        self.model.placed.connect(desk.queue.place)
        self.table = self._make_table()
        self.buttons: dict[str, QPushButton] = {}
        self._words = label("", "strong", wrap=True)
        self._words.setObjectName("queue-state")
        self._note = label("", "muted", wrap=True)
        self._note.setObjectName("queue-note")
        self._stack = QStackedWidget()
        self._stack.addWidget(self._make_list())
        self._stack.addWidget(self._make_empty())
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self._stack)
        desk.queue.changed.connect(self.refresh)
        desk.runs.listed.connect(self.refresh)
        desk.session.plan_changed.connect(self._show_add)
        desk.session.busy_changed.connect(self._show_add)
        self.refresh()
        self._show_add()

    # --- making

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setObjectName("queue-table")
        table.setAccessibleName(tr("Queue"))
        table.setModel(self.model)
        as_list(table)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        table.setDragDropOverwriteMode(False)
        table.setMinimumHeight(look().px(160))
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(look().px(40))
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(COLUMNS.index("name"), QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(look().px(80))
        self._pills = StateDelegate()
        table.setItemDelegateForColumn(COLUMNS.index("state"), self._pills)
        table.doubleClicked.connect(self.open)
        table.selectionModel().selectionChanged.connect(self._show_deeds)
        self.model.modelReset.connect(self._show_deeds)
        return table

    def _make_list(self) -> QWidget:
        queue = self.desk.queue
        top = FlowLayout()
        for name, title, icon_name, deed in (
            ("start", tr("Start the queue"), "play", queue.start),
            ("stop", tr("Stop after this run"), "square", queue.stop_after_this),
            ("pause", tr("Pause now"), "pause", queue.pause),
            ("add", tr("Add the present settings"), "plus", lambda: add_to_queue(self.desk)),
        ):
            role = "primary" if name == "start" else ""
            self.buttons[name] = button(title, deed, icon_name=icon_name, name=f"queue-{name}", role=role)
            top.addWidget(self.buttons[name])
        below = FlowLayout()
        for name, title, icon_name, act, keys in (
            ("first", tr("To the front"), "flag", lambda: self._move("first"), "Alt+Home"),
            ("up", tr("Up"), "chevron-up", lambda: self._move("up"), "Alt+Up"),
            ("down", tr("Down"), "chevron-down", lambda: self._move("down"), "Alt+Down"),
            ("open", tr("Open"), "activity", self.open, "Return"),
            ("remove", tr("Remove"), "x", self.remove, "Delete"),
            ("clear", tr("Remove all that have ended"), "eraser", queue.clear_ended, ""),
        ):
            made = button(title, act, icon_name=icon_name, name=f"queue-{name}")
            self.buttons[name] = made
            below.addWidget(made)
            if keys:
                shortcut = QShortcut(QKeySequence(keys), self.table)
                shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
                shortcut.activated.connect(made.click)
        holder = QWidget()
        box = QVBoxLayout(holder)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        box.addWidget(self._words)
        box.addLayout(top)
        box.addWidget(self.table, 1)
        box.addWidget(self._note)
        box.addLayout(below)
        return holder

    def _make_empty(self) -> QWidget:
        self._add_first = button(
            tr("Add the present settings"),
            lambda: add_to_queue(self.desk),
            icon_name="plus",
            role="primary",
            name="queue-add-first",
        )
        self._why = label("", "muted", wrap=True)
        self._why.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        empty = Empty(
            "list",
            tr("Nothing waits"),
            tr("Runs in the queue are trained one after another, such as over night, also while the window is closed."),
            self._add_first,
        )
        holder = QWidget()
        box = QVBoxLayout(holder)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(empty, 3)
        box.addLayout(row(self._why))
        box.addStretch(1)
        return holder

    # --- showing

    def refresh(self) -> None:
        """Shows the queue as it is now, and keeps what is selected."""
        chosen = self.selected()
        queue = self.desk.queue.now.queue
        self.model.show_entries(queue.entries, self.desk.runs.all)
        self._stack.setCurrentIndex(0 if queue.entries else 1)
        if chosen is not None:
            self._choose(chosen.path)
        self._words.setText(self._state_words())
        self._show_deeds()

    def _state_words(self) -> str:
        now = self.desk.queue.now
        count, left = len(now.queue.waiting), now.queue.seconds_left
        words = {
            "empty": tr("Nothing waits any more."),
            "waiting": tr("The queue has not been started."),
            "going": tr("The queue is at work, also when the window is closed."),
            "pausing": tr("Pausing: the present run saves its state first…"),
            "stopping": tr("The queue stops after the present run."),
            "paused": tr("The queue is paused."),
            "interrupted": tr("The queue broke off; what was at work goes on from its last saved state."),
        }[now.state]
        if now.queue.waiting_for:
            words = tr("The queue waits for the run “{run}” to end.", run=now.queue.waiting_for)
        if not count:
            return words
        waits = tr_count(count, "One run waits", "{n} runs wait")
        if left:
            waits = tr("{words}, about {time}", words=waits, time=format_duration(left))
        return f"{words} {tr('{words}.', words=waits)}"

    def selected(self) -> Entry | None:
        """The run that is selected."""
        rows = self.table.selectionModel().selectedRows()
        entry: Entry | None = rows[0].data(ENTRY_ROLE) if rows else None
        return entry

    def _choose(self, path: Path) -> None:
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        for number, entry in enumerate(self.model.entries):
            index = self.model.index(number, 0)
            if entry.path == path and not self.table.selectionModel().isSelected(index):
                self.table.selectionModel().setCurrentIndex(index, flags)

    def _show_deeds(self) -> None:
        entry = self.selected()
        for name in self.buttons.keys() - {"add"}:
            obstacle = self._obstacle(name, entry)
            self.buttons[name].setEnabled(not obstacle)
            self.buttons[name].setToolTip(obstacle)
        go_on = self.desk.queue.now.state in ("paused", "interrupted", "pausing", "stopping")
        self.buttons["start"].setText(tr("Go on") if go_on else tr("Start the queue"))
        self._note.setText(f"{entry.name}: {say(entry.reason)}" if entry is not None and entry.reason else "")
        self._note.setVisible(bool(self._note.text()))

    def _show_add(self) -> None:
        blocker = queue_blocker(self.desk)
        for made in (self.buttons["add"], self._add_first):
            made.setEnabled(not blocker)
            made.setToolTip(blocker)
        self._why.setText(blocker)
        self._why.setVisible(bool(blocker))

    def _obstacle(self, name: str, entry: Entry | None) -> str:
        """Why something cannot be done now; empty when it can."""
        state = self.desk.queue.now.state
        if name == "start":
            if state == "going":
                return tr("The queue is at work.")
            return tr("Nothing waits any more.") if state == "empty" else ""
        if name in ("stop", "pause"):
            possible = ("going", "stopping") if name == "pause" else ("going",)
            return "" if state in possible else tr("The queue is not at work.")
        if name == "clear":
            return "" if self.desk.queue.now.queue.ended else tr("No run has ended.")
        if entry is None:
            return tr("Select a run first.")
        if name == "open":
            fresh = entry.state in ("queued", "skipped") and not entry.folder.events().exists()
            return tr("This run has not been started.") if fresh else ""
        if name == "remove":
            at_work = entry.state == "running" and state != "interrupted"
            return tr("A run that is at work is stopped first.") if at_work else ""
        return "" if entry.state == "queued" else tr("Only runs that wait have a place that can change.")

    # --- deeds

    def _move(self, move: str) -> None:
        entry = self.selected()
        if entry is not None:
            self.desk.queue.move(entry.path, move)  # type: ignore[arg-type]  # one of the names above

    def open(self) -> None:
        """Shows the selected run on the Training page."""
        entry = self.selected()
        if entry is not None and not self._obstacle("open", entry):
            self.desk.runs.watch(entry.folder)
            self.desk.go("training")

    def remove(self) -> None:
        """Takes the selected run out of the queue; the Runs page still has it."""
        entry = self.selected()
        if entry is not None and not self._obstacle("remove", entry):
            self.desk.queue.remove((entry.path,))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Leaves out the least important columns where the page is narrow."""
        super().resizeEvent(event)
        for name, least in _LEAST_IMPORTANT:
            self.table.setColumnHidden(COLUMNS.index(name), self.width() < look().px(least))
