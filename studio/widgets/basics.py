"""Labels, buttons, cards and rows in the look of the application; pages are put together from these."""

import functools
import re
from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from core.errors import Fix, Problem, Severity
from studio.look import tokens
from studio.look.icons import icon, pixmap
from studio.look.theme import look
from studio.words import say

Box = TypeVar("Box", bound=QBoxLayout)

_ICON_GAP = 6
_LONG_WORD = re.compile(r"\S{20,}")
_JOINT = re.compile(r"[/\\_.\-](?=\w)")
SEVERITY_ICONS = {
    Severity.ERROR: ("octagon-x", "bad", "note-bad"),
    Severity.WARNING: ("triangle-alert", "warn", "note-warn"),
    Severity.INFO: ("info", "accent", "note-info"),
}


def label(text: str = "", role: str = "", *, wrap: bool = False, selectable: bool = False) -> QLabel:
    """A label; roles are "title", "section", "strong", "muted", "help", "caption", "big", "good", "warn", "bad"."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    if wrap:
        made.setWordWrap(True)
        made.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    if selectable:
        made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return made


def show_figure(item: QLabel, text: str) -> None:
    """Shows a number that changes with every edit; a label of fixed size lays nothing out anew, and it only grows."""
    if item.text() == text:
        return
    item.setText(text)
    hint = item.sizeHint()
    if hint.width() > item.minimumWidth() or hint.height() != item.minimumHeight():
        item.setFixedSize(max(hint.width(), item.minimumWidth()), hint.height())


def set_role(widget: QWidget, role: str) -> None:
    """Gives a widget another role, and with it another look."""
    if widget.property("role") != role:
        widget.setProperty("role", role)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def show_inside(widget: QWidget, *, is_shown: bool) -> None:
    """Shows or hides a widget that may not have its place yet: shown without a parent, it would flash up as a window.

    Nothing is lost, because a widget that was never hidden appears with its parent.
    """
    if widget.parent() is not None or not is_shown:
        widget.setVisible(is_shown)


def button(
    text: str,
    on_click: Callable[[], object] | None = None,
    *,
    role: str = "",
    icon_name: str = "",
    tip: str = "",
    name: str = "",
) -> QPushButton:
    """A push button; roles are "primary", "quiet", "danger" and "link". ``name`` is its object name, for tests."""
    made = QPushButton(text)
    if role:
        made.setProperty("role", role)
    if icon_name:
        color = {"primary": "accent_text", "danger": "bad", "link": "accent"}.get(role, "text")
        gap = _ICON_GAP if text else 0
        made.setIcon(icon(icon_name, color, 16, gap))
        made.setIconSize(QSize(16 + gap, 16))
    if tip:
        made.setToolTip(tip)
    if name:
        made.setObjectName(name)
    if on_click is not None:
        made.clicked.connect(lambda _checked=False: on_click())
    made.setAutoDefault(False)
    return made


def tool_button(
    icon_name: str, tip: str, on_click: Callable[[], object] | None = None, *, name: str = "", color: str = "muted"
) -> QToolButton:
    """A button that is only an icon; its tip is its accessible name too."""
    made = QToolButton()
    made.setIcon(icon(icon_name, color))
    made.setIconSize(QSize(16, 16))
    made.setToolTip(tip)
    made.setAccessibleName(tip)
    made.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    if name:
        made.setObjectName(name)
    if on_click is not None:
        made.clicked.connect(lambda _checked=False: on_click())
    return made


def row(*items: QWidget | QLayout | int | None, spacing: int = tokens.SPACE_2) -> QHBoxLayout:
    """Items side by side; a number is a fixed space, None a stretch."""
    return _filled(QHBoxLayout(), items, spacing)


def column(*items: QWidget | QLayout | int | None, spacing: int = tokens.SPACE_2) -> QVBoxLayout:
    """Items below each other; a number is a fixed space, None a stretch."""
    return _filled(QVBoxLayout(), items, spacing)


def _filled(box: Box, items: tuple[QWidget | QLayout | int | None, ...], spacing: int) -> Box:
    box.setContentsMargins(0, 0, 0, 0)
    box.setSpacing(spacing)
    for item in items:
        if item is None:
            box.addStretch(1)
        elif isinstance(item, int):
            box.addSpacing(item)
        elif isinstance(item, QWidget):
            box.addWidget(item)
        else:
            box.addLayout(item)
    return box


def line() -> QFrame:
    """A thin horizontal line."""
    made = QFrame()
    made.setProperty("role", "line")
    return made


class Card(QFrame):
    """A bordered panel with an optional heading; `body` takes its content.

    Attributes:
        body: the layout of the content.
        head: the row of the heading, for buttons on its right.
    """

    def __init__(
        self, title: str = "", help_text: str = "", *, role: str = "card", margin: int = tokens.SPACE_4
    ) -> None:
        super().__init__()
        self.setProperty("role", role)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(margin, margin, margin, margin)
        outer.setSpacing(tokens.SPACE_3)
        self.head = QHBoxLayout()
        self.head.setSpacing(tokens.SPACE_2)
        self.title = label(title, "section")
        if title:
            self.head.addWidget(self.title)
            self.head.addStretch(1)
            outer.addLayout(self.head)
            self.setAccessibleName(title)
        if help_text:
            outer.addWidget(label(help_text, "help", wrap=True))
        self.body = QVBoxLayout()
        self.body.setSpacing(tokens.SPACE_3)
        outer.addLayout(self.body)

    def add(self, item: QWidget | QLayout, stretch: int = 0) -> None:
        """Puts a widget or layout at the end of the content."""
        if isinstance(item, QWidget):
            self.body.addWidget(item, stretch)
        else:
            self.body.addLayout(item, stretch)


class Elided(QLabel):
    """A label on one line that shortens its text with “…” where space is short; the whole text is in the tip."""

    def __init__(self, text: str = "", role: str = "", *, mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight) -> None:
        super().__init__()
        self._text = ""
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(24)
        if role:
            self.setProperty("role", role)
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Shows another text."""
        self._text = text
        self.setAccessibleName(text)
        self._elide()

    def full_text(self) -> str:
        """The text, unshortened."""
        return self._text

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Shortens anew."""
        super().resizeEvent(event)
        self._elide()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Shortens anew in another font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._elide()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As wide as the whole text."""
        metrics = QFontMetrics(self.font())
        return QSize(metrics.horizontalAdvance(self._text) + 2, super().sizeHint().height())

    def _elide(self) -> None:
        shown = QFontMetrics(self.font()).elidedText(self._text, self._mode, max(0, self.width()))
        self.setToolTip(self._text if shown != self._text else "")
        super().setText(shown)


