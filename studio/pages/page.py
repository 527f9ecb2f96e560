"""What every page is: a title, a sentence about it, and a body that scrolls where the window is small."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLayout, QScrollArea, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import label
from studio.widgets.scrolled import ScrolledContent


class Page(QWidget):
    """The base of all pages.

    A page is made when it is first shown and lives until the window closes or is rebuilt. It listens to the desk's
    signals, reads the session and edits it; it keeps nothing that must outlive it (`Desk.memory` does).

    Attributes:
        desk: the shared things of the window.
        head: the row of the title, for buttons on its right.
        help: the sentence below the title.
        body: the layout of the content.
    """

    scrolls = True

    def __init__(self, desk: Desk, title: str, help_text: str = "") -> None:
        super().__init__()
        self.desk = desk
        self.setObjectName("page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        content = ScrolledContent()
        content.setObjectName("pageBody")
        inner = QVBoxLayout(content)
        inner.setContentsMargins(tokens.SPACE_6, tokens.SPACE_4, tokens.SPACE_6, tokens.SPACE_6)
        inner.setSpacing(tokens.SPACE_4)
        self.head = QHBoxLayout()
        self.head.setSpacing(tokens.SPACE_2)
        self.head.addStrut(look().px(tokens.CONTROL))  # titles stand at the same height with and without buttons
        heading = label(title, "title")
        self.head.addWidget(heading)
        self.head.addStretch(1)
        top = QVBoxLayout()
        top.setSpacing(2)
        top.addLayout(self.head)
        self.help = label(help_text, "help", wrap=True)
        if not help_text:
            self.help.hide()
        top.addWidget(self.help)
        inner.addLayout(top)
        self.body = QVBoxLayout()
        self.body.setSpacing(tokens.SPACE_4)
        inner.addLayout(self.body, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        if self.scrolls:
            area = QScrollArea()
            area.setWidgetResizable(True)
            area.setFrameShape(QFrame.Shape.NoFrame)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            area.setWidget(content)
            outer.addWidget(area)
        else:
            outer.addWidget(content)
        self.setAccessibleName(title)

    def shown(self) -> None:
        """Called each time the page comes to the front."""

    def hidden(self) -> None:
        """Called each time another page takes its place."""

    def close_page(self) -> None:
        """Called once before the page is thrown away; ends what the page has running."""

    def add(self, item: QWidget | QLayout, stretch: int = 0) -> None:
        """Puts a widget or layout at the end of the body."""
        if isinstance(item, QWidget):
            self.body.addWidget(item, stretch)
        else:
            self.body.addLayout(item, stretch)
