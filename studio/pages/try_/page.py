"""The page “Try”: who answers on top, the conversation below, the prompt at the bottom, sampling at the side."""

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QScrollArea, QWidget

from core.errors import UserError
from core.runs.conversation import Conversation, read_conversation
from studio.look import tokens
from studio.look.theme import look
from studio.pages.page import Page
from studio.pages.try_.prompt_box import PromptBox
from studio.pages.try_.sampling_card import SamplingCard
from studio.pages.try_.system_prompt import SystemPrompt
from studio.pages.try_.top_bar import TopBar
from studio.pages.try_.transcript import Transcript
from studio.state.chats import chats_of
from studio.state.desk import Action, Desk
from studio.widgets.basics import Empty, button, column, tool_button
from studio.words import tr
from studio.workers.task import start_task

_MEMORY = "try_sampling"
_SIDE = 248
_NARROW = 720
_LOW = 420
_UNBOUNDED = 16_777_215  # Qt's own word for no maximum


class TryPage(Page):
    """Talks by way of the desk's `Chats`, which go on without the page."""

    scrolls = False

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, tr("Try"), tr("Talk to the model before and after the training."))
        self.chats = chats_of(desk)
        self._new = button(tr("New conversation"), self._begin_anew, icon_name="plus", name="new-conversation")
        # Icons alone: with words, the four of them would not fit beside the title in large letters.
        self._save = tool_button("save", tr("Save the conversation"), self._choose_file, name="save-conversation")
        self._open = tool_button("folder-open", tr("Open a conversation"), self._choose_saved, name="open-conversation")
        self._sampling_button = button(
            tr("Sampling"), self._turn_sampling, icon_name="sliders-horizontal", name="turn-sampling"
        )
        self._sampling_button.setCheckable(True)
        for item in (self._new, self._open, self._save, self._sampling_button):
            self.head.addWidget(item)
        self._content = QWidget()
        self._side_card = SamplingCard(self.chats)
        self._sampling = _side(self._side_card)
        self._transcript = Transcript(self.chats)
        self.prompt = PromptBox(self.chats)
        self._middle = QHBoxLayout(self._content)
        self._middle.setContentsMargins(0, 0, 0, 0)
        self._middle.setSpacing(tokens.SPACE_4)
        self._talk = column(
            TopBar(self.chats), SystemPrompt(self.chats), self._transcript, self.prompt, spacing=tokens.SPACE_3
        )
        self._talk.setStretch(2, 1)
        self._middle.addLayout(self._talk, 1)
        self._empty = Empty(
            "message-square",
            tr("Nobody to talk to yet"),
            tr("Here you talk to the result of a run, or to a base model on this computer. There is neither yet."),
            button(tr("Choose a base model"), lambda: desk.go("model"), role="primary", name="go-model"),
        )
        self.add(self._content, 1)
        self.add(self._empty, 1)
        self.chats.changed.connect(self._refresh)
        self.chats.moved.connect(self._refresh)
        self.chats.results.changed.connect(self._refresh)
        is_shown = bool(desk.memory.get(_MEMORY, False))
        self._sampling_button.setChecked(is_shown)
        self._place_sampling()
        self._refresh()

    def shown(self) -> None:
        """Models may have come or gone meanwhile."""
        self.chats.list_models()
        self.chats.results.refresh()
        self.prompt.field.setFocus()

    def _refresh(self, _replies: object = None) -> None:
        chats = self.chats
        results = chats.results
        has_somebody = chats.choice is not None or bool(results.all or results.states or chats.models)
        self._content.setVisible(has_somebody)
        self._empty.setVisible(not has_somebody and chats.results.known)
        for item in (self._new, self._save):
            item.setEnabled(bool(chats.conversation.turns))
        for item in (self._new, self._open, self._save, self._sampling_button):
            item.setVisible(has_somebody)

    def _turn_sampling(self) -> None:
        is_shown = self._sampling_button.isChecked()
        self.desk.memory[_MEMORY] = is_shown
        self._place_sampling()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """The side becomes a part of the column where there is no room beside it; a low page keeps to what is used."""
        super().resizeEvent(event)
        low = self.height() < look().px(_LOW)
        self.help.setHidden(low)
        self.prompt.show_hint(is_shown=not low)
        self._place_sampling()

    def _place_sampling(self) -> None:
        """Beside the conversation; in a narrow window in its place, until it is closed again."""
        is_shown = self._sampling_button.isChecked()
        narrow = self.width() < look().px(_NARROW)
        self._transcript.setVisible(not (is_shown and narrow))
        if narrow and self._talk.indexOf(self._sampling) < 0:
            self._middle.removeWidget(self._sampling)
            self._sampling.setMinimumWidth(0)
            self._sampling.setMaximumWidth(_UNBOUNDED)
            self._talk.insertWidget(2, self._sampling, 1)
        elif not narrow and self._middle.indexOf(self._sampling) < 0:
            self._talk.removeWidget(self._sampling)
            bar = self._sampling.verticalScrollBar().sizeHint().width()  # there when the window is low
            self._sampling.setFixedWidth(max(look().px(_SIDE), self._side_card.minimumSizeHint().width() + bar))
            self._middle.addWidget(self._sampling)
        self._sampling.setVisible(is_shown)  # now that it has its place: before, it would flash up as a window

    def _begin_anew(self) -> None:
        bring_back = self.chats.begin_anew()
        self.desk.tell(tr("A new conversation has begun."), actions=(Action(tr("Bring the old one back"), bring_back),))
        self.prompt.field.setFocus()

    # --- keeping a conversation

    def _choose_file(self) -> None:
        filters = {tr("Markdown (*.md)"): ".md", tr("JSON (*.json)"): ".json"}
        beginning = Path.home() / f"{self.chats.conversation.title or 'conversation'}.md"
        name, kind = QFileDialog.getSaveFileName(self, tr("Save the conversation"), str(beginning), ";;".join(filters))
        if name:
            path = Path(name)
            self.save(path if path.suffix in filters.values() else path.with_name(path.name + filters.get(kind, ".md")))

    def save(self, path: Path) -> None:
        """Writes the conversation as JSON or, under any other ending, as Markdown."""
        conversation = self.chats.conversation
        start_task(
            lambda _report: conversation.save(path),
            on_done=lambda _nothing: self.desk.tell(tr("The conversation has been saved."), str(path)),
            on_failed=lambda failure: self.desk.complain(
                tr("The conversation could not be saved: {reason}.", reason=str(failure)), str(path)
            ),
            parent=self,
        )

    def _choose_saved(self) -> None:
        filters = tr("JSON (*.json)")
        name, _ = QFileDialog.getOpenFileName(self, tr("Open a conversation"), str(Path.home()), filters)
        if name:
            self.open(Path(name))

    def open(self, path: Path) -> None:
        """Goes on with a saved conversation, with whoever is chosen now."""
        start_task(
            lambda _report: read_conversation(path), on_done=self._opened, on_failed=self._not_opened, parent=self
        )

    def _opened(self, kept: Conversation) -> None:
        bring_back = self.chats.open_conversation(kept)
        words = tr("A conversation with {name} was opened; whoever is chosen now goes on with it.", name=kept.title)
        self.desk.tell(words, actions=(Action(tr("Bring the old one back"), bring_back),))
        self.prompt.field.setFocus()

    def _not_opened(self, failure: Exception) -> None:
        if not isinstance(failure, UserError):
            raise failure
        self.desk.show_problems(failure.problems)


def _side(card: QWidget) -> QScrollArea:
    """A card that scrolls where the window is low."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(card)
    return area
