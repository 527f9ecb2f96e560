"""The left rail: the pages in the order of the work, with the state of each."""

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QMenu, QPushButton, QVBoxLayout, QWidget

from core.facts.types import ModelFacts
from studio.look import tokens
from studio.look.icons import icon, pixmap
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import line
from studio.words import tr


def page_titles() -> dict[str, tuple[str, str]]:
    """Page name -> what it is called, and its icon."""
    return {
        "model": (tr("Model"), "box"),
        "data": (tr("Data"), "database"),
        "adapter": (tr("Adapter"), "layers"),
        "training": (tr("Training"), "activity"),
        "try": (tr("Try"), "message-square"),
        "export": (tr("Export"), "package"),
        "runs": (tr("Runs"), "history"),
        "settings": (tr("Settings"), "settings"),
    }


class RailItem(QPushButton):
    """One page: icon, title, and a mark at the right: "dot" (incomplete), "check" (ready), a number, or nothing."""

    def __init__(self, title: str, icon_name: str) -> None:
        super().__init__(title)
        self._icon_name = icon_name
        self._mark = ""
        self.setProperty("role", "rail")
        self.setCheckable(True)
        self.setIconSize(QSize(18, 18))
        self.toggled.connect(lambda _on: self._color())
        self._color()

    def show_mark(self, mark: str, words: str) -> None:
        """Shows another mark; ``words`` say it to screen readers."""
        self.setAccessibleName(f"{self.text()}: {words}" if words else self.text())
        self.setToolTip(words)
        if mark != self._mark:
            self._mark = mark
            self.update()

    def _color(self) -> None:
        self.setIcon(icon(self._icon_name, "accent" if self.isChecked() else "muted"))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The button, then its mark."""
        super().paintEvent(event)
        if not self._mark:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        c = look().colors
        right = self.width() - 14
        middle = self.height() // 2
        if self._mark == "dot":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(_color(c.warn))
            painter.drawEllipse(right - 6, middle - 3, 6, 6)
        elif self._mark == "check":
            painter.drawPixmap(right - 14, middle - 7, pixmap("check", "good", 14, self.devicePixelRatioF()))
        else:
            font = painter.font()
            font.setPixelSize(look().px(tokens.SMALL - 1))
            font.setBold(True)
            painter.setFont(font)
            wide = max(18, painter.fontMetrics().horizontalAdvance(self._mark) + 10)
            box = (right - wide + 2, middle - 9, wide, 18)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(_color(c.accent))
            painter.drawRoundedRect(*box, 9, 9)
            painter.setPen(_color(c.accent_text))
            painter.drawText(*box, Qt.AlignmentFlag.AlignCenter, self._mark)
        painter.end()


class Rail(QWidget):
    """The rail.

    Attributes:
        chosen: the name of the page that the user wants.
    """

    chosen = Signal(str)

    def __init__(self, desk: Desk, menu: QMenu) -> None:
        super().__init__()
        self._desk = desk
        self.setObjectName("rail")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedWidth(look().px(tokens.RAIL_WIDTH))
        self.setAccessibleName(tr("Pages"))
        box = QVBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_2, tokens.SPACE_3, tokens.SPACE_2, tokens.SPACE_3)
        box.setSpacing(2)
        file = QPushButton("Lowrank Studio")
        file.setProperty("role", "rail")
        file.setObjectName("main-menu")
        file.setIcon(icon("menu", "muted"))
        file.setIconSize(QSize(18, 18))
        file.setAccessibleName(tr("Menu: open, save, undo and more"))
        file.clicked.connect(lambda: menu.popup(file.mapToGlobal(file.rect().bottomLeft())))
        box.addWidget(file)
        box.addSpacing(tokens.SPACE_2)
        self._group = QButtonGroup(self)
        self.items: dict[str, RailItem] = {}
        for number, (name, (title, icon_name)) in enumerate(page_titles().items()):
            if name == "runs":
                box.addSpacing(tokens.SPACE_2)
                box.addWidget(line())
                box.addSpacing(tokens.SPACE_2)
            item = RailItem(title, icon_name)
            item.setObjectName(f"rail-{name}")
            item.clicked.connect(lambda _checked=False, name=name: self.chosen.emit(name))
            self._group.addButton(item, number)
            self.items[name] = item
            box.addWidget(item)
        box.addStretch(1)
        desk.session.plan_changed.connect(self.refresh)
        desk.session.busy_changed.connect(self.refresh)
        desk.runs.listed.connect(self.refresh)
        desk.runs.current_changed.connect(self.refresh)
        desk.runs.current_moved.connect(self.refresh)
        desk.runs.current_ended.connect(self.refresh)
        self.refresh()

    def show_page(self, name: str) -> None:
        """Marks the page that is in front; none for the first-run page."""
        self._group.setExclusive(False)
        for key, item in self.items.items():
            item.setChecked(key == name)
        self._group.setExclusive(True)

    def refresh(self) -> None:
        """Shows the state of every page."""
        session, runs = self._desk.session, self._desk.runs
        ready, open_ = ("check", tr("ready")), ("dot", tr("incomplete"))
        marks = {
            "model": ready
            if session.model is not None and session.model.here and not session.model_problems
            else open_,
            "data": ready if session.data is not None else open_,
            "adapter": ready if session.plan is not None and session.plan.parameters is not None else ("", ""),
            "training": ("", ""),
            "runs": ("", ""),
        }
        current = runs.current
        if runs.is_live and current is not None:
            state = current.state
            share = f"{min(100, 100 * state.step // state.steps)} %" if state.steps else "…"
            marks["training"] = (share, tr("a run is at work: {share}", share=share))
        if runs.live_count:
            marks["runs"] = (str(runs.live_count), tr("runs at work: {n}", n=runs.live_count))
        for name, (mark, words) in marks.items():
            self.items[name].show_mark(mark, words)


def _color(value: str) -> QColor:
    return QColor(value)


def _is_here(model: ModelFacts | None) -> bool:
    return model is not None and model.here
