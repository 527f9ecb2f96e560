"""One row, three ways: as the conversation that it is, as the tokens that are trained, and as the file has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QFrame,
    QLabel,
    QPlainTextEdit,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from core.errors import Problem
from studio.look import tokens
from studio.look.theme import look, mono_font
from studio.pages.data.answers import ANSWER_ICONS, CHOSEN, REJECTED, answer_aim, answer_title
from studio.pages.data.token_view import Piece
from studio.pages.data.tokens_panel import TokensPanel
from studio.state.desk import Desk
from studio.widgets.basics import Elided, Empty, IconLabel, ProblemNote, column, label, row
from studio.widgets.controls import Segments
from studio.words import tr, tr_count

MOST_LETTERS = 20_000
MOST_RAW_LETTERS = 200_000
MOST_TURNS = 100
_MEMORY = "data.sample_as"


@dataclass(frozen=True, slots=True)
class Turn:
    """One part of a row: who speaks, what, and whether the words carry loss; thoughts before them, calls behind."""

    role: str
    text: str
    trained: bool
    thoughts: str = ""
    calls: str = ""


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """A row as it is shown.

    Attributes:
        turns: the conversation; prompt and completion, or text, where the row is no conversation.
        chosen, rejected: of a preference pair the two answers to that conversation; nothing for other rows.
        raw: the row as it is in the file.
        understood: its file's format is known.
        problem: why it cannot be used.
        pieces: its tokens; None while there is no model to ask. Of a pair those of the conversation with the chosen
            answer.
        rejected_pieces: of a pair those of the conversation with the rejected answer.
        token_problem: why the model's template or tokenizer cannot write it.
        notes: what the template adds to it.
    """

    turns: tuple[Turn, ...]
    raw: str
    understood: bool = True
    problem: Problem | None = None
    pieces: tuple[Piece, ...] | None = None
    token_problem: Problem | None = None
    notes: tuple[Problem, ...] = ()
    chosen: tuple[Turn, ...] = ()
    rejected: tuple[Turn, ...] = ()
    rejected_pieces: tuple[Piece, ...] = ()


def role_title(role: str) -> str:
    """A role as people say it."""
    known = {
        "system": tr("System"), "user": tr("User"), "assistant": tr("Assistant"), "tool": tr("Tool"),
        "prompt": tr("Prompt"), "completion": tr("Completion"), "text": tr("Text"), "tools": tr("Tool descriptions"),
    }  # fmt: skip
    return known.get(role, role)


class SampleView(QWidget):
    """The chosen row. Which of the three ways is open is remembered while the window is rebuilt."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.modes = Segments(
            [("conversation", tr("Conversation")), ("tokens", tr("Tokens")), ("raw", tr("Raw"))],
            [
                tr("Who says what in this row."),
                tr("What the model reads and which tokens it learns from."),
                tr("The row as it is in the file."),
            ],
            "sample",
        )
        self.modes.setAccessibleName(tr("Show the row as"))
        self.modes.chosen.connect(self._choose)
        self.place = Elided("", "muted", mode=Qt.TextElideMode.ElideLeft)
        self.conversation = _Conversation()
        self.tokens = TokensPanel(desk)
        self.raw = QPlainTextEdit()
        self.raw.setReadOnly(True)
        self.raw.setTabChangesFocus(True)
        self.raw.setFont(mono_font())
        self.raw.setFrameShape(QFrame.Shape.NoFrame)
        self.raw.setAccessibleName(tr("The row as it is in the file"))
        self._empty = Empty("file-text", tr("No row chosen"), tr("Choose a row on the left to see what becomes of it."))
        self._stack = QStackedWidget()
        self._unknown = Empty(
            "circle-question-mark",
            tr("Not recognised yet"),
            tr("Say above which columns hold what. The row as it is in the file stands under “Raw”."),
        )
        self._waiting = QWidget()
        for page in (self._empty, self._waiting, self._unknown, self.conversation, self.tokens, self.raw):
            self._stack.addWidget(page)
        self._stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        frame = QFrame()
        frame.setProperty("role", "card")
        frame_box = column(self._stack, spacing=0)
        frame_box.setContentsMargins(1, 1, 1, 1)
        frame.setLayout(frame_box)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        box.addLayout(row(self.modes))
        box.addWidget(frame, 1)
        box.addWidget(self.place)
        self._has_row, self._is_understood = False, True
        mode = desk.memory.get(_MEMORY, "conversation")
        self.modes.choose(str(mode))
        self.clear()

    def clear(self) -> None:
        """Shows that no row is chosen."""
        self._has_row = False
        self.place.set_text("")
        self._stack.setCurrentWidget(self._empty)

    def show_waiting(self) -> None:
        """Shows that a row is on its way, where another one has not stayed in sight."""
        self.place.set_text(tr("Reading the row…"))
        if not self._has_row:
            self._stack.setCurrentWidget(self._waiting)

    def show_sample(self, facts: SampleFacts, place: str) -> None:
        """Shows a row; ``place`` says where it stands."""
        self._has_row, self._is_understood = True, facts.understood
        self.place.set_text(place)
        self.conversation.show_row(facts)
        self.tokens.show_tokens(
            facts.pieces, facts.token_problem or facts.problem, facts.notes, rejected=facts.rejected_pieces
        )
        self.raw.setPlainText(_shortened(facts.raw, MOST_RAW_LETTERS))
        self._choose(self.modes.value())

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As high as the table beside it."""
        return QSize(look().px(320), look().px(320))

    def _choose(self, mode: str) -> None:
        self._desk.memory[_MEMORY] = mode
        pages: dict[str, QWidget] = {"conversation": self.conversation, "tokens": self.tokens, "raw": self.raw}
        if self._has_row and not self._is_understood and mode != "raw":
            self._stack.setCurrentWidget(self._unknown)
        elif self._has_row:
            self._stack.setCurrentWidget(pages.get(mode, self.conversation))


class _Conversation(QScrollArea):
    """Turns below each other, those that carry loss tinted; of a pair both answers behind what they answer."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setAutoFillBackground(False)
        self.setObjectName("conversation")
        self.setProperty("role", "reading")
        self.setAccessibleName(tr("Conversation"))
        self.bubbles: list[QWidget] = []

    def show_row(self, facts: SampleFacts) -> None:
        content = QWidget()
        box = QVBoxLayout(content)
        box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_3)
        box.setSpacing(tokens.SPACE_2)
        self.bubbles = []
        if facts.problem is not None:
            box.addWidget(ProblemNote(facts.problem))
        for answer, turns in (("", facts.turns), (CHOSEN, facts.chosen), (REJECTED, facts.rejected)):
            self._add_turns(box, turns, answer)
        box.addStretch(1)
        self.setWidget(content)
        content.setAutoFillBackground(False)  # Qt turns it on, in a colour that is not the card's

    def _add_turns(self, box: QVBoxLayout, turns: Sequence[Turn], answer: str) -> None:
        for turn in turns[:MOST_TURNS]:
            bubble = _Bubble(turn, answer)
            self.bubbles.append(bubble)
            box.addWidget(bubble)
        if len(turns) > MOST_TURNS:
            more = tr_count(len(turns) - MOST_TURNS, "and one more turn", "and {n} more turns")
            box.addWidget(label(more, "muted"))


