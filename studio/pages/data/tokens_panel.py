"""The tokens of a row with their legend, what the template adds to them, and what is said about each one."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from core.errors import Problem
from studio.look import tokens
from studio.look.theme import mono_font
from studio.pages.data.answers import CHOSEN, REJECTED, answer_title
from studio.pages.data.token_view import Piece, TokenView, most_shown, paint_piece
from studio.pages.model.halves import clear
from studio.state.desk import Desk
from studio.widgets.basics import Elided, Empty, ProblemNote, button, column, label, set_role
from studio.widgets.flow import FlowLayout
from studio.widgets.notes import ProblemNotes
from studio.words import tr, tr_count


class TokensPanel(QWidget):
    """The tokens with a legend, what is said about the one that is pointed at, and what is missing if they are not."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.view = TokenView()
        self.count = label("", "muted", wrap=True)
        self._hint = tr("Point at a token for its number, or use arrow keys.")
        self.pointed = Elided(self._hint, "muted")
        self.view.pointed.connect(self.pointed.set_text)
        self.notes = ProblemNotes(lambda fix: desk.session.apply(fix.edits), compact=True)
        shown = QWidget()
        box = column(_legend(), self.notes, self.view, self.count, self.pointed, spacing=tokens.SPACE_1)
        box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_2, tokens.SPACE_2, tokens.SPACE_2)
        box.setStretch(2, 1)
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
        self.setLayout(column(self._stack, spacing=0))

    def show_tokens(
        self,
        pieces: tuple[Piece, ...] | None,
        problem: Problem | None,
        notes: Sequence[Problem] = (),
        rejected: tuple[Piece, ...] = (),
    ) -> None:
        """Shows the tokens and what is to be known about them, or why there are none.

        Of a preference pair ``pieces`` are those of the chosen answer, with its prompt, and ``rejected`` of the other.
        """
        if problem is not None:
            self._show_problem(problem)
        elif pieces is None:
            self._stack.setCurrentWidget(self._missing)
        else:
            self.view.show_pieces(pieces, rejected)
            self.notes.show_problems(notes)
            self.count.setText(_counted_pair(pieces, rejected) if rejected else _counted(pieces))
            documents = (pieces, rejected) if rejected else (pieces,)
            trained = all(any(piece.kind == "trained" for piece in document) for document in documents)
            set_role(self.count, "muted" if trained else "warn")
            self.pointed.set_text(self._hint)
            self._stack.setCurrentWidget(self._shown)

    def _show_problem(self, problem: Problem) -> None:
        clear(self._problem_box)
        self._problem_box.addWidget(ProblemNote(problem, lambda fix: self._desk.session.apply(fix.edits)))
        self._problem_box.addStretch(1)
        self._stack.setCurrentWidget(self._problem)


def _legend() -> QWidget:
    legend = QWidget()
    flow = FlowLayout(legend, spacing=tokens.SPACE_1)
    for piece in (
        Piece(tr("trained"), 0, "trained"), Piece(tr("read only"), 0, "masked"),
        Piece(tr("special"), 0, "masked", special=True), Piece(tr("cut off"), 0, "cut"),
    ):  # fmt: skip
        flow.addWidget(_Swatch(piece))
    return legend


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


def _counted_pair(pieces: Sequence[Piece], rejected: Sequence[Piece]) -> str:
    """The counts of both answers, each with its prompt."""
    both = ((CHOSEN, pieces), (REJECTED, rejected))
    lines = [
        tr("{answer}: {counts}", answer=answer_title(name), counts=_counted(document, is_pair=True))
        for name, document in both
    ]
    if not all(any(piece.kind == "trained" for piece in document) for _, document in both):
        lines.append(tr("This pair is left out: of each answer something has to be trained."))
    return "\n".join(lines)


def _counted(pieces: Sequence[Piece], *, is_pair: bool = False) -> str:
    most = most_shown(is_pair=is_pair)
    kept = sum(1 for piece in pieces if piece.kind != "cut")
    trained = sum(1 for piece in pieces if piece.kind == "trained")
    cut = len(pieces) - kept
    counted = tr_count(kept, "One token", "{n} tokens")
    if not trained and is_pair:
        return tr("{tokens}, none of them trained", tokens=counted)
    if not trained:
        return tr("{tokens}, none of them trained: this row teaches nothing.", tokens=counted)
    if len(pieces) > most:
        return tr("{tokens}, {trained} trained, {cut} cut off. The first {shown} are shown.", tokens=counted,
                  trained=f"{trained:,}", cut=f"{cut:,}", shown=f"{most:,}")  # fmt: skip
    if cut:
        return tr("{tokens}, {trained} trained, {cut} cut off", tokens=counted, trained=f"{trained:,}", cut=f"{cut:,}")
    return tr("{tokens}, {trained} trained", tokens=counted, trained=f"{trained:,}")
