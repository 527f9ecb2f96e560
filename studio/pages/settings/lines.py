"""A line of the Settings page: what it is on the left, the control on the right, and a sentence below."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.widgets.basics import label
from studio.widgets.controls import Segments

_LABEL_WIDTH = 112


class Line(QWidget):
    """A title, a control, and a sentence about both."""

    def __init__(self, title: str, control: QWidget, help_text: str = "") -> None:
        super().__init__()
        name = label(title, wrap=True)
        name.setFixedWidth(look().px(_LABEL_WIDTH))
        name.setBuddy(control)
        if isinstance(control, Segments):
            control.name_it(title)
        elif not control.accessibleName():
            control.setAccessibleName(title)
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(tokens.SPACE_1)
        right.addWidget(control)
        if help_text:
            right.addWidget(label(help_text, "muted", wrap=True))
        box = QHBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        top = Qt.AlignmentFlag.AlignTop if help_text else Qt.AlignmentFlag.AlignVCenter
        name.setMinimumHeight(min(control.sizeHint().height(), look().px(tokens.CONTROL)))
        box.addWidget(name, 0, top)
        box.addLayout(right, 1)
