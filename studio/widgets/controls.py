"""Controls that Qt lacks: a switch, a row of exclusive buttons, and a number on a slider."""

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QWidget,
)

from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look

_SLIDER_STEPS = 1000


class Switch(QAbstractButton):
    """An on/off switch with its label beside it; Space and click turn it."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setText(text)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(text)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The track, a gap and the label."""
        text = self.fontMetrics().horizontalAdvance(self.text())
        return QSize(44 + (8 + text if text else 0), max(26, self.fontMetrics().height() + 6))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Never less than it needs."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Track, knob, label and the ring of the focus."""
        c = look().colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = (self.height() - 20) / 2
        track = QRectF(3, top, 36, 20)
        if self.hasFocus():
            painter.setPen(QPen(QColor(c.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(track.adjusted(-2, -2, 2, 2), 12, 12)
        on = self.isChecked() and self.isEnabled()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(c.accent if on else c.line_strong))
        painter.drawRoundedRect(track, 10, 10)
        painter.setBrush(QColor(c.accent_text if on else c.panel))
        painter.drawEllipse(QPointF(29 if self.isChecked() else 13, top + 10), 7.5, 7.5)
        painter.setPen(QColor(c.text if self.isEnabled() else c.faint))
        painter.drawText(QRectF(47, 0, self.width() - 47, self.height()), Qt.AlignmentFlag.AlignVCenter, self.text())
        painter.end()


class Segments(QWidget):
    """A row of buttons of which exactly one is down; arrow keys move along it.

    Attributes:
        chosen: the value of the button that the user pressed.
    """

    chosen = Signal(str)

    def __init__(self, items: Sequence[tuple[str, str]], tips: Sequence[str] = (), name: str = "") -> None:
        """``items`` are (value, label) pairs."""
        super().__init__()
        self._buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        last = len(items) - 1
        for index, (value, text) in enumerate(items):
            made = QPushButton(text)
            made.setCheckable(True)
            made.setAutoDefault(False)
            made.setProperty("role", "segment")
            place = "only" if last == 0 else "first" if index == 0 else "last" if index == last else "middle"
            made.setProperty("place", place)
            _make_room(made, text)
            if index < len(tips):
                made.setToolTip(tips[index])
            if name:
                made.setObjectName(f"{name}-{value}")
            made.clicked.connect(lambda _checked=False, value=value: self.chosen.emit(value))
            self._group.addButton(made)
            self._buttons[value] = made
            layout.addWidget(made)
        layout.addStretch(1)

    def choose(self, value: str) -> None:
        """Presses the button of a value without telling anyone; an unknown value leaves none pressed."""
        self._group.setExclusive(False)
        for key, made in self._buttons.items():
            made.setChecked(key == value)
        self._group.setExclusive(True)

    def value(self) -> str:
        """The value of the button that is down; empty when none is."""
        return next((key for key, made in self._buttons.items() if made.isChecked()), "")

    def set_text(self, value: str, text: str) -> None:
        """Gives the button of a value another label."""
        self._buttons[value].setText(text)
        _make_room(self._buttons[value], text)

    def name_it(self, text: str) -> None:
        """Says before each label what it is a choice of, to those who cannot see it."""
        for made in self._buttons.values():
            made.setAccessibleName(f"{text}: {made.text()}")

    def button(self, value: str) -> QPushButton:
        """The button of a value."""
        return self._buttons[value]


def _make_room(made: QPushButton, text: str) -> None:
    """Room for the label in bold, which it is while the button is down."""
    bold = QFont(made.font())
    bold.setWeight(QFont.Weight.DemiBold)
    made.setMinimumWidth(QFontMetrics(bold).horizontalAdvance(text) + 2 * tokens.SPACE_3 + 4)


class CalmSpin(QDoubleSpinBox):
    """A number field that ignores the wheel unless it has the focus, and shows no needless zeros."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self._whole = whole
        self.setDecimals(0 if whole else 8)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setKeyboardTracking(False)
        self.setCorrectionMode(QDoubleSpinBox.CorrectionMode.CorrectToNearestValue)
        # the buttons are hidden by the style sheet: told to have none, Qt 6.11 gives the text no room either
        self.lineEdit().setTextMargins(tokens.SPACE_2 - 2, 0, tokens.SPACE_2 - 2, 0)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As high as every control: Qt counts the hidden buttons in."""
        hint = super().minimumSizeHint()
        return QSize(hint.width(), min(hint.height(), max(look().px(tokens.CONTROL), self.fontMetrics().height() + 6)))

    def textFromValue(self, value: float) -> str:  # noqa: N802 (Qt's name)
        """``0.0002`` as 2e-4 where that is shorter, whole numbers with commas."""
        if self._whole:
            return f"{round(value):,}" if abs(value) >= 10_000 else str(round(value))
        if value != 0 and abs(value) < 1e-3:
            mantissa, exponent = f"{value:e}".split("e")
            return f"{float(mantissa):g}e{int(exponent)}"
        return f"{value:.8g}"

    def valueFromText(self, text: str) -> float:  # noqa: N802 (Qt's name)
        """What was typed, as a number; commas and spaces between digits do not count."""
        plain = text.removesuffix(self.suffix()).replace(",", "").replace(" ", "")
        try:
            return float(plain)
        except ValueError:
            return self.value()

    def validate(self, text: str, position: int) -> tuple[object, str, int]:  # type: ignore[override]  # Qt's stubs name another tuple
        """Anything that could become a number may be typed."""
        from PySide6.QtGui import QValidator

        plain = text.removesuffix(self.suffix()).replace(",", "").strip()
        try:
            value = float(plain)
        except ValueError:
            could_be = all(letter in "0123456789.eE+- " for letter in plain)
            state = QValidator.State.Intermediate if could_be else QValidator.State.Invalid
            return state, text, position
        inside = self.minimum() <= value <= self.maximum()
        return QValidator.State.Acceptable if inside else QValidator.State.Intermediate, text, position

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        """Scrolls the page, not the number, unless the field has the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class CalmList(QComboBox):
    """A drop-down list with a chevron, which ignores the wheel unless it has the focus."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        """Scrolls the page, not the list, unless the list has the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The field, and the chevron that the style sheet cannot draw in a colour of the look."""
        super().paintEvent(event)
        painter = QPainter(self)
        color = "muted" if self.isEnabled() else "faint"
        mark = pixmap("chevron-down", color, 16, self.devicePixelRatioF())
        painter.drawPixmap(self.width() - 16 - tokens.SPACE_2, (self.height() - 16) // 2, mark)
        painter.end()


class CalmSlider(QSlider):
    """A slider that ignores the wheel unless it has the focus."""

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        """Scrolls the page unless the slider has the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class NumberSlider(QWidget):
    """A number as slider and field at once, on a linear or logarithmic scale.

    Attributes:
        moved: the new number, at every movement of either.
    """

    moved = Signal(float)

    def __init__(self, low: float, high: float, *, whole: bool, log: bool, stops: Sequence[float] = ()) -> None:
        """``low`` and ``high`` bound the slider, the field takes what `set_bounds` says; ``stops`` catch the slider."""
        super().__init__()
        self._low, self._high, self._whole, self._log = low, high, whole, log
        self._stops = tuple(stops)
        self.slider = CalmSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, len(self._stops) - 1 if self._stops else _SLIDER_STEPS)
        self.slider.setPageStep(max(1, self.slider.maximum() // 10))
        self.slider.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.slider.setMinimumWidth(look().px(112))
        self.field = CalmSpin(whole=whole)
        self.field.setRange(low, high)
        self.field.setFixedWidth(look().px(96))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(tokens.SPACE_3)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.field)
        self.slider.valueChanged.connect(self._slid)
        self.field.valueChanged.connect(self._typed)
        self.setFocusProxy(self.field)

    def set_bounds(self, low: float, high: float) -> None:
        """What the field takes, where that is more than the slider reaches."""
        self.field.setRange(low, high)

    def value(self) -> float:
        """The number."""
        return self.field.value()

    def set_value(self, value: float) -> None:
        """Shows a number without telling anyone."""
        for widget in (self.slider, self.field):
            widget.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
        self.field.setValue(value)
        self.slider.setValue(self._place(value))
        for widget in (self.slider, self.field):
            widget.blockSignals(False)  # noqa: FBT003

    def name_it(self, text: str) -> None:
        """Gives slider and field their accessible name."""
        self.slider.setAccessibleName(text)
        self.field.setAccessibleName(text)

    def _place(self, value: float) -> int:
        if self._stops:
            return min(range(len(self._stops)), key=lambda index: abs(self._scaled(self._stops[index], value)))
        if self._high <= self._low:
            return 0
        if self._log:
            low = max(self._low, 1e-12)
            part = math.log(max(value, low) / low) / math.log(self._high / low)
        else:
            part = (value - self._low) / (self._high - self._low)
        return round(min(1.0, max(0.0, part)) * _SLIDER_STEPS)

    def _scaled(self, stop: float, value: float) -> float:
        if self._log:
            return math.log(max(stop, 1e-12)) - math.log(max(value, 1e-12))
        return stop - value

    def _at(self, place: int) -> float:
        if self._stops:
            return self._stops[place]
        part = place / _SLIDER_STEPS
        if self._log:
            low = max(self._low, 1e-12)
            value = low * (self._high / low) ** part
            value = float(f"{value:.2g}")
        else:
            value = self._low + (self._high - self._low) * part
        return round(value) if self._whole else value

    def _slid(self, place: int) -> None:
        value = self._at(place)
        self.field.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
        self.field.setValue(value)
        self.field.blockSignals(False)  # noqa: FBT003
        self.moved.emit(value)

    def _typed(self, value: float) -> None:
        self.slider.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
        self.slider.setValue(self._place(value))
        self.slider.blockSignals(False)  # noqa: FBT003
        self.moved.emit(value)
