"""Two widgets with a handle between them, side by side where there is room and below each other where there is not."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QWidget

from studio.look import tokens


class Split(QSplitter):
    """Begins with two halves of the same size, side by side; neither can be dragged out of sight."""

    def __init__(self, first: QWidget, second: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setChildrenCollapsible(False)
        self.setHandleWidth(tokens.SPACE_3)
        self.addWidget(first)
        self.addWidget(second)
        self.halve()

    def halve(self) -> None:
        """Gives both the same size."""
        self.setSizes([1000, 1000])

    def stand(self, *, upright: bool) -> None:
        """Puts them below each other, or side by side."""
        self.setOrientation(Qt.Orientation.Vertical if upright else Qt.Orientation.Horizontal)
