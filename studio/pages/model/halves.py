"""Two widgets side by side where there is room, below each other where there is not; and a box that is emptied."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look

_NARROW = 620  # below so many pixels at normal text size two columns would be too thin to read
_LEFT, _RIGHT = 5, 7


class Halves(QWidget):
    """A list and the detail of what is chosen in it."""

    def __init__(self, left: QWidget, right: QWidget) -> None:
        super().__init__()
        self._left, self._right = left, right
        left.setMinimumWidth(look().px(220))
        right.setMinimumWidth(look().px(240))
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_4)
        self._box.addWidget(left, _LEFT)
        self._box.addWidget(right, _RIGHT, Qt.AlignmentFlag.AlignTop)
        self._arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Arranges anew."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        narrow = self.width() < look().px(_NARROW)
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        if self._box.direction() != direction:
            self._box.setDirection(direction)
            self._box.setStretch(0, 0 if narrow else _LEFT)
            self._box.setStretch(1, 1 if narrow else _RIGHT)


def clear(box: QBoxLayout) -> None:
    """Throws away the widgets of a box."""
    while box.count():
        item = box.takeAt(0)
        widget = item.widget() if item is not None else None
        if widget is not None:
            widget.hide()
            widget.deleteLater()
