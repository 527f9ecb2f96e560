"""Whether the chosen model fits this computer with its weights in 16, 8 and 4 bits: a bar and a verdict for each."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from core.plan.fit import Fit, fit
from core.plan.types import Verdict
from core.units import format_bytes
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import Card, IconLabel, LinkLabel, column, label, row, set_role
from studio.words import tr

_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "fits": ("circle-check", "good"),
    "tight": ("triangle-alert", "warn"),
    "does_not_fit": ("octagon-x", "bad"),
    "unknown": ("circle-question-mark", "muted"),
}
_HEIGHT = 10


def verdict_word(verdict: Verdict) -> str:
    """A verdict in the user's language."""
    words = {"fits": tr("fits"), "tight": tr("tight"), "does_not_fit": tr("does not fit"), "unknown": tr("unknown")}
    return words[verdict]


class FitBar(QWidget):
    """The expected peak on a track as long as the device's memory, its band lighter, and the mark of what is free."""

    def __init__(self) -> None:
        super().__init__()
        self._fit: Fit | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_fit(self, fit_: Fit) -> None:
        """Shows other numbers."""
        self._fit = fit_
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """A low, wide bar."""
        return QSize(160, _HEIGHT + 4)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Track, band, peak, and the mark of what is free."""
        found = self._fit
        if found is None:
            return
        c = look().colors
        color = QColor(getattr(c, _VERDICTS[found.verdict][1]))
        span = max(found.limit_bytes, found.high_bytes, 1)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        path = QPainterPath()
        path.addRoundedRect(QRectF(0, 2, self.width(), _HEIGHT), 4, 4)
        painter.fillPath(path, QColor(c.line))
        painter.setClipPath(path)
        band = QColor(color)
        band.setAlphaF(0.35)
        painter.fillRect(QRectF(0, 2, self.width() * found.high_bytes / span, _HEIGHT), band)
        painter.fillRect(QRectF(0, 2, self.width() * found.peak_bytes / span, _HEIGHT), color)
        painter.setClipping(False)
        if found.high_bytes > found.limit_bytes > 0:
            at = round(self.width() * found.limit_bytes / span)
            painter.setPen(QPen(QColor(c.text), 1, Qt.PenStyle.DotLine))
            painter.drawLine(at, 0, at, self.height())
        if 0 < found.free_bytes < span:
            at = round(self.width() * found.free_bytes / span)
            painter.setPen(QPen(QColor(c.text), 2))
            painter.drawLine(at, 0, at, self.height())
        painter.end()


class FitRow(QWidget):
    """One format: its bits, the verdict with icon and word, the numbers, and the bar."""

    def __init__(self) -> None:
        super().__init__()
        self._bits = label("", "strong")
        self._icon = IconLabel("circle-question-mark")
        self._word = label("", "muted")
        self._numbers = label("", "muted")
        self._numbers.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.bar = FitBar()
        top = row(self._bits, tokens.SPACE_1, self._icon, self._word, None, self._numbers, spacing=tokens.SPACE_1)
        box = column(top, self.bar, spacing=2)
        self.setLayout(box)

    def show_fit(self, found: Fit) -> None:
        """Shows other numbers."""
        icon_name, color = _VERDICTS[found.verdict]
        bits = tr("{n}-bit", n=found.bits)
        numbers = tr(
            "about {peak} of {limit}", peak=format_bytes(found.peak_bytes), limit=format_bytes(found.limit_bytes)
        )
        self._bits.setText(bits)
        self._icon.set_icon(icon_name, color)
        self._word.setText(verdict_word(found.verdict))
        set_role(self._word, color)
        self._numbers.setText(numbers)
        tip = tr(
            "Between {low} and {high}; {free} are free now",
            low=format_bytes(found.low_bytes),
            high=format_bytes(found.high_bytes),
            free=format_bytes(found.free_bytes),
        )
        self.bar.setToolTip(tip)
        self.bar.show_fit(found)
        self.bar.setAccessibleName(f"{bits}: {verdict_word(found.verdict)}, {numbers}")
        self.setObjectName(f"fit-{found.quantization}")


class FitCard(Card):
    """The three rows, and a link that takes the weights in 4 bits."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Does it fit this computer?"), margin=tokens.SPACE_3)
        self.body.setSpacing(tokens.SPACE_2)
        self._desk = desk
        self._shown: tuple[Fit, ...] = ()
        self._intro = label("", "muted", wrap=True)
        self.add(self._intro)
        self._rows = [FitRow() for _ in range(3)]
        holder = QVBoxLayout()
        holder.setSpacing(tokens.SPACE_3)
        for item in self._rows:
            holder.addWidget(item)
        self.add(holder)
        self.four_bits = LinkLabel(tr("Load the weights in 4 bits"), self._load_in_four_bits)
        self.four_bits.setObjectName("load-4-bit")
        self._in_four_bits = label(tr("The weights will be loaded in 4 bits."), "muted", wrap=True)
        self.add(self.four_bits)
        self.add(self._in_four_bits)

    def refresh(self) -> None:
        """Shows what the present spec and facts come to."""
        session = self._desk.session
        facts = session.facts
        found = fit(session.spec, facts) if facts is not None and facts.model is not None else ()
        self.setVisible(bool(found))
        if found and found != self._shown:
            self._shown = found
            if found[0].device.startswith("cuda"):
                words = tr("A LoRA run with the present settings, in the graphics card’s memory.")
            else:
                words = tr("A LoRA run with the present settings, in main memory.")
            self._intro.setText(words)
            for item, line in zip(found, self._rows, strict=True):
                line.show_fit(item)
        in_four = session.spec.model.quantization == "nf4"
        self.four_bits.setVisible(not in_four)
        self._in_four_bits.setVisible(in_four)

    def _load_in_four_bits(self) -> None:
        self._desk.session.edit("model.quantization", "nf4")
