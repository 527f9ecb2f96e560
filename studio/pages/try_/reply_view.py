"""One answer: who gave it, its text as it comes, how fast it was, and what can be done with it."""

from collections.abc import Callable

from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QVBoxLayout

from core.errors import error
from core.events.types import ChatEnd
from core.runs.conversation import Reply
from core.units import format_duration
from studio.look import tokens
from studio.pages.try_.flowing_text import FlowingText
from studio.pages.try_.voice_bar import voice_title
from studio.widgets.basics import Elided, ProblemNote, label, row, tool_button
from studio.words import tr


def reply_title(reply: Reply, *, plain: bool) -> str:
    """What the page calls whoever gave an answer; a ``plain`` model is no variant of another one."""
    return reply.title or (tr("Model") if plain else voice_title(reply.voice))


class ReplyView(QFrame):
    """An answer as a card; `refresh` follows its `Reply`."""

    def __init__(self, reply: Reply, on_regenerate: Callable[[], object], *, plain: bool) -> None:
        super().__init__()
        self.reply = reply
        self.setProperty("role", "card")
        self.setObjectName(f"reply-{reply.voice}")
        self.text = FlowingText()
        title = reply_title(reply, plain=plain)
        self.text.setAccessibleName(tr("Answer of the model: {variant}", variant=title))
        self._stats = label("", "muted", wrap=True)
        self._stats.setObjectName("stats")
        self._copy = tool_button("copy", tr("Copy the answer"), self._copy_text, name="copy-answer")
        self._again = tool_button("refresh-cw", tr("Answer again"), on_regenerate, name="regenerate")
        self._note: ProblemNote | None = None
        self._is_last = False
        name = Elided(title, "caption")
        head = row(name, self._copy, self._again, spacing=0)
        head.setStretch(0, 1)
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_1, tokens.SPACE_2, tokens.SPACE_2)
        self._box.setSpacing(tokens.SPACE_1)
        self._box.addLayout(head)
        self._box.addWidget(self.text)
        self._box.addWidget(self._stats)
        self._box.addStretch(1)
        self.refresh()

    def show_as_last(self, *, is_last: bool) -> None:
        """Only the last turn can be answered again."""
        self._is_last = is_last
        self._again.setVisible(is_last and not self.reply.is_open)

    def refresh(self) -> None:
        """Shows what the answer has become."""
        reply = self.reply
        self.text.show_text(reply.text, is_open=reply.is_open)
        self.text.setVisible(reply.is_open or bool(reply.text))
        self._copy.setEnabled(bool(reply.text))
        self._again.setVisible(self._is_last and not reply.is_open)
        words = _stats(reply)
        self._stats.setText(words)
        self._stats.setVisible(bool(words))
        self._stats.setToolTip(tr("Seed {seed}", seed=reply.seed))
        if reply.message and self._note is None:
            self._note = ProblemNote(error("", reply.message, reply.hint))
            self._box.insertWidget(self._box.indexOf(self._stats), self._note)

    def _copy_text(self) -> None:
        QGuiApplication.clipboard().setText(self.reply.text)
        self._stats.setText(tr("Copied"))
        self._stats.setVisible(True)
        QTimer.singleShot(1500, self, self.refresh)


def _stats(reply: Reply) -> str:
    if reply.is_open:
        return tr("{n} tokens", n=f"{reply.tokens:,}") if reply.tokens else tr("Waiting for the first token…")
    ends: dict[ChatEnd, str] = {
        "length": tr("cut at the length limit"),
        "context": tr("cut because the context is full"),
        "cancelled": tr("stopped"),
        "failed": tr("broken off"),
    }
    parts = [tr("{n} tokens", n=f"{reply.tokens:,}")] if reply.tokens else []
    if reply.speed is not None:
        parts.append(tr("{speed} tokens/s", speed=f"{reply.speed:.1f}"))
    if reply.first_seconds is not None:
        parts.append(tr("first token after {time}", time=format_duration(reply.first_seconds)))
    if reply.ended in ends:
        parts.append(ends[reply.ended])
    return " · ".join(parts)
