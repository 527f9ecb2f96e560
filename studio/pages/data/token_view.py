"""A row as the model sees it: every token in its place, coloured by what training does with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QColor,
    QFont,
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip

from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look, mono_font
from studio.pages.data.answers import ANSWER_ICONS, CHOSEN, REJECTED, answer_title
from studio.words import tr, tr_count

Kind = Literal["trained", "masked", "cut"]
MOST_SHOWN = 4000
_VISIBLE = {"\n": "↵", "\r": "␍", "\t": "⇥"}
_PAD = 3.0
_GAP = 1.0
_ICON = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """One token to show.

    Attributes:
        text: the characters that it stands for.
        id: its number in the vocabulary.
        kind: whether it carries loss, is only read, or was cut off at the limit.
        special: it is a control token.
    """

    text: str
    id: int
    kind: Kind
    special: bool = False


class TokenView(QAbstractScrollArea):
    """Tokens in lines: trained ones tinted, masked ones muted, special ones outlined, cut ones struck through.

    Of a preference pair both answers stand below each other, each with its prompt under a heading of its own.

    Arrow keys walk along the tokens; the tip and `pointed` say which token it is.

    Attributes:
        pointed: a sentence about the token under the mouse or the keyboard's mark.
    """

    pointed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._pieces: tuple[Piece, ...] = ()
        self._boxes: list[QRectF] = []
        self._answers: dict[int, str] = {}
        self._headings: list[tuple[str, QRectF]] = []
        self._texts: list[str] = []
        self._widths: list[float] = []
        self._current = -1
        self.setObjectName("token-view")
        self.setProperty("role", "reading")
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName(tr("Tokens of the row"))

    def show_pieces(self, pieces: Sequence[Piece], rejected: Sequence[Piece] = ()) -> None:
        """Shows other tokens, the first `MOST_SHOWN` of them; of a pair the first half as many of each answer."""
        most = most_shown(is_pair=bool(rejected))
        self._pieces = (*pieces[:most], *rejected[:most])
        self._answers = {0: CHOSEN, len(pieces[:most]): REJECTED} if rejected else {}
        metrics = QFontMetricsF(self._font())
        self._texts = [_shown(piece.text) for piece in self._pieces]
        self._widths = [metrics.horizontalAdvance(text) + 2 * _PAD for text in self._texts]
        self._current = -1
        words = _description(pieces)
        if rejected:
            both = zip((CHOSEN, REJECTED), (words, _description(rejected)), strict=True)
            words = " · ".join(tr("{answer}: {counts}", answer=answer_title(name), counts=said) for name, said in both)
        self.setAccessibleDescription(words)
        self.verticalScrollBar().setValue(0)
        self._arrange()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The tokens that are shown."""
        return self._pieces

    def box_of(self, index: int) -> QRectF:
        """Where a token is in the view now."""
        return self._boxes[index].translated(0, -self.verticalScrollBar().value())

    # --- arranging

    def _font(self) -> QFont:
        return mono_font(tokens.SMALL)

    def _line_height(self) -> float:
        return QFontMetricsF(self._font()).height() + 6

    def _arrange(self) -> None:
        left = top = 0.0
        height, width = self._line_height(), float(self.viewport().width())
        self._boxes, self._headings = [], []
        for index, (piece, wanted) in enumerate(zip(self._pieces, self._widths, strict=True)):
            if index in self._answers:
                top += (height if left else 0.0) + (tokens.SPACE_2 if index else 0.0)
                self._headings.append((self._answers[index], QRectF(0, top, width, height)))
                left, top = 0.0, top + height
            wide = min(wanted, width)
            if left and left + wide > width:
                left, top = 0.0, top + height
            self._boxes.append(QRectF(left, top, wide, height - 3))
            left += wide + _GAP
            if "\n" in piece.text:
                left, top = 0.0, top + height
        bottom = self._boxes[-1].bottom() if self._boxes else 0.0
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, round(bottom - self.viewport().height() + 2)))
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(round(height))
        self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Breaks the lines anew."""
        super().resizeEvent(event)
        self._arrange()
        self._bring_current()

    def _bring_current(self) -> None:
        """Scrolls so that the marked token is in sight."""
        if self._current < 0:
            return
        box, bar = self._boxes[self._current], self.verticalScrollBar()
        if box.top() < bar.value():
            bar.setValue(int(box.top()))
        elif box.bottom() > bar.value() + self.viewport().height():
            bar.setValue(int(box.bottom() - self.viewport().height()) + 1)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A paragraph."""
        return QSize(look().px(320), look().px(200))

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The tokens that are in sight."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(0, -self.verticalScrollBar().value())
        sight = QRectF(event.rect()).translated(0, self.verticalScrollBar().value())
        for answer, line in self._headings:
            self._paint_heading(painter, answer, line)
        plain = self._font()
        struck = QFont(plain)
        struck.setStrikeOut(True)
        for index, (piece, box) in enumerate(zip(self._pieces, self._boxes, strict=True)):
            if box.bottom() < sight.top():
                continue
            if box.top() > sight.bottom():
                break
            painter.setFont(struck if piece.kind == "cut" else plain)
            paint_piece(painter, piece, box, self._texts[index], marked=index == self._current and self.hasFocus())
        painter.end()

    def _paint_heading(self, painter: QPainter, answer: str, line: QRectF) -> None:
        """The name of an answer above its tokens; a line parts the second from the first."""
        c, (name, color) = look().colors, ANSWER_ICONS[answer]
        if line.top() > 0:
            painter.setPen(QPen(QColor(c.line), 1))
            painter.drawLine(line.topLeft() - QPointF(0, tokens.SPACE_1), line.topRight() - QPointF(0, tokens.SPACE_1))
        mark = QRectF(0, line.center().y() - _ICON / 2, _ICON, _ICON)
        painter.drawPixmap(mark.topLeft(), pixmap(name, color, _ICON, self.devicePixelRatioF()))
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(QColor(c.text))
        words = line.adjusted(_ICON + tokens.SPACE_1, 0, 0, 0)
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, answer_title(answer))

    # --- which token is it

    def _at(self, event: QMouseEvent | QHelpEvent) -> int:
        at = event.position() if isinstance(event, QMouseEvent) else event.pos().toPointF()
        y = at.y() + self.verticalScrollBar().value()
        return next((index for index, box in enumerate(self._boxes) if box.contains(at.x(), y)), -1)

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """The tip under the mouse."""
        if isinstance(event, QHelpEvent):
            index = self._at(event)
            if index >= 0:
                QToolTip.showText(event.globalPos(), self._words_at(index), self.viewport())
            else:
                QToolTip.hideText()
            return True
        if isinstance(event, QMouseEvent) and event.type() is QEvent.Type.MouseMove:
            index = self._at(event)
            if index >= 0:
                self.pointed.emit(self._words_at(index))
        return super().viewportEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Left and right walk along the tokens, Home and End go to their ends; the rest scrolls."""
        last = len(self._pieces) - 1
        keys = {
            Qt.Key.Key_Left: max(0, self._current - 1), Qt.Key.Key_Right: min(last, self._current + 1),
            Qt.Key.Key_Home: 0, Qt.Key.Key_End: last,
        }  # fmt: skip
        target = keys.get(Qt.Key(event.key()))
        if target is None or last < 0:
            super().keyPressEvent(event)
            return
        self._current = target
        self._bring_current()
        words = self._words_at(target)
        self.pointed.emit(words)
        self._announce(words)
        self.viewport().update()

    def _words_at(self, index: int) -> str:
        """The sentence about a token; of a pair with the answer that it belongs to."""
        words = describe(self._pieces[index])
        answer = next((name for start, name in reversed(self._answers.items()) if start <= index), "")
        return tr("{answer}: {token}", answer=answer_title(answer), token=words) if answer else words

    def _announce(self, words: str) -> None:
        """Says to screen readers which token the mark is on, and which of how many it is."""
        place = tr("Token {n} of {total}", n=f"{self._current + 1:,}", total=f"{len(self._pieces):,}")
        self.setAccessibleDescription(f"{words} · {place}")
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, words))


def most_shown(*, is_pair: bool) -> int:
    """How many tokens of a document are shown at most."""
    return MOST_SHOWN // 2 if is_pair else MOST_SHOWN


def _description(pieces: Sequence[Piece]) -> str:
    """How many tokens there are, for screen readers."""
    trained = sum(1 for piece in pieces if piece.kind == "trained")
    counted = tr_count(len(pieces), "one token", "{n} tokens")
    return tr("{tokens}, {trained} of them trained", tokens=counted, trained=f"{trained:,}")


def describe(piece: Piece) -> str:
    """A sentence about a token: its text, its number and what training does with it."""
    text = _shown(piece.text)
    if piece.kind == "cut":
        return tr("“{piece}” · id {id} · cut off at the limit", piece=text, id=piece.id)
    if piece.kind == "trained":
        if piece.special:
            return tr("“{piece}” · id {id} · special · trained", piece=text, id=piece.id)
        return tr("“{piece}” · id {id} · trained", piece=text, id=piece.id)
    if piece.special:
        return tr("“{piece}” · id {id} · special · read, not trained", piece=text, id=piece.id)
    return tr("“{piece}” · id {id} · read, not trained", piece=text, id=piece.id)


def paint_piece(painter: QPainter, piece: Piece, box: QRectF, text: str, *, marked: bool = False) -> None:
    """Draws one token; the painter's font is set."""
    c = look().colors
    painter.setPen(Qt.PenStyle.NoPen)
    if piece.kind != "cut":
        painter.setBrush(QColor(c.accent_soft if piece.kind == "trained" else c.hover))
        painter.drawRoundedRect(box, 3, 3)
    if piece.special or marked:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(c.accent if marked else c.faint), 2 if marked else 1))
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
    painter.setPen(QColor(c.text if piece.kind == "trained" else c.muted))
    painter.drawText(box.adjusted(_PAD, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)


def _shown(text: str) -> str:
    """A token's text with its white space made visible where it would be lost."""
    return "".join(
        _VISIBLE.get(letter, letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}") for letter in text
    )
