"""One prompt with its answers below it, side by side where there are two."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from core.runs.conversation import Turn
from studio.look import tokens
from studio.pages.try_.flowing_text import FlowingText
from studio.pages.try_.reply_view import ReplyView
from studio.widgets.basics import tool_button
from studio.words import tr


class TurnView(QWidget):
    """A turn of the conversation.

    Attributes:
        replies: the views of its answers.
    """

    def __init__(
        self, turn: Turn, on_edit: Callable[[], object], on_regenerate: Callable[[], object], *, plain: bool
    ) -> None:
        super().__init__()
        self.turn = turn
        self.shape = tuple(id(reply) for reply in turn.replies.values())
        self._edit = tool_button("pencil", tr("Edit this prompt and ask again"), on_edit, name="edit-prompt")
        prompt = FlowingText(turn.prompt)
        prompt.setAccessibleName(tr("Prompt"))
        asked = QFrame()
        asked.setProperty("role", "note-info")
        line = QHBoxLayout(asked)
        line.setContentsMargins(tokens.SPACE_3, tokens.SPACE_2, tokens.SPACE_1, tokens.SPACE_2)
        line.setSpacing(tokens.SPACE_2)
        line.addWidget(prompt, 1, Qt.AlignmentFlag.AlignVCenter)
        line.addWidget(self._edit, 0, Qt.AlignmentFlag.AlignTop)
        self.replies = [ReplyView(reply, on_regenerate, plain=plain) for reply in turn.replies.values()]
        answers = QHBoxLayout()
        answers.setSpacing(tokens.SPACE_3)
        for view in self.replies:
            answers.addWidget(view, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        box.addWidget(asked)
        box.addLayout(answers)

    def show_as_last(self, *, is_last: bool) -> None:
        """Only the last turn can be changed."""
        self._edit.setVisible(is_last and not self.turn.is_open)
        for view in self.replies:
            view.show_as_last(is_last=is_last)
