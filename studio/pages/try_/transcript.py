"""The conversation on the page: its turns, what to begin with while there is none, and why the engine is gone."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from core.runs.conversation import Reply
from core.runs.outcome import Outcome
from studio.look import tokens
from studio.pages.try_.turn_view import TurnView
from studio.state.chat_engine import Phase
from studio.state.chats import Chats
from studio.widgets.basics import IconLabel, LinkLabel, button, column, label, row
from studio.widgets.scrolled import ScrolledContent
from studio.words import say, tr

_NEAR = 24


class Transcript(QScrollArea):
    """Follows a `Chats`; stays at the end while the end is in sight."""

    def __init__(self, chats: Chats) -> None:
        super().__init__()
        self._chats = chats
        self._turns: list[TurnView] = []
        self._notice: Outcome | None = None
        self._note: QWidget | None = None
        self._beginning: QWidget | None = None
        self._suggested: object = None
        self._follows = True
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(tr("Conversation"))
        content = ScrolledContent()
        content.setObjectName("pageBody")
        self._box = QVBoxLayout(content)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_4)
        self._box.addStretch(1)
        self.setWidget(content)
        bar = self.verticalScrollBar()
        bar.rangeChanged.connect(self._range_changed)
        bar.valueChanged.connect(self._scrolled)
        chats.moved.connect(self._moved)
        chats.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows turns that came, and takes those away that went."""
        conversation = self._chats.conversation
        kept = 0
        for view, turn in zip(self._turns, conversation.turns, strict=False):
            if view.turn is not turn or view.shape != tuple(id(reply) for reply in turn.replies.values()):
                break
            kept += 1
        for view in self._turns[kept:]:
            self._drop(view)
        del self._turns[kept:]
        for turn in conversation.turns[kept:]:
            view = TurnView(turn, self._chats.edit_last, self._chats.regenerate, plain=conversation.plain)
            self._box.insertWidget(len(self._turns), view)
            self._turns.append(view)
            self._follows = True
        for index, view in enumerate(self._turns):
            view.show_as_last(is_last=index == len(self._turns) - 1)
            for reply in view.replies:
                reply.refresh()
        self._show_notice(conversation.notice)
        self._show_beginning()

    def _moved(self, replies: Sequence[Reply]) -> None:
        for view in self._turns:
            for shown in view.replies:
                if any(shown.reply is reply for reply in replies):
                    shown.refresh()
        if self._turns and not self._chats.conversation.is_open:
            self._turns[-1].show_as_last(is_last=True)

    def _show_notice(self, notice: Outcome | None) -> None:
        if notice is self._notice:
            return
        self._notice = notice
        if self._note is not None:
            self._drop(self._note)
            self._note = None
        if notice is not None:
            self._note = _gone_note(notice, self._chats)
            self._box.insertWidget(len(self._turns), self._note)
            self._follows = True

    def _show_beginning(self) -> None:
        prompts = self._chats.prompts if not self._turns else None
        wanted = (self._chats.choice, prompts) if prompts is not None else None
        if wanted == self._suggested:
            return
        self._suggested = wanted
        if self._beginning is not None:
            self._drop(self._beginning)
            self._beginning = None
        if prompts is not None:
            self._beginning = _beginning(prompts, self._chats)
            self._box.insertWidget(0, self._beginning, 1)

    def _drop(self, widget: QWidget) -> None:
        self._box.removeWidget(widget)
        widget.hide()
        widget.deleteLater()

    def _range_changed(self, _low: int, high: int) -> None:
        self._box.setContentsMargins(0, 0, tokens.SPACE_2 if high > 0 else 0, 0)
        if self._follows:
            self.verticalScrollBar().setValue(high)

    def _scrolled(self, value: int) -> None:
        self._follows = value >= self.verticalScrollBar().maximum() - _NEAR


def _beginning(prompts: Sequence[str], chats: Chats) -> QWidget:
    """An empty conversation: what to do, and prompts that belong to the run."""
    made = QWidget()
    box = QVBoxLayout(made)
    box.setSpacing(tokens.SPACE_2)
    box.addStretch(1)
    box.addWidget(IconLabel("message-square", "faint", 40), 0, Qt.AlignmentFlag.AlignHCenter)
    box.addWidget(label(tr("Ask something"), "section"), 0, Qt.AlignmentFlag.AlignHCenter)
    words = label(
        tr("The model answers here.")
        if chats.conversation.plain
        else tr("The same prompt to the base and to the tuned model shows what the training has changed."),
        "help",
        wrap=True,
    )
    words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    box.addWidget(words)
    for number, prompt in enumerate(prompts[:4]):
        link = LinkLabel(f"“{prompt}”", lambda prompt=prompt: chats.send(prompt))  # type: ignore[misc]  # bound early
        link.setObjectName(f"suggestion-{number}")
        link.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        box.addWidget(link)
    box.addStretch(2)
    return made


def _gone_note(outcome: Outcome, chats: Chats) -> QWidget:
    """Why the engine is gone, in the outcome's own words, and the button that loads it again."""
    is_bad = outcome.kind not in ("completed", "stopped")
    made = QFrame()
    made.setProperty("role", "note-bad" if is_bad else "note-info")
    made.setObjectName("engine-gone")
    texts = column(spacing=tokens.SPACE_1)
    texts.addWidget(label(say(outcome.title) if is_bad else tr("The model was put away"), "strong", wrap=True))
    texts.addWidget(label(say(outcome.message), wrap=True, selectable=True))
    if outcome.hint:
        texts.addWidget(label(say(outcome.hint), "muted", wrap=True))
    if outcome.detail:
        detail = label(outcome.detail[-2000:], "muted", wrap=True, selectable=True)
        detail.hide()
        shower = LinkLabel(
            tr("Show what the engine said last"), lambda: detail.setVisible(not detail.isVisibleTo(made))
        )
        texts.addWidget(shower)
        texts.addWidget(detail)
    again = button(tr("Load again"), chats.load, icon_name="refresh-cw", name="load-again")
    again.setVisible(chats.phase is Phase.EMPTY)
    texts.addLayout(row(again, None))
    outer = QVBoxLayout(made)
    outer.setContentsMargins(10, 8, 10, 8)
    mark = IconLabel("octagon-x" if is_bad else "info", "bad" if is_bad else "accent")
    line = row(column(mark, None), texts)
    line.setStretch(1, 1)
    outer.addLayout(line)
    return made
