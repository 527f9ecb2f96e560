"""A chosen file as a chip: its name, how many rows it has, and a button that takes it away."""

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel

from core.spec.hub_data import is_hub_data, short_name
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.weight_button import WeightButton
from studio.state.desk import Desk
from studio.widgets.basics import IconLabel, label, tool_button
from studio.words import tr

_NAME_WIDTH = 240


class FileChip(QFrame):
    """One file. A click, Enter or Space shows it; Delete, Backspace and the cross take it away.

    Attributes:
        chosen: the file is to be shown.
        removed: the file is to be taken out of the spec.
    """

    chosen = Signal(str)
    removed = Signal(str)

    def __init__(self, desk: Desk, path: str, list_name: str) -> None:
        """``list_name`` is “train” or “validation” and becomes part of the object name."""
        super().__init__()
        self.path = path
        self.setProperty("role", "card")
        self.setObjectName(f"chip-{list_name}")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip(path)
        name = short_name(path)
        self._name = QLabel()
        self._name.setTextFormat(Qt.TextFormat.PlainText)
        metrics = QFontMetrics(self._name.font())
        self._name.setText(metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, look().px(_NAME_WIDTH)))
        self._count = label("", "muted")
        self._count.hide()
        self.cross = tool_button("x", tr("Remove {name}", name=name), lambda: self.removed.emit(self.path))
        self.cross.setIconSize(QSize(14, 14))
        self.cross.setObjectName("remove-file")
        box = QHBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_2, 0, 2, 0)
        box.setSpacing(6)
        box.addWidget(IconLabel("database" if is_hub_data(path) else "file-text", "muted", 16))
        box.addWidget(self._name)
        box.addWidget(self._count)
        self.weight = WeightButton(desk, path, name)
        self.weight.hide()
        box.addWidget(self.weight)
        box.addWidget(self.cross)
        self._title = name
        self.setAccessibleName(name)
        self.setMinimumHeight(look().px(tokens.CONTROL))

    def show_weight(self, *, is_shown: bool) -> None:
        """Shows how often the rows count, where several files are mixed."""
        self.weight.refresh()
        self.weight.setVisible(is_shown)
        self.updateGeometry()

    def set_count(self, text: str) -> None:
        """Shows how many rows the file has; empty while that is not known."""
        self._count.setText(text)
        self._count.setVisible(bool(text))
        self.setAccessibleName(tr("{name}, {rows}", name=self._title, rows=text) if text else self._title)
        self.updateGeometry()

    def set_chosen(self, *, chosen: bool) -> None:
        """Marks the file as the one that is shown."""
        value = "true" if chosen else "false"
        if self.property("chosen") != value:
            self.setProperty("chosen", value)
            self.style().unpolish(self)
            self.style().polish(self)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Shows the file; the middle button takes it away."""
        if event.button() is Qt.MouseButton.LeftButton:
            self.chosen.emit(self.path)
        elif event.button() is Qt.MouseButton.MiddleButton:
            self.removed.emit(self.path)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter and Space show the file, Delete and Backspace take it away, arrows go along the chips."""
        key = event.key()
        if key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.removed.emit(self.path)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.chosen.emit(self.path)
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self._step(1 if key == Qt.Key.Key_Right else -1)
        else:
            super().keyPressEvent(event)

    def _step(self, by: int) -> None:
        parent = self.parentWidget()
        chips = parent.findChildren(FileChip) if parent is not None else []
        place = chips.index(self) + by if self in chips else -1
        if 0 <= place < len(chips):
            chips[place].setFocus(Qt.FocusReason.TabFocusReason)

    def focusInEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt’s name)
        """Shows the ring."""
        super().focusInEvent(event)  # type: ignore[arg-type]
        self.update()

    def focusOutEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt’s name)
        """Hides the ring."""
        super().focusOutEvent(event)  # type: ignore[arg-type]
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The frame, and a ring while it has the focus."""
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(look().colors.accent), 2))
            radius = tokens.CARD_RADIUS - 1
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), radius, radius)
            painter.end()
