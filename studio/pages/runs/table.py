"""The table of runs: its rows, and how status and loss curve are drawn in it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from core.runs.history import RunSummary
from core.units import format_duration
from studio.look.theme import look
from studio.pages.runs.stories import Spark
from studio.words import tr

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("name", "status", "curve", "base", "method", "steps", "loss", "validation", "time", "date")
SORT_ROLE = Qt.ItemDataRole.UserRole + 1
RUN_ROLE = Qt.ItemDataRole.UserRole + 2
_NUMBERS = frozenset(("steps", "loss", "validation", "time"))


def status_words(status: str) -> tuple[str, str]:
    """What a status is called, and the tone of its pill."""
    return {
        "new": (tr("not started"), "muted"),
        "running": (tr("running"), "accent"),
        "completed": (tr("completed"), "good"),
        "stopped": (tr("stopped"), "warn"),
        "failed": (tr("failed"), "bad"),
        "crashed": (tr("crashed"), "bad"),
        "lost": (tr("lost"), "bad"),
        "damaged": (tr("damaged"), "bad"),
    }[status]


class RunsModel(QAbstractTableModel):
    """The runs as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: tuple[RunSummary, ...] = ()
        self.sparks: dict[Path, Spark] = {}
        self._titles = {
            "name": tr("Name"),
            "status": tr("Status"),
            "curve": tr("Loss curve"),
            "base": tr("Base model"),
            "method": tr("Method"),
            "steps": tr("Steps"),
            "loss": tr("Loss"),
            "validation": tr("Validation"),
            "time": tr("Duration"),
            "date": tr("Made"),
        }

    def show_runs(self, runs: tuple[RunSummary, ...]) -> None:
        """Takes a newer list; where the same runs are in it, only their cells change, so that a selection stays."""
        if [run.path for run in runs] == [run.path for run in self.runs]:
            self.runs = runs
            if runs:
                self.dataChanged.emit(self.index(0, 0), self.index(len(runs) - 1, len(COLUMNS) - 1))
            return
        self.beginResetModel()
        self.runs = runs
        self.endResetModel()

    def add_sparks(self, sparks: dict[Path, Spark]) -> None:
        """Takes curves that have been read."""
        self.sparks.update(sparks)
        if sparks and self.runs:
            column = COLUMNS.index("curve")
            self.dataChanged.emit(self.index(0, column), self.index(len(self.runs) - 1, column))

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """One row for each run."""
        return 0 if parent is not None and parent.isValid() else len(self.runs)

    def columnCount(self, parent: Index | None = None) -> int:  # noqa: N802 (Qt's name)
        """See `COLUMNS`."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 (Qt's name)
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """The columns' titles."""
        if orientation is Qt.Orientation.Horizontal:
            name = COLUMNS[section]
            if role == Qt.ItemDataRole.DisplayRole:
                return self._titles[name]
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(name)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A cell."""
        run, name = self.runs[index.row()], COLUMNS[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return cell(run, name)
        if role == SORT_ROLE:
            return sort_value(run, name)
        if role == RUN_ROLE:
            return run
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(name)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(run)
        return None


def cell(run: RunSummary, name: str) -> str:
    """What a cell says."""
    if name == "status":
        return status_words(run.status)[0]
    if name == "steps":
        return f"{run.step:,} / {run.steps:,}" if run.steps else (f"{run.step:,}" if run.step else "–")
    if name in ("loss", "validation"):
        value = run.loss if name == "loss" else run.validation_loss
        return f"{value:.3f}" if value is not None else "–"
    if name == "time":
        return format_duration(run.seconds) if run.seconds else "–"
    if name == "date":
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created)) if run.created else "–"
    if name == "base":
        return Path(run.base).name if run.base else "–"
    return {"name": run.name, "method": run.method or "–"}.get(name, "")


def sort_value(run: RunSummary, name: str) -> Any:
    """What a column is sorted by; unknown numbers come last."""
    unknown = float("inf")
    values: dict[str, Any] = {
        "steps": run.step,
        "loss": run.loss if run.loss is not None else unknown,
        "validation": run.validation_loss if run.validation_loss is not None else unknown,
        "time": run.seconds,
        "date": run.created,
        "curve": run.loss if run.loss is not None else unknown,
    }
    return values.get(name, cell(run, name).casefold())


def tip(run: RunSummary) -> str:
    """The whole name, where it lies, and what is wrong with it."""
    return "\n".join(text for text in (run.name, str(run.path)) if text)


def _alignment(name: str) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if name in _NUMBERS else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def paint_pill(painter: QPainter, box: QRect, words: str, tone: str) -> None:
    """Words on a rounded ground, at the left of a cell; tones are "good", "warn", "bad", "accent" and "muted"."""
    c = look().colors
    back = {"good": c.good_soft, "warn": c.warn_soft, "bad": c.bad_soft, "accent": c.accent_soft}.get(tone, c.hover)
    front = {"good": c.good, "warn": c.warn, "bad": c.bad, "accent": c.accent}.get(tone, c.muted)
    metrics = painter.fontMetrics()
    width = min(metrics.horizontalAdvance(words) + 18, box.width() - 8)
    height = metrics.height() + 4
    pill = QRectF(box.left() + 4, box.center().y() - height / 2 + 1, width, height)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(back))
    painter.drawRoundedRect(pill, height / 2, height / 2)
    painter.setPen(QColor(front))
    painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, words)
    painter.restore()


class PillDelegate(QStyledItemDelegate):
    """Draws the status as a pill."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """The cell without its text, then the pill."""
        run = index.data(RUN_ROLE)
        words, tone = status_words(run.status)
        super().paint(painter, option, index)
        paint_pill(painter, option.rect, words, tone)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802 (Qt's name)
        """Room for the pill."""
        size = super().sizeHint(option, index)
        return QSize(size.width() + 20, size.height())

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:  # noqa: N802 (Qt's name)
        """The text is drawn by `paint`."""
        super().initStyleOption(option, index)
        option.text = ""


class SparkDelegate(QStyledItemDelegate):
    """Draws the loss curve of a run."""

    def __init__(self, model: RunsModel) -> None:
        super().__init__()
        self._model = model

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """The cell, then the curve."""
        super().paint(painter, option, index)
        spark = self._model.sparks.get(index.data(RUN_ROLE).path)
        if spark is None or len(spark.losses) < 2:
            return
        box = QRectF(option.rect).adjusted(8, 7, -8, -7)
        draw_curve(painter, box, spark.losses)


def draw_curve(painter: QPainter, box: QRectF, losses: Sequence[float]) -> None:
    """A line through values, as high and wide as the box."""
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0
    path = QPainterPath()
    for number, value in enumerate(losses):
        x = box.left() + box.width() * number / (len(losses) - 1)
        y = box.bottom() - box.height() * (value - low) / span
        path.lineTo(x, y) if number else path.moveTo(x, y)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(look().colors.series[0]), 1.5))
    painter.drawPath(path)
    painter.restore()
