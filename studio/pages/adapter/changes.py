"""What a change did: the difference in parameters and memory, shown beside its control for about a second."""

from collections.abc import Iterable

from PySide6.QtCore import QEasingCurve, QObject, QPropertyAnimation, Qt, QTimer, Signal
from PySide6.QtWidgets import QGraphicsOpacityEffect, QLabel, QSizePolicy

from core.plan.types import Plan
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.words import tr

_SHOWN_MS = 1200
_WIDTH = 132


class Changes(QObject):
    """Compares the plan before and after every edit.

    Attributes:
        changed: the edited paths, and what the edit added in parameters and in bytes.
    """

    changed = Signal(object, int, object)  # bytes go beyond 32 bits

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


class ChangeLabel(QLabel):
    """Shows for about a second what edits of certain settings changed; what follows quickly is added up."""

    def __init__(self, desk: Desk, changes: Changes, paths: Iterable[str], *, reserve: bool = True) -> None:
        """``reserve`` keeps the label's space while it is hidden, so that nothing moves when it comes."""
        super().__init__()
        self._desk = desk
        self._paths = frozenset(paths)
        self._parameters = self._bytes = 0
        self.setProperty("role", "muted")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if reserve:
            self.setFixedWidth(look().px(_WIDTH))
        policy = QSizePolicy(self.sizePolicy())
        policy.setRetainSizeWhenHidden(reserve)
        self.setSizePolicy(policy)
        self.hide()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SHOWN_MS)
        self._timer.timeout.connect(self._leave)
        self._effect: QGraphicsOpacityEffect | None = None
        self._fading: QPropertyAnimation | None = None
        changes.changed.connect(self._changed)

    def _changed(self, paths: frozenset[str], parameters: int, size: int) -> None:
        if not paths & self._paths:
            return
        if not self._timer.isActive():
            self._parameters = self._bytes = 0
        self._parameters += parameters
        self._bytes += size
        text = change_words(self._parameters, self._bytes)
        self._stop_fading()
        self.setText(text)
        self.setAccessibleName(text)
        self.show()
        self._timer.start()

    def _leave(self) -> None:
        if self._desk.preferences.now.reduced_motion:
            self.hide()
            return
        self._effect = QGraphicsOpacityEffect(self)
        self.setGraphicsEffect(self._effect)
        self._fading = QPropertyAnimation(self._effect, b"opacity", self)
        self._fading.setDuration(tokens.MOTION_MS)
        self._fading.setStartValue(1.0)
        self._fading.setEndValue(0.0)
        self._fading.setEasingCurve(QEasingCurve.Type.OutCubic)
        self._fading.finished.connect(self._gone)
        self._fading.start()

    def _gone(self) -> None:
        self.hide()
        self._stop_fading()

    def _stop_fading(self) -> None:
        if self._fading is not None:
            self._fading.stop()
            self._fading.deleteLater()
            self._fading = None
            self.setGraphicsEffect(None)  # type: ignore[arg-type]  # takes none, whatever the stubs say
            self._effect = None
