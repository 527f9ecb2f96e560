"""The engine's log: its end, growing while the run is live."""

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QFontMetrics, QGuiApplication, QHideEvent, QShowEvent, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from core.runs.layout import RunFolder
from studio.look import tokens
from studio.look.theme import mono_font
from studio.pages.training.log_tail import Piece, read_piece
from studio.state.desk import Desk
from studio.widgets.basics import button, label, row
from studio.words import tr
from studio.workers.task import Task, start_task

_EVERY_MS = 500
_MOST_LINES = 4000
_AT_ONCE = 8000


class LogView(QWidget):
    """Reads in the background while it is seen; stays at the end until the user scrolls up."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._folder: RunFolder | None = None
        self._offset = 0
        self._pending = ""
        self._task: Task | None = None
        self.text = QPlainTextEdit()
        self.text.setObjectName("engine-log")
        self.text.setAccessibleName(tr("Engine log"))
        self.text.setReadOnly(True)
        self.text.setUndoRedoEnabled(False)
        self.text.setFont(mono_font())
        self.text.setTabChangesFocus(True)
        self.text.setMaximumBlockCount(_MOST_LINES)
        self.text.setPlaceholderText(tr("The engine has printed nothing yet."))
        self.text.setMinimumHeight(16 * QFontMetrics(mono_font()).lineSpacing())
        self.where = label("", "muted", wrap=True, selectable=True)
        self.copy = button(tr("Copy"), self._copy, icon_name="copy", name="log-copy")
        self.folder = button(tr("Open folder"), self._open, icon_name="folder-open", name="log-folder")
        buttons = row(self.where, self.copy, self.folder)
        buttons.setStretch(0, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        box.addLayout(buttons)
        box.addWidget(self.text)
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.read)
        self._feeder = QTimer(self)
        self._feeder.setInterval(16)
        self._feeder.timeout.connect(self._feed)

    def show_folder(self, folder: RunFolder) -> None:
        """Shows the log of a run."""
        if folder == self._folder:
            return
        self._folder = folder
        self._restart()
        self.where.setText(tr("The newest lines of {path}", path=str(folder.log)))
        if self.isVisible():
            self.read()

    def read(self) -> None:
        """Looks for new lines."""
        folder, offset = self._folder, self._offset
        if folder is None or self._task is not None or self._pending:
            return
        self._task = start_task(
            lambda _report: read_piece(folder.log, offset),
            on_done=lambda piece: self._took(folder, piece),
            on_failed=self._refused,
            parent=self,
        )

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Begins to read."""
        super().showEvent(event)
        self.read()
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802 (Qt's name)
        """Reads no more."""
        super().hideEvent(event)
        self._timer.stop()

    def _restart(self) -> None:
        self._offset, self._pending = 0, ""
        self.text.clear()

    def _took(self, folder: RunFolder, piece: Piece) -> None:
        self._task = None
        if folder != self._folder:
            self.read()
            return
        if piece.fresh:
            self.text.clear()
        if piece.skipped and self._offset:
            self._pending += tr("… (lines left out)") + "\n"
        self._offset = piece.offset
        self._pending += piece.text
        if self._pending:
            self._feeder.start()

    def _feed(self) -> None:
        """A little at a time: laying out a long text at once would be felt."""
        end = len(self._pending)
        if end > _AT_ONCE:
            end = self._pending.rfind("\n", 0, _AT_ONCE) + 1 or _AT_ONCE
        part, self._pending = self._pending[:end], self._pending[end:]
        bar = self.text.verticalScrollBar()
        follows = bar.value() >= bar.maximum() - 1
        before = bar.value()
        cursor = QTextCursor(self.text.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(part)
        bar.setValue(bar.maximum() if follows else before)
        if not self._pending:
            self._feeder.stop()

    def _refused(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, OSError):
            raise failure
        self.where.setText(tr("The log cannot be read: {reason}.", reason=failure.strerror or str(failure)))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
        self._desk.tell(tr("The log is on the clipboard."))

    def _open(self) -> None:
        if self._folder is None:
            return
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder.path))):
            self._desk.warn(tr("No program opens folders here."), str(self._folder.path))
