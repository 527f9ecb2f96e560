"""The formats of an export as cards, of which one is chosen."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.state.export_facts import ExportKind
from studio.widgets.basics import IconLabel, label, row
from studio.words import tr


class FormatCard(QAbstractButton):
    """A format to choose: what it is, what it is for, and how large it will be. One of a group is down."""

    def __init__(self, icon_name: str, title: str, text: str) -> None:
        super().__init__()
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._size = label("", "muted")
        self._words = label(text, "help", wrap=True)
        self._reason = label("", "muted", wrap=True)
        self._reason.setVisible(False)
        box = QVBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_4, tokens.SPACE_3, tokens.SPACE_4, tokens.SPACE_3)
        box.setSpacing(tokens.SPACE_2)
        heading = label(title, "strong", wrap=True)
        top = row(IconLabel(icon_name, "accent", 18), heading)
        top.setStretch(1, 1)
        box.addLayout(top)
        box.addWidget(self._words)
        box.addWidget(self._reason)
        box.addStretch(1)
        box.addWidget(self._size)
        for child in self.findChildren(QWidget):
            child.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def show_offer(self, size: str, reason: str) -> None:
        """Says how large it will be, or why it cannot be had."""
        self._size.setText(size)
        self._size.setVisible(bool(size))
        self._reason.setText(reason)
        self._reason.setVisible(bool(reason))
        self.setEnabled(not reason)

    def hasHeightForWidth(self) -> bool:  # noqa: N802 (Qt's name)
        """A button says no, but its words wrap."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802 (Qt's name)
        """What the words take when they wrap within ``width``."""
        layout = self.layout()
        return layout.heightForWidth(width) if layout is not None else super().heightForWidth(width)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As narrow as the longest word, because all others wrap; the grid makes it wider."""
        layout = self.layout()
        if layout is None:
            return super().sizeHint()
        return QSize(layout.minimumSize().width(), layout.sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """What the content takes at least."""
        layout = self.layout()
        return layout.minimumSize() if layout is not None else super().minimumSizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The frame: tinted when chosen, ringed when focused."""
        c = look().colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = self.isChecked()
        under = self.underMouse() and self.isEnabled()
        painter.setBrush(QColor(c.accent_soft if chosen else c.hover if under else c.panel))
        strong = chosen or self.hasFocus()
        painter.setPen(QPen(QColor(c.accent if strong else c.line), 2 if self.hasFocus() else 1))
        inset = 1.0 if self.hasFocus() else 0.5
        box = QRectF(self.rect()).adjusted(inset, inset, -inset, -inset)
        painter.drawRoundedRect(box, tokens.CARD_RADIUS, tokens.CARD_RADIUS)
        painter.end()


class CardGrid(QWidget):
    """Cards of equal width, as many side by side as there is room for."""

    def __init__(self, cards: Sequence[QWidget], least_width: int, most_columns: int) -> None:
        """``least_width`` of a card is in pixels of the normal text size."""
        super().__init__()
        self._cards, self._least, self._most = cards, least_width, most_columns
        self._columns = 0
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(tokens.SPACE_3)
        self._arrange(most_columns)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Other columns in another width."""
        super().resizeEvent(event)
        fitting = (self.width() + tokens.SPACE_3) // (look().px(self._least) + tokens.SPACE_3)
        self._arrange(max(1, min(self._most, fitting)))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As narrow as one column: the others give way."""
        widest = max(card.minimumSizeHint().width() for card in self._cards)
        return QSize(widest, super().minimumSizeHint().height())

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        for place in range(self._most):
            self._grid.setColumnStretch(place, 1 if place < columns else 0)
        for index, card in enumerate(self._cards):
            self._grid.addWidget(card, index // columns, index % columns)


class Formats(QWidget):
    """All formats; exactly one of those that exist is chosen.

    Attributes:
        chosen: the kind that the user pressed.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._cards = {
            kind: FormatCard(icon_name, title_of(kind), text) for kind, (icon_name, text) in _about().items()
        }
        group = QButtonGroup(self)
        for kind, card in self._cards.items():
            card.setObjectName(f"format-{kind}")
            group.addButton(card)
            card.clicked.connect(lambda _checked=False, kind=kind: self.chosen.emit(kind))
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        box.addWidget(CardGrid(list(self._cards.values()), 168, 4))

    def show_offer(self, kind: ExportKind, size: str, reason: str) -> None:
        """Says of a kind how large it will be, or why it cannot be had."""
        self._cards[kind].show_offer(size, reason)

    def choose(self, kind: ExportKind) -> None:
        """Shows another choice without telling anyone."""
        self._cards[kind].setChecked(True)

    def card(self, kind: ExportKind) -> FormatCard:
        """The card of a kind."""
        return self._cards[kind]


def title_of(kind: ExportKind) -> str:
    """What a kind of export is called."""
    titles = {
        "adapter": tr("Adapter"),
        "merged": tr("Merged model"),
        "gguf": tr("GGUF"),
        "gguf_adapter": tr("LoRA as GGUF"),
        "ollama": tr("Ollama"),
        "lm_studio": tr("LM Studio"),
        "hub": tr("Hugging Face Hub"),
    }
    return titles[kind]


def _about() -> dict[ExportKind, tuple[str, str]]:
    """The icon of each kind, and what it is for."""
    return {
        "adapter": ("layers", tr("Only what was learned. For peft, vLLM and others that load it on the base model.")),
        "merged": ("package", tr("Base and adapter as one. For all that loads a plain transformers model.")),
        "gguf": ("box", tr("One file, in fewer bits if you like. For llama.cpp and programs built on it.")),
        "gguf_adapter": ("file", tr("The adapter alone, for a llama.cpp that has the base model.")),
        "ollama": ("terminal", tr("With its own template and stop words, ready for “ollama run”.")),
        "lm_studio": ("monitor", tr("A GGUF file where LM Studio looks for its models.")),
        "hub": ("upload", tr("Uploaded with its model card, private at first.")),
    }
