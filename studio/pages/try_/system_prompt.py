"""The system prompt: one line that says what it is, and a field to write it in when it is opened."""

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.icons import icon
from studio.state.chats import Chats
from studio.widgets.basics import Elided, button, row
from studio.words import tr

_LINES = 3


class SystemPrompt(QWidget):
    """Edits `Conversation.system`, which counts from the next question on."""

    def __init__(self, chats: Chats) -> None:
        super().__init__()
        self._chats = chats
        self._turn = button(tr("System prompt"), self._turned, role="quiet", name="turn-system")
        self._turn.setToolTip(
            tr("What the model is told before every conversation: who it is and how it should answer.")
        )
        self._first = Elided("", "muted")
        self.field = QPlainTextEdit()
        self.field.setObjectName("system-prompt")
        self.field.setAccessibleName(tr("System prompt"))
        self.field.setPlaceholderText(tr("None: the model answers as its template has it."))
        self.field.setTabChangesFocus(True)
        self.field.setFixedHeight(_LINES * self.field.fontMetrics().lineSpacing() + 2 * tokens.SPACE_3)
        self.field.setVisible(False)
        self.field.textChanged.connect(self._typed)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_1)
        line = row(self._turn, self._first)
        line.setStretch(1, 1)
        box.addLayout(line)
        box.addWidget(self.field)
        chats.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows the prompt of the present conversation."""
        system = self._chats.conversation.system
        if self.field.toPlainText() != system:
            self.field.setPlainText(system)
        is_open = self.field.isVisibleTo(self)
        self._turn.setIcon(icon("chevron-down" if is_open else "chevron-right", "muted", 16, 4))
        self._turn.setIconSize(QSize(20, 16))
        loaded = self._chats.loaded
        own = loaded.ready.system if loaded is not None and loaded.ready is not None else ""
        self.field.setPlaceholderText(
            tr("None. The model’s template says by itself: {words}", words=own)
            if own
            else tr("None: the model answers as its template has it.")
        )
        first = tr("the template’s own: {words}", words=own) if own else tr("none")
        self._first.set_text(" ".join((system or first).split()))
        self._first.setVisible(not is_open)

    def _turned(self) -> None:
        self.field.setVisible(not self.field.isVisibleTo(self))
        self.refresh()
        if self.field.isVisibleTo(self):
            self.field.setFocus()

    def _typed(self) -> None:
        self._chats.conversation.system = self.field.toPlainText()
