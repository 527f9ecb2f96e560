"""What scrolls up and down: as high as its texts need at the present width, not as they would need at the narrowest."""

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QWidget


class ScrolledContent(QWidget):
    """The content of a scroll area that is as wide as the area lets it be.

    A layout's own minimum counts the height of wrapped texts at their narrowest, which makes a page far too high.
    """

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The scroll area asks `heightForWidth` for the height, where that says something."""
        hint, layout = super().minimumSizeHint(), self.layout()
        return QSize(hint.width(), 0) if layout is not None and layout.hasHeightForWidth() else hint
