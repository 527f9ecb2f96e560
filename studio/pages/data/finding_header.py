"""The line of a finding in the list: a button that opens it, with its mark, its title and how many rows it is about."""

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy

from core.data.report.types import Finding
from core.errors import Severity
from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look
from studio.widgets.basics import SEVERITY_ICONS
from studio.words import say, tr, tr_count

_HEIGHT = 36
_ICON = 16


class FindingHeader(QAbstractButton):
    """Chevron, mark, title, count. A click, Enter or Space opens and closes; arrow keys go along the list.

    Attributes:
        stepped: the neighbour below (1) or above (-1) is wanted.
    """

    stepped = Signal(int)

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self._finding = finding
        self._applied = False
        self.setObjectName("finding")
        self.setCheckable(True)
        self.setText(say(finding.title))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.toggled.connect(self._describe)
        self._describe()

    def set_applied(self, *, applied: bool) -> None:
        """Marks the finding as mended: its fix is in the spec, and the rows have not been looked through again."""
        if applied != self._applied:
            self._applied = applied
            self._describe()
            self.update()

    def _describe(self) -> None:
        words = {Severity.ERROR: tr("Error"), Severity.WARNING: tr("Warning"), Severity.INFO: tr("Note")}
        parts = [words[self._finding.severity], self.text(), self._count()]
        if self._applied:
            parts.append(tr("mended"))
        self.setAccessibleName(": ".join((parts[0], ", ".join(parts[1:]))))
        self.setAccessibleDescription(tr("open") if self.isChecked() else tr("closed"))

    def _count(self) -> str:
        return tr_count(self._finding.count, "one row", "{n} rows")

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """One line."""
        return QSize(look().px(280), max(look().px(_HEIGHT), self.fontMetrics().height() + 14))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Titles are shortened where space is short."""
        return QSize(look().px(160), self.sizeHint().height())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Enter clicks as Space does; arrows go to the neighbours."""
        key = event.key()
        if key in (Qt.Key.Key_Down, Qt.Key.Key_Up):
            self.stepped.emit(1 if key == Qt.Key.Key_Down else -1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The line, tinted under the mouse, with a ring while it has the focus."""
        c = look().colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(c.hover))
            painter.drawRoundedRect(self.rect(), tokens.RADIUS, tokens.RADIUS)
        left, middle = tokens.SPACE_1, (self.height() - _ICON) // 2
        ratio = self.devicePixelRatioF()
        chevron = "chevron-down" if self.isChecked() else "chevron-right"
        painter.drawPixmap(left, middle, pixmap(chevron, "muted", _ICON, ratio))
        left += _ICON + tokens.SPACE_2
        name, color, _ = SEVERITY_ICONS[self._finding.severity]
        mark = ("circle-check", "good") if self._applied else (name, color)
        painter.drawPixmap(left, middle, pixmap(*mark, _ICON, ratio))
        left += _ICON + tokens.SPACE_2
        self._paint_words(painter, left)
        if self.hasFocus():
            painter.setPen(QPen(QColor(c.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), tokens.RADIUS, tokens.RADIUS)
        painter.end()

    def _paint_words(self, painter: QPainter, left: int) -> None:
        c = look().colors
        count = tr("mended · {rows}", rows=self._count()) if self._applied else self._count()
        right = self.width() - tokens.SPACE_3
        painter.setPen(QColor(c.good if self._applied else c.muted))
        painter.drawText(QRectF(left, 0, right - left, self.height()),
                         Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, count)  # fmt: skip
        room = right - left - QFontMetrics(self.font()).horizontalAdvance(count) - tokens.SPACE_3
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(QColor(c.text))
        title = QFontMetrics(font).elidedText(self.text(), Qt.TextElideMode.ElideRight, max(0, room))
        painter.drawText(QRectF(left, 0, max(0, room), self.height()),
                         Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)  # fmt: skip
