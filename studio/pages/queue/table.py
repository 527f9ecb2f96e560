"""The table of the queue: its rows, how states are drawn in it, and how rows are dragged to another place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QMimeData, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from core.runs.history import RunSummary
from core.runs.queue import Entry
from core.units import format_duration
from studio.pages.runs.table import paint_pill
from studio.words import say, tr

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("name", "state", "steps", "loss", "validation", "time", "group")
ENTRY_ROLE = Qt.ItemDataRole.UserRole + 1
_NUMBERS = frozenset(("steps", "loss", "validation", "time"))
_MIME = "application/x-lowrank-queue-row"


def state_words(state: str) -> tuple[str, str]:
    """What a state is called, and the tone of its pill."""
    return {
        "queued": (tr("waits"), "muted"),
        "running": (tr("running"), "accent"),
        "done": (tr("done"), "good"),
        "failed": (tr("failed"), "bad"),
        "skipped": (tr("left out"), "warn"),
        "stopped": (tr("stopped"), "warn"),
    }[state]


class QueueModel(QAbstractTableModel):
    """The entries as rows.

    Attributes:
        placed: a run that waits was dragged: its folder, and its new place among those that wait.
    """

    placed = Signal(object, int)

    def __init__(self) -> None:
        super().__init__()
        self.entries: tuple[Entry, ...] = ()
        self.runs: dict[Path, RunSummary] = {}
        self._titles = {
            "name": tr("Run"),
            "state": tr("State"),
            "steps": tr("Steps"),
            "loss": tr("Loss"),
            "validation": tr("Validation"),
            "time": tr("Duration"),
            "group": tr("Sweep"),
        }

    def show_entries(self, entries: tuple[Entry, ...], runs: Sequence[RunSummary]) -> None:
        """Takes a newer queue, and what is known of its runs; a selection stays where the order does."""
        self.runs = {run.path: run for run in runs}
        same = [entry.path for entry in entries] == [entry.path for entry in self.entries]
        if not same:
            self.beginResetModel()
        self.entries = entries
        if not same:
            self.endResetModel()
        elif entries:
            self.dataChanged.emit(self.index(0, 0), self.index(len(entries) - 1, len(COLUMNS) - 1))

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """One row for each run."""
        return 0 if parent is not None and parent.isValid() else len(self.entries)

    def columnCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """See `COLUMNS`."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 (Qt's name)
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The columns' titles."""
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self._titles[COLUMNS[section]]
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(COLUMNS[section])
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A cell."""
        entry, name = self.entries[index.row()], COLUMNS[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.cell(entry, name)
        if role == ENTRY_ROLE:
            return entry
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(name)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(text for text in (entry.name, say(entry.reason), str(entry.path)) if text)
        return None

    def cell(self, entry: Entry, name: str) -> str:
        """What a cell says."""
        run = self.runs.get(entry.path)
        if name in ("name", "group"):
            return str(getattr(entry, name)) or "–"
        if name == "state":
            return state_words(entry.state)[0]
        if name == "time":
            begun = run is not None and run.seconds and (entry.state != "queued" or run.step)
            if begun and run is not None:
                return format_duration(run.seconds)
            expected = entry.expected_seconds if entry.state in ("queued", "running") else 0.0
            return tr("about {time}", time=format_duration(expected)) if expected else "–"
        if name == "steps":
            return f"{run.step:,} / {run.steps:,}" if run is not None and run.steps else "–"
        value = None if run is None else run.loss if name == "loss" else run.validation_loss
        return f"{value:.3f}" if value is not None else "–"

    # --- dragging

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Runs that wait can be dragged, and dropped between others."""
        flags = super().flags(index)
        if not index.isValid():
            return flags | Qt.ItemFlag.ItemIsDropEnabled
        return flags | Qt.ItemFlag.ItemIsDragEnabled if self.entries[index.row()].state == "queued" else flags

    def supportedDropActions(self) -> Qt.DropAction:  # noqa: N802 (Qt's name)
        """Rows are moved."""
        return Qt.DropAction.MoveAction

    def mimeTypes(self) -> list[str]:  # noqa: N802 (Qt's name)
        """What a dragged row is."""
        return [_MIME]

    def mimeData(self, indexes: Sequence[QModelIndex]) -> QMimeData:  # noqa: N802 (Qt's name)
        """The dragged row."""
        data = QMimeData()
        data.setData(_MIME, str(self.entries[indexes[0].row()].path).encode() if indexes else b"")
        return data

    def dropMimeData(  # noqa: N802 (Qt's name)
        self, data: QMimeData, _action: Qt.DropAction, row: int, _column: int, parent: Index
    ) -> bool:
        """Says where it was dropped; the queue itself does the moving, and the view gets its order from there."""
        path = Path(bytes(data.data(_MIME).data()).decode())
        at = row if row >= 0 else parent.row() if parent.isValid() else len(self.entries)
        waiting = [entry.path for entry in self.entries if entry.state == "queued" and entry.path != path]
        before = {entry.path for entry in self.entries[:at]}
        self.placed.emit(path, sum(other in before for other in waiting))
        return False  # the view would take the row away else


def _alignment(name: str) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if name in _NUMBERS else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


class StateDelegate(QStyledItemDelegate):
    """Draws the state as a pill."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """The cell without its text, then the pill."""
        super().paint(painter, option, index)
        words, tone = state_words(index.data(ENTRY_ROLE).state)
        paint_pill(painter, option.rect, words, tone)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802 (Qt's name)
        """Room for the pill."""
        size = super().sizeHint(option, index)
        return QSize(size.width() + 20, size.height())

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:  # noqa: N802 (Qt's name)
        """The text is drawn by `paint`."""
        super().initStyleOption(option, index)
        option.text = ""