class _Bubble(QFrame):
    """One turn: its role, its words, and by its tint whether they carry loss; ``answer`` is the one it is part of."""

    def __init__(self, turn: Turn, answer: str = "") -> None:
        super().__init__()
        self.setProperty("role", "note-info" if turn.trained else "inset")
        title = _title(turn, answer)
        self.setAccessibleName(tr("{role}: {words}", role=title, words=(turn.text or turn.calls)[:200]))
        head = row(label(title, "caption"), None)
        if answer:
            head.insertWidget(0, IconLabel(*ANSWER_ICONS[answer], 16))
        if turn.trained:
            head.addWidget(label(answer_aim(answer) if answer else tr("trained"), "muted"))
        box = column(head, spacing=2)
        if turn.thoughts:
            box.addWidget(label(tr("Thoughts"), "muted"))
            box.addWidget(_words(turn.thoughts, "help"))
        if turn.text or not (turn.thoughts or turn.calls):
            box.addWidget(_words(turn.text))
        if turn.calls:
            box.addWidget(label(tr("Calls tools"), "muted"))
            calls = _words(turn.calls)
            calls.setFont(mono_font())
            box.addWidget(calls)
        box.setContentsMargins(12, 8, 12, 10)
        self.setLayout(box)


def _title(turn: Turn, answer: str) -> str:
    """Who speaks; of a pair which of the answers this is, and who speaks in it where it is not the assistant."""
    if not answer:
        return role_title(turn.role)
    title = answer_title(answer)
    return title if turn.role == "assistant" else f"{title} · {role_title(turn.role)}"


def _words(text: str, role: str = "") -> QLabel:
    """A text of a row, whole as far as it can be shown, to be read and copied."""
    words = label(_shortened(text, MOST_LETTERS), role)
    words.setWordWrap(True)
    words.setMinimumWidth(40)
    words.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    words.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
    return words


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[:most] + "\n" + tr("… and {n} more characters", n=f"{len(text) - most:,}")
