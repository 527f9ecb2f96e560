"""Where prompts are written: Enter sends, Shift+Enter begins a new line, Escape ends the answer or the editing."""

import math

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.state.chats import Chats
from studio.widgets.basics import LinkLabel, button, label, row, set_role
from studio.words import tr

_MOST_LINES = 6


class PromptBox(QWidget):
    """The field, its button (Send, or Stop while an answer comes), and a line that says what keys do."""

    def __init__(self, chats: Chats) -> None:
        super().__init__()
        self._chats = chats
        self._wants_hint = True
        self.field = _Field()
        self.field.setObjectName("prompt")
        self.field.setAccessibleName(tr("Prompt"))
        self.field.setPlaceholderText(tr("Ask something…"))
        self.field.setPlainText(chats.conversation.draft)
        self.field.textChanged.connect(self._typed)
        self.field.sent.connect(self._send)
        self.field.escaped.connect(self._escaped)
        self.field.asked_back.connect(self._ask_back)
        self.send = button(tr("Send"), self._pressed, role="primary", icon_name="send", name="send")
        self._hint = label(tr("Enter sends, Shift+Enter begins a new line."), "muted", wrap=True)
        self._leave = LinkLabel(tr("Leave it as it was"), chats.stop_editing)
        self._leave.setObjectName("leave-editing")
        line = QHBoxLayout()
        line.setSpacing(tokens.SPACE_2)
        line.addWidget(self.field, 1)
        line.addWidget(self.send, 0, Qt.AlignmentFlag.AlignBottom)
        below = row(self._hint, self._leave, spacing=tokens.SPACE_3)
        below.setStretch(0, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_1)
        box.addLayout(line)
        box.addLayout(below)
        chats.changed.connect(self.refresh)
        chats.moved.connect(self._show_button)
        self.refresh()

    def refresh(self) -> None:
        """Shows the draft and what the button does now."""
        conversation = self._chats.conversation
        if self.field.toPlainText() != conversation.draft:
            self.field.setPlainText(conversation.draft)
            self.field.moveCursor(self.field.textCursor().MoveOperation.End)
            if conversation.editing:
                self.field.setFocus()
        self._hint.setText(
            tr("Sending replaces the last prompt and its answers.")
            if conversation.editing
            else tr("Enter sends, Shift+Enter begins a new line.")
        )
        self._leave.setVisible(conversation.editing)
        self.show_hint(is_shown=self._wants_hint)
        self._show_button()

    def show_hint(self, *, is_shown: bool) -> None:
        """Shows or hides the line that says what keys do; while something is edited, it is always there."""
        self._wants_hint = is_shown
        self._hint.setVisible(is_shown or self._chats.conversation.editing)

    def _show_button(self, _replies: object = None) -> None:
        is_open = self._chats.conversation.is_open
        self.send.setText(tr("Stop") if is_open else tr("Send"))
        set_role(self.send, "" if is_open else "primary")
        gap = self.send.iconSize().width() - 16  # what a button leaves between its icon and its words
        self.send.setIcon(icon("square", "text", 16, gap) if is_open else icon("send", "accent_text", 16, gap))
        self.send.setToolTip(tr("End the answer (Escape)") if is_open else tr("Send (Enter)"))
        self.send.setEnabled(is_open or (bool(self.field.toPlainText().strip()) and self._chats.choice is not None))

    def _typed(self) -> None:
        self._chats.conversation.draft = self.field.toPlainText()
        self._show_button()

    def _pressed(self) -> None:
        if self._chats.conversation.is_open:
            self._chats.cancel()
        else:
            self._send()
        self.field.setFocus()

    def _send(self) -> None:
        self._chats.send(self.field.toPlainText())

    def _escaped(self) -> None:
        if self._chats.conversation.is_open:
            self._chats.cancel()
        else:
            self._chats.stop_editing()

    def _ask_back(self) -> None:
        self._chats.edit_last()


class _Field(QPlainTextEdit):
    """Attributes: sent: Enter; escaped: Escape; asked_back: Up in an empty field."""

    sent = Signal()
    escaped = Signal()
    asked_back = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.document().setDocumentMargin(4)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter, Escape and Up mean something here; everything else is text."""
        plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            self.sent.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        elif event.key() == Qt.Key.Key_Up and plain and not self.toPlainText():
            self.asked_back.emit()
        else:
            super().keyPressEvent(event)

    def _fit(self, *_size: object) -> None:
        """One line to six, as many as there are."""
        line = self.fontMetrics().lineSpacing()
        lines = min(_MOST_LINES, max(1, math.ceil(self.document().size().height())))
        frame = 2 * (look().px(tokens.SPACE_1) + 6)
        self.setFixedHeight(max(look().px(tokens.CONTROL), lines * line + frame))