class IconLabel(QLabel):
    """An icon that is not a button."""

    def __init__(self, name: str, color: str = "muted", size: int = 16) -> None:
        super().__init__()
        self._size = size
        self.setFixedSize(size, size)
        self.set_icon(name, color)

    def set_icon(self, name: str, color: str) -> None:
        """Shows another icon."""
        self.setPixmap(pixmap(name, color, self._size, self.devicePixelRatioF()))


class Pill(QLabel):
    """A short word in a tinted, rounded box: a status, a format, a count. Tones: good, warn, bad, accent, muted."""

    def __init__(self, text: str = "", tone: str = "muted") -> None:
        super().__init__(text)
        self._tone = tone
        self.setContentsMargins(8, 2, 8, 2)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_text(self, text: str, tone: str) -> None:
        """Shows another word in another tone."""
        self._tone = tone
        self.setText(text)
        self.adjustSize()
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The box, then the word."""
        c = look().colors
        back = {"good": c.good_soft, "warn": c.warn_soft, "bad": c.bad_soft, "accent": c.accent_soft}
        front = {"good": c.good, "warn": c.warn, "bad": c.bad, "accent": c.accent}
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(back.get(self._tone, c.hover)))
        painter.drawRoundedRect(self.rect(), self.height() / 2, self.height() / 2)
        painter.setPen(QColor(front.get(self._tone, c.muted)))
        painter.setFont(self.font())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())
        painter.end()


class LinkLabel(QLabel):
    """A button that looks like a link and wraps onto several lines; works with mouse, Enter and Space."""

    def __init__(self, text: str, on_click: Callable[[], object]) -> None:
        super().__init__(text)
        self._perform = on_click
        self.setProperty("role", "link")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(text)

    def click(self) -> None:
        """Does what a click does."""
        self._perform()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The text, and a ring while it has the focus: a style sheet changes nothing of a label that gets it."""
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self)
            painter.setPen(QColor(look().colors.accent))
            painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 3, 3)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """A click."""
        if event.button() is Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self._perform()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter and Space click."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._perform()
        else:
            super().keyPressEvent(event)


