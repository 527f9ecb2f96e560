"""Text that is as high as it needs to be, can be selected and grows at its end; long words break anywhere."""

import math

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QResizeEvent, QTextCursor, QTextOption, QWheelEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextEdit

from studio.look.theme import look

_BAR = 6


class FlowingText(QTextEdit):
    """A piece of plain text among others, without scroll bars of its own."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._text, self._is_open = "", False
        self.setProperty("role", "flowing")
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.document().setDocumentMargin(0)
        self.document().setUndoRedoEnabled(False)
        self.viewport().setAutoFillBackground(False)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)
        self.show_text(text)

    def show_text(self, text: str, *, is_open: bool = False) -> None:
        """Shows a text; with ``is_open`` more of it may come. What only grew at its end is not laid out anew."""
        if (text, is_open) == (self._text, self._is_open):
            return
        cursor = QTextCursor(self.document())
        if text.startswith(self._text):
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(text[len(self._text) :])
        else:
            self.setPlainText(text)
        self._text, self._is_open = text, is_open
        self.viewport().update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The text, and a bar behind it as long as more may come."""
        super().paintEvent(event)
        if self._is_open:
            end = QTextCursor(self.document())
            end.movePosition(QTextCursor.MoveOperation.End)
            at = self.cursorRect(end)
            left = min(at.left() + 1, self.viewport().width() - _BAR)
            painter = QPainter(self.viewport())
            painter.fillRect(left, at.top(), _BAR, at.height(), QColor(look().colors.accent))
            painter.end()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As high as the text at the present width."""
        return QSize(120, self._wanted())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As high as the text at the present width, and as narrow as need be."""
        return QSize(60, self._wanted())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Another width gives other lines."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            QTimer.singleShot(0, self, self._fit)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        """Scrolls what is around it."""
        event.ignore()

    def _wanted(self) -> int:
        margins = self.contentsMargins()
        return math.ceil(self.document().size().height()) + margins.top() + margins.bottom()

    def _fit(self, *_size: object) -> None:
        height = self._wanted()
        if height != self.minimumHeight():
            self.setFixedHeight(height)
