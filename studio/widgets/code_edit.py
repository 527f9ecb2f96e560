"""A small editor for templates: monospaced, with line numbers, light colours for Jinja, and the wrong line marked."""

import re

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QSyntaxHighlighter,
    QTextBlock,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
)
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget

from studio.look import tokens
from studio.look.theme import look, mono_font
from studio.words import tr

_PAD = 8
_MARKS = re.compile(r"\{#.*?(#\}|$)|\{%.*?(%\}|$)|\{\{.*?(\}\}|$)")
_ENDS = {"{#": "#}", "{%": "%}", "{{": "}}"}
_STATES = {"{#": 1, "{%": 2, "{{": 3}
_STRING = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


class CodeEdit(QPlainTextEdit):
    """Text in lines that are counted; Tab leaves it, as it leaves every field, and Enter keeps the indentation."""

    def __init__(self) -> None:
        super().__init__()
        self._wrong = 0
        self.setFont(mono_font())
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self.setTabChangesFocus(True)
        self._numbers = _Numbers(self)
        self._colors = _Highlighter(self.document())
        self.blockCountChanged.connect(self._make_room)
        self.updateRequest.connect(self._scrolled)
        self._make_room()

    @property
    def wrong_line(self) -> int:
        """The line that is marked; 0 for none."""
        return self._wrong

    def mark_line(self, line: int) -> None:
        """Marks a line (counted from 1) as the one where something is wrong; 0 marks none."""
        self._wrong = line if 0 < line <= self.blockCount() else 0
        self._show_mark()
        self._numbers.update()

    def go_to(self, line: int) -> None:
        """Puts the cursor into a line and brings it into sight."""
        block = self.document().findBlockByNumber(max(0, line - 1))
        if block.isValid():
            self.setTextCursor(QTextCursor(block))
            self.centerCursor()
        self.setFocus(Qt.FocusReason.OtherFocusReason)

    def number_width(self) -> int:
        """How wide the strip of line numbers is."""
        digits = max(2, len(str(self.blockCount())))
        return QFontMetrics(self.font()).horizontalAdvance("9") * digits + 2 * _PAD

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter begins the next line where this one begins."""
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            cursor = self.textCursor()
            before = cursor.block().text()[: cursor.positionInBlock()]
            cursor.insertText("\n" + before[: len(before) - len(before.lstrip(" "))])
            self.setTextCursor(cursor)
            self.ensureCursorVisible()
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Keeps the numbers beside the text."""
        super().resizeEvent(event)
        self._place_numbers()

    def _make_room(self) -> None:
        self.setViewportMargins(self.number_width(), 0, 0, 0)
        self._place_numbers()

    def _place_numbers(self) -> None:
        inner = self.viewport().geometry()
        self._numbers.setGeometry(
            QRect(inner.left() - self.number_width(), inner.top(), self.number_width(), inner.height())
        )

    def _scrolled(self, _rect: QRect, _dy: int) -> None:
        self._numbers.update()

    def _show_mark(self) -> None:
        marks = []
        if self._wrong:
            mark = QTextEdit.ExtraSelection()
            mark.format.setBackground(QColor(look().colors.bad_soft))
            mark.format.setProperty(QTextFormat.Property.FullWidthSelection, True)  # noqa: FBT003
            mark.cursor = QTextCursor(self.document().findBlockByNumber(self._wrong - 1))
            marks.append(mark)
        self.setExtraSelections(marks)

    def paint_numbers(self, painter: QPainter, area: QRect) -> None:
        """Draws the line numbers that are in sight, the marked one in the colour of errors."""
        c = look().colors
        plain, bold = QFont(self.font()), QFont(self.font())
        bold.setBold(True)
        block: QTextBlock = self.firstVisibleBlock()
        top = self.blockBoundingGeometry(block).translated(self.contentOffset()).top()
        height = QFontMetrics(plain).height()
        while block.isValid() and top <= area.bottom():
            number = block.blockNumber() + 1
            is_wrong = number == self._wrong
            painter.setFont(bold if is_wrong else plain)
            painter.setPen(QColor(c.bad if is_wrong else c.muted))
            where = QRectF(0, top, self.number_width() - _PAD, height)
            painter.drawText(where, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, str(number))
            top += self.blockBoundingRect(block).height()
            block = block.next()


class _Numbers(QWidget):
    """The strip with the numbers; only paint."""

    def __init__(self, editor: CodeEdit) -> None:
        super().__init__(editor)
        self._editor = editor
        self.setAccessibleName(tr("Line numbers"))

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As wide as the numbers."""
        return QSize(self._editor.number_width(), 0)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """A plain ground and the numbers on it."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(look().colors.window))
        self._editor.paint_numbers(painter, event.rect())
        painter.end()


class _Highlighter(QSyntaxHighlighter):
    """What stands in braces in the accent's colour, texts in it as they are written, remarks muted."""

    def __init__(self, document: QTextDocument) -> None:
        super().__init__(document)
        c = look().colors
        self._formats = {mark: _format(c.muted if mark == "{#" else c.accent) for mark in _ENDS}
        self._string = _format(c.good)

    def highlightBlock(self, text: str) -> None:  # noqa: N802 (Qt's name)
        """One line; what began in the line before goes on in it."""
        self.setCurrentBlockState(0)
        start = 0
        before = next((mark for mark, state in _STATES.items() if state == self.previousBlockState()), "")
        if before:
            end = text.find(_ENDS[before])
            start = len(text) if end < 0 else end + 2
            self._paint(before, text, 0, start)
            if end < 0:
                self.setCurrentBlockState(_STATES[before])
                return
        for found in _MARKS.finditer(text, start):
            mark = found[0][:2]
            self._paint(mark, text, found.start(), found.end())
            if not found[0].endswith(_ENDS[mark]) or len(found[0]) < 4:
                self.setCurrentBlockState(_STATES[mark])

    def _paint(self, mark: str, text: str, start: int, stop: int) -> None:
        self.setFormat(start, stop - start, self._formats[mark])
        if mark != "{#":
            for found in _STRING.finditer(text, start, stop):
                self.setFormat(found.start(), len(found[0]), self._string)


def _format(color: str) -> QTextCharFormat:
    made = QTextCharFormat()
    made.setForeground(QColor(color))
    return made


LEAST_LINES = 8
"""So many lines an editor shows at least."""


def editor_height() -> int:
    """The least height of an editor, in pixels."""
    return QFontMetrics(mono_font(tokens.SMALL)).lineSpacing() * LEAST_LINES + 2 * _PAD
