"""One row, three ways: as the conversation that it is, as the tokens that are trained, and as the file has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent
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
from studio.pages.data.token_view import MOST_SHOWN, Piece, TokenView, paint_piece
from studio.state.desk import Desk
from studio.widgets.basics import Elided, Empty, ProblemNote, button, column, label, row, set_role
from studio.widgets.controls import Segments
from studio.widgets.flow import FlowLayout
from studio.words import tr, tr_count

MOST_LETTERS = 20_000
MOST_RAW_LETTERS = 200_000
MOST_TURNS = 100
_MEMORY = "data.sample_as"


@dataclass(frozen=True, slots=True)
class Turn:
    """One part of a row: who speaks, what, and whether the words carry loss."""

    role: str
    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """A row as it is shown.

    Attributes:
        turns: the conversation; prompt and completion, or text, where the row is no conversation.
        raw: the row as it is in the file.
        understood: its file's format is known.
        problem: why it cannot be used.
        pieces: its tokens; None while there is no model to ask.
        token_problem: why the model's template or tokenizer cannot write it.
    """

    turns: tuple[Turn, ...]
    raw: str
    understood: bool = True
    problem: Problem | None = None
    pieces: tuple[Piece, ...] | None = None
    token_problem: Problem | None = None


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
        self.tokens = _Tokens(desk)
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
        self.conversation.show_turns(facts.turns, facts.problem)
        self.tokens.show_tokens(facts.pieces, facts.token_problem or facts.problem)
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
    """Turns below each other, those that carry loss tinted."""

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

    def show_turns(self, turns: Sequence[Turn], problem: Problem | None) -> None:
        content = QWidget()
        box = QVBoxLayout(content)
        box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_3)
        box.setSpacing(tokens.SPACE_2)
        self.bubbles = [_Bubble(turn) for turn in turns[:MOST_TURNS]]
        if problem is not None:
            box.addWidget(ProblemNote(problem))
        for bubble in self.bubbles:
            box.addWidget(bubble)
        if len(turns) > MOST_TURNS:
            more = tr_count(len(turns) - MOST_TURNS, "and one more turn", "and {n} more turns")
            box.addWidget(label(more, "muted"))
        box.addStretch(1)
        self.setWidget(content)
        content.setAutoFillBackground(False)  # Qt turns it on, in a colour that is not the card's


class _Bubble(QFrame):
    """One turn: its role, its words, and by its tint whether they carry loss."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.setProperty("role", "note-info" if turn.trained else "inset")
        title = role_title(turn.role)
        self.setAccessibleName(tr("{role}: {words}", role=title, words=turn.text[:200]))
        words = QLabel(_shortened(turn.text, MOST_LETTERS))
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
        words.setMinimumWidth(40)
        words.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        words.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        head = row(label(title, "caption"), None)
        if turn.trained:
            head.addWidget(label(tr("trained"), "muted"))
        box = column(head, words, spacing=2)
        box.setContentsMargins(12, 8, 12, 10)
        self.setLayout(box)


class _Swatch(QWidget):
    """A small sample of how a token looks, for the legend."""

    def __init__(self, piece: Piece) -> None:
        super().__init__()
        self._piece = piece
        metrics = QFontMetricsF(mono_font(tokens.SMALL))
        self.setFixedSize(round(metrics.horizontalAdvance(piece.text)) + 8, round(metrics.height()) + 4)
        self.setAccessibleName(piece.text)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The token."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = mono_font(tokens.SMALL)
        font.setStrikeOut(self._piece.kind == "cut")
        painter.setFont(font)
        paint_piece(painter, self._piece, QRectF(self.rect()).adjusted(1, 1, -1, -1), self._piece.text)
        painter.end()


class _Tokens(QWidget):
    """The tokens with a legend, what is said about the one that is pointed at, and what is missing if they are not."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.view = TokenView()
        self.count = label("", "muted", wrap=True)
        self.pointed = Elided(tr("Point at a token to see its number."), "muted")
        self.view.pointed.connect(self.pointed.set_text)
        legend = QWidget()
        flow = FlowLayout(legend, spacing=tokens.SPACE_1)
        for piece in (
            Piece(tr("trained"), 0, "trained"), Piece(tr("read only"), 0, "masked"),
            Piece(tr("special"), 0, "masked", special=True), Piece(tr("cut off"), 0, "cut"),
        ):  # fmt: skip
            flow.addWidget(_Swatch(piece))
        shown = QWidget()
        box = column(legend, self.view, self.count, self.pointed, spacing=tokens.SPACE_1)
        box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_2, tokens.SPACE_2, tokens.SPACE_2)
        box.setStretch(1, 1)
        shown.setLayout(box)
        choose = button(tr("Choose a base model"), lambda: desk.go("model"), name="choose-model")
        self._missing = Empty(
            "box",
            tr("No base model yet"),
            tr("Tokens are the model’s own pieces of text, so it has to be chosen first."),
            choose,
        )
        self._problem = QWidget()
        self._problem_box = column(spacing=0)
        self._problem_box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_3)
        self._problem.setLayout(self._problem_box)
        self._stack = QStackedWidget()
        for page in (shown, self._missing, self._problem):
            self._stack.addWidget(page)
        self._shown = shown
        self._desk = desk
        outer = column(self._stack, spacing=0)
        self.setLayout(outer)

    def show_tokens(self, pieces: tuple[Piece, ...] | None, problem: Problem | None) -> None:
        """Shows the tokens, or why there are none."""
        if problem is not None:
            while self._problem_box.count():
                item = self._problem_box.takeAt(0)
                old = item.widget() if item is not None else None
                if old is not None:
                    old.deleteLater()
            self._problem_box.addWidget(ProblemNote(problem, lambda fix: self._desk.session.apply(fix.edits)))
            self._problem_box.addStretch(1)
            self._stack.setCurrentWidget(self._problem)
        elif pieces is None:
            self._stack.setCurrentWidget(self._missing)
        else:
            self.view.show_pieces(pieces)
            self.count.setText(_counted(pieces))
            trained = any(piece.kind == "trained" for piece in pieces)
            set_role(self.count, "muted" if trained else "warn")
            self.pointed.set_text(tr("Point at a token to see its number."))
            self._stack.setCurrentWidget(self._shown)


def _counted(pieces: Sequence[Piece]) -> str:
    kept = sum(1 for piece in pieces if piece.kind != "cut")
    trained = sum(1 for piece in pieces if piece.kind == "trained")
    cut = len(pieces) - kept
    counted = tr_count(kept, "One token", "{n} tokens")
    if not trained:
        return tr("{tokens}, none of them trained: this row teaches nothing.", tokens=counted)
    if len(pieces) > MOST_SHOWN:
        return tr("{tokens}, {trained} trained, {cut} cut off. The first {shown} are shown.", tokens=counted,
                  trained=f"{trained:,}", cut=f"{cut:,}", shown=f"{MOST_SHOWN:,}")  # fmt: skip
    if cut:
        return tr("{tokens}, {trained} trained, {cut} cut off", tokens=counted, trained=f"{trained:,}", cut=f"{cut:,}")
    return tr("{tokens}, {trained} trained", tokens=counted, trained=f"{trained:,}")


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[:most] + "\n" + tr("… and {n} more characters", n=f"{len(text) - most:,}")
