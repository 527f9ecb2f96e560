"""Messages inside the window: they slide in at the top right, stay as long as they matter, and can be read again."""

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QEnterEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from core.errors import Severity
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Action, Notice
from studio.widgets.basics import SEVERITY_ICONS, IconLabel, button, label, tool_button
from studio.words import say, tr

_INFO_MS = 7000
_WARNING_MS = 15000
_MOST = 4


class NoticeCard(QFrame):
    """One message. Information leaves by itself, but not while the mouse is on it; errors stay until closed."""

    def __init__(self, notice: Notice, stack: "NoticeStack") -> None:
        super().__init__(stack)
        self.notice = notice
        self._stack = stack
        self.setProperty("role", "notice")
        self.setAccessibleName(f"{say(notice.text)} {say(notice.advice)}")
        icon_name, color, _ = SEVERITY_ICONS[notice.severity]
        if notice.severity is Severity.INFO:
            icon_name, color = "circle-check", "good"
        texts = QVBoxLayout()
        texts.setSpacing(tokens.SPACE_1)
        texts.addWidget(label(say(notice.text), wrap=True, selectable=True))
        if notice.advice:
            texts.addWidget(label(say(notice.advice), "muted", wrap=True))
        actions = list(notice.actions)
        if notice.detail:
            actions.append(Action(tr("Copy details"), lambda: QApplication.clipboard().setText(notice.detail)))
        if actions:
            buttons = QHBoxLayout()
            buttons.setSpacing(tokens.SPACE_2)
            for action in actions:
                buttons.addWidget(button(action.title, lambda action=action: self._act(action)))  # type: ignore[misc]
            buttons.addStretch(1)
            texts.addLayout(buttons)
        box = QHBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_3, tokens.SPACE_3, tokens.SPACE_2, tokens.SPACE_3)
        box.setSpacing(tokens.SPACE_2)
        box.addWidget(IconLabel(icon_name, color, 18), 0, Qt.AlignmentFlag.AlignTop)
        box.addLayout(texts, 1)
        box.addWidget(tool_button("x", tr("Close this message"), self.leave), 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.leave)
        self._patience = {Severity.INFO: _INFO_MS, Severity.WARNING: _WARNING_MS}.get(notice.severity, 0)
        if self._patience:
            self._timer.start(self._patience)

    def leave(self) -> None:
        """Goes away."""
        self._timer.stop()
        self._stack.remove(self)

    def enterEvent(self, event: QEnterEvent) -> None:  # noqa: N802 (Qt's name)
        """Waits while it is read."""
        self._timer.stop()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Goes on leaving."""
        if self._patience:
            self._timer.start(self._patience)
        super().leaveEvent(event)

    def _act(self, action: Action) -> None:
        self.leave()
        action.perform()


class NoticeStack(QWidget):
    """The messages that are shown, newest first, over the top right of the pages."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.cards: list[NoticeCard] = []
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_2)
        parent.installEventFilter(self)
        self.hide()

    def show_notice(self, notice: Notice) -> None:
        """Shows a message; the same message twice is shown once."""
        for card in self.cards:
            if (card.notice.text, card.notice.advice) == (notice.text, notice.advice):
                self.remove(card)
                break
        card = NoticeCard(notice, self)
        self.cards.insert(0, card)
        self._box.insertWidget(0, card)
        for old in self.cards[_MOST:]:
            self.remove(old)
        self.show()
        self.place()
        self.raise_()

    def remove(self, card: NoticeCard) -> None:
        """Takes a message away."""
        if card in self.cards:
            self.cards.remove(card)
            self._box.removeWidget(card)
            card.hide()
            card.deleteLater()
        if not self.cards:
            self.hide()
        self.place()

    def place(self) -> None:
        """Puts the stack where it belongs in its parent."""
        parent = self.parentWidget()
        if parent is None:
            return
        width = min(look().px(400), parent.width() - 2 * tokens.SPACE_4)
        self.setFixedWidth(max(width, 120))
        height = sum(
            card.heightForWidth(width) if card.hasHeightForWidth() else card.sizeHint().height() for card in self.cards
        )
        height += tokens.SPACE_2 * max(0, len(self.cards) - 1)
        self.setGeometry(parent.width() - width - tokens.SPACE_4, tokens.SPACE_4, width, min(height, parent.height()))

    def eventFilter(self, _watched: object, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Follows the parent's size."""
        if event.type() is QEvent.Type.Resize:
            self.place()
        return False