def breakable(text: str) -> str:
    """The text with places where long names and paths may go on in the next line."""
    return _LONG_WORD.sub(lambda word: _JOINT.sub(lambda joint: joint[0] + "\u200b", word[0]), text)


class ProblemNote(QFrame):
    """A problem where its cause is: icon, what happened, what to do next, and its fixes as buttons."""

    def __init__(
        self,
        problem: Problem,
        on_fix: Callable[[Fix], object] | None = None,
        *,
        compact: bool = False,
        above: QWidget | None = None,
    ) -> None:
        """``compact`` leaves the advice out where a fix says the same; ``above`` is put over the message."""
        super().__init__()
        icon_name, color, role = SEVERITY_ICONS[problem.severity]
        self.setProperty("role", role)
        self._on_fix, self._compact = on_fix, compact
        self._problem = problem
        mark = IconLabel(icon_name, color)
        texts = column(spacing=tokens.SPACE_1)
        self._message = label("", wrap=True, selectable=True)
        self._advice = label("", "muted", wrap=True)
        count = self._fix_count(problem)
        self._links = [LinkLabel("", functools.partial(self._fix, number)) for number in range(count)]
        if above is not None:
            texts.addWidget(above)
        texts.addWidget(self._message)
        self._shows_advice = self._has_advice(problem)
        if self._shows_advice:
            texts.addWidget(self._advice)
        for link in self._links:
            link.setObjectName("fix")
            texts.addWidget(link)
        outer = QHBoxLayout(self)
        outer.setContentsMargins(10, 8, 10, 8)
        outer.setSpacing(tokens.SPACE_2)
        outer.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        outer.addLayout(texts, 1)
        self.take(problem)

    def take(self, problem: Problem) -> bool:
        """Shows another problem of the same shape (severity, advice, number of fixes); False where it has another."""
        if problem.severity is not self._problem.severity or self._has_advice(problem) != self._shows_advice:
            return False
        if self._fix_count(problem) != len(self._links):
            return False
        for link, fix in zip(self._links, problem.fixes, strict=False):
            link.setText(say(fix.title))
            link.setAccessibleName(say(fix.title))
        self._say(problem)
        return True

    def take_early(self, problem: Problem) -> bool:
        """Shows a problem whose fixes are still looked for, with those of the one before greyed out in their place.

        False where it is not the same problem with other numbers.
        """
        old = self._problem
        if problem.fixes or not self._links or (problem.severity, problem.path) != (old.severity, old.path):
            return False
        self._say(problem)
        return True

    def _say(self, problem: Problem) -> None:
        self._problem = problem
        self._message.setText(breakable(say(problem.message)))
        self._advice.setText(breakable(say(problem.advice)))
        for link in self._links:
            link.setEnabled(bool(problem.fixes))
        self.setAccessibleName(f"{say(problem.message)} {say(problem.advice)}")

    def _has_advice(self, problem: Problem) -> bool:
        return bool(problem.advice) and not (self._compact and problem.fixes)

    def _fix_count(self, problem: Problem) -> int:
        return len(problem.fixes) if self._on_fix is not None else 0

    def _fix(self, number: int) -> None:
        if self._on_fix is not None:
            self._on_fix(self._problem.fixes[number])


class Empty(QWidget):
    """An empty state: an icon, what belongs there, and the one next action."""

    def __init__(self, icon_name: str, title: str, text: str, *actions: QPushButton) -> None:
        super().__init__()
        mark = IconLabel(icon_name, "faint", 40)
        heading = label(title, "section")
        words = label(text, "help", wrap=True)
        words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        words.setMaximumWidth(look().px(420))
        words.setMinimumWidth(look().px(260))
        box = QVBoxLayout(self)
        box.setSpacing(tokens.SPACE_2)
        box.addStretch(1)
        box.addWidget(mark, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addWidget(heading, 0, Qt.AlignmentFlag.AlignHCenter)
        middle = row(None, words, None)  # not by an alignment: then it would not get the height that its lines need
        middle.setStretch(1, 100)
        box.addLayout(middle)
        if actions:
            box.addSpacing(tokens.SPACE_2)
            box.addLayout(row(None, *actions, None))
        box.addStretch(2)
