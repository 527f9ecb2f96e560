"""Every shortcut of the window, from the table that the window obeys."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QGridLayout

from studio.look import tokens
from studio.state.shortcuts import SHORTCUTS
from studio.widgets.basics import Card, label
from studio.words import say, tr


class KeyboardCard(Card):
    """Keys and what they do, in two columns."""

    def __init__(self) -> None:
        super().__init__(tr("Keyboard"), tr("Tab and the arrow keys reach everything; these go there at once."))
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_2)
        half = -(-len(SHORTCUTS) // 2)
        for number, shortcut in enumerate(SHORTCUTS):
            side, place = divmod(number, half)
            keys = QKeySequence(shortcut.keys).toString(QKeySequence.SequenceFormat.NativeText)
            cap = label(keys, "key")
            cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
            grid.addWidget(cap, place, side * 2, Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(label(say(shortcut.title), wrap=True), place, side * 2 + 1)
        for side in (1, 3):
            grid.setColumnStretch(side, 1)
        self.add(grid)
