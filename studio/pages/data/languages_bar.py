"""In which languages the rows are, as a thin bar with names and shares below it."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from core.data.report.types import Language
from studio.look import tokens
from studio.look.theme import look
from studio.widgets.basics import column, label, row
from studio.widgets.flow import FlowLayout
from studio.words import say, tr, tr_count

_MOST = 6
_HEIGHT = 6
_OTHERS = "others"


def gathered(languages: Sequence[Language]) -> tuple[Language, ...]:
    """The most frequent languages, and the rest as one."""
    if len(languages) <= _MOST:
        return tuple(languages)
    rest = sum(item.rows for item in languages[_MOST - 1 :])
    count = len(languages) - _MOST + 1
    return (*languages[: _MOST - 1], Language(_OTHERS, tr("{n} others", n=count), rest))


def _share(share: float) -> str:
    """In whole percent: a language is told from a few words, and more digits would claim to know."""
    return tr("under 1 %") if share < 0.005 else f"{round(100 * share)} %"


class LanguagesBar(QWidget):
    """Bar and legend; a single language needs no bar."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Language, ...] = ()
        self._bar = _Bar()
        self._holder = QWidget()
        self._flow = FlowLayout(self._holder, spacing=tokens.SPACE_4)
        self.setLayout(column(self._bar, self._holder, spacing=6))
        self.setObjectName("languages")
        self.hide()

    def show_languages(self, languages: Sequence[Language]) -> None:
        """Shows other languages."""
        found = gathered(languages)
        self.setVisible(bool(found))
        if found == self._shown:
            return
        self._shown = found
        while (taken := self._flow.takeAt(0)) is not None:
            if (old := taken.widget()) is not None:
                old.hide()
                old.deleteLater()
        total = max(1, sum(item.rows for item in found))
        words = []
        for place, item in enumerate(found):
            share = _share(item.rows / total)
            name = item.name if item.code == _OTHERS else say(item.name)
            words.append(f"{name} {share}")
            entry = QWidget()
            entry.setLayout(row(_Dot(place), label(name), label(share, "muted"), spacing=6))
            entry.setToolTip(tr_count(item.rows, "one row", "{n} rows"))
            self._flow.addWidget(entry)
            entry.show()
        self._bar.setVisible(len(found) > 1)
        self._bar.show_rows([item.rows for item in found])
        self.setAccessibleName(tr("Languages: {list}", list=", ".join(words)))
        self._holder.updateGeometry()


class _Bar(QWidget):
    """Shares side by side."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[int] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_rows(self, rows: list[int]) -> None:
        self._rows = rows
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Thin and wide."""
        return QSize(look().px(120), look().px(_HEIGHT))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Each share in its colour; none thinner than a line, however rare."""
        c = look().colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        path = QPainterPath()
        path.addRoundedRect(QRectF(self.rect()), self.height() / 2, self.height() / 2)
        painter.setClipPath(path)
        painter.fillRect(self.rect(), QColor(c.line))
        total, left = max(1, sum(self._rows)), 0.0
        for place, rows in enumerate(self._rows):
            width = max(2.0, self.width() * rows / total)
            painter.fillRect(QRectF(left, 0, width - 1, self.height()), QColor(c.series[place]))
            left += width
        painter.end()


class _Dot(QWidget):
    """The colour of a language."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place
        self.setFixedSize(8, 8)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """A round spot."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(look().colors.series[self._place]))
        painter.setBrush(QColor(look().colors.series[self._place]))
        painter.drawEllipse(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()
