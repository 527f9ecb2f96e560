"""What a change did: the difference in parameters and memory, shown beside its control for about a second."""

from collections.abc import Iterable

from PySide6.QtCore import QObject, Qt, QTimer, QVariantAnimation, Signal
from PySide6.QtGui import QColor, QFont, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from core.plan.types import Plan
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.words import tr

_SHOWN_MS = 1200
_WIDTH = 104


class Changes(QObject):
    """Compares the plan before and after every edit.

    Attributes:
        changed: the edited paths, and what the edit added in parameters and in bytes.
    """

    changed = Signal(object, object, object)  # numbers beyond 32 bits

    def __init__(self, desk: Desk, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._last = _numbers(desk.session.plan)
        desk.session.spec_changed.connect(self._edited)
        desk.session.facts_changed.connect(self._renewed)

    def _edited(self, paths: frozenset[str]) -> None:
        before, self._last = self._last, _numbers(self._desk.session.plan)
        if before is not None and self._last is not None:
            self.changed.emit(paths, self._last[0] - before[0], self._last[1] - before[1])

    def _renewed(self, _name: str) -> None:
        self._last = _numbers(self._desk.session.plan)


def _numbers(plan: Plan | None) -> tuple[int, int] | None:
    if plan is None or plan.parameters is None or plan.memory is None:
        return None
    return plan.parameters.trainable, plan.memory.peak_bytes


def change_words(parameters: int, size: int) -> str:
    """``(1_228_800, 62_914_560)`` -> “+1.2 M · +60.0 MiB”; what stays the same is left out."""
    parts = []
    if parameters:
        parts.append(tr("{sign}{count} param.", sign=_sign(parameters), count=format_count(abs(parameters))))
    if size:
        parts.append(f"{_sign(size)}{format_bytes(abs(size))}")
    return "\n".join(parts) or tr("same size")


def _sign(number: int) -> str:
    return "+" if number > 0 else "−"


class ChangeLabel(QWidget):
    """Shows for about a second what edits of certain settings changed; what follows quickly is added up.

    It has one size and paints itself, so that a change moves nothing and costs no layout.
    """

    def __init__(self, desk: Desk, changes: Changes, paths: Iterable[str]) -> None:
        super().__init__()
        self._desk = desk
        self._paths = frozenset(paths)
        self._parameters = self._bytes = 0
        self._opacity = 0.0
        self.text = ""
        self.setFixedSize(look().px(_WIDTH), look().px(tokens.CONTROL))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SHOWN_MS)
        self._timer.timeout.connect(self._leave)
        self._fading = QVariantAnimation(self)
        self._fading.setDuration(tokens.MOTION_MS)
        self._fading.setStartValue(1.0)
        self._fading.setEndValue(0.0)
        self._fading.valueChanged.connect(self._fade)
        changes.changed.connect(self._changed)

    @property
    def is_shown(self) -> bool:
        """Whether something is to be read."""
        return self._opacity > 0

    def _changed(self, paths: frozenset[str], parameters: int, size: int) -> None:
        if not paths & self._paths:
            return
        if not self._timer.isActive():
            self._parameters = self._bytes = 0
        self._parameters += parameters
        self._bytes += size
        self.text = change_words(self._parameters, self._bytes)
        self.setAccessibleName(self.text)
        self._fading.stop()
        self._fade(1.0)
        self._timer.start()

    def _leave(self) -> None:
        if self._desk.preferences.now.reduced_motion:
            self._fade(0.0)
        else:
            self._fading.start()

    def _fade(self, opacity: float) -> None:
        self._opacity = opacity
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The words, as far as they have not faded."""
        if not self.is_shown:
            return
        painter = QPainter(self)
        painter.setOpacity(self._opacity)
        font = QFont(self.font())
        font.setPixelSize(look().px(tokens.SMALL))
        painter.setFont(font)
        painter.setPen(QColor(look().colors.text))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.text)
        painter.end()
