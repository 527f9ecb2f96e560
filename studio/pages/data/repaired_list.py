"""What is mended in the rows while they are read: each repair of the spec, what it did, and a button that ends it."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from core.data.report.types import Report
from core.spec.repairs import REPAIRS
from studio.look import tokens
from studio.state.desk import Desk
from studio.state.repairs import without_repair
from studio.widgets.basics import IconLabel, button, label, row, show_inside
from studio.words import say, tr, tr_count


class RepairedList(QWidget):
    """The repairs of the spec in the order in which they are done; hidden while there are none."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._shown: tuple[tuple[str, str], ...] = ()
        self._lines: list[QWidget] = []
        self.buttons: dict[str, QPushButton] = {}
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_1)
        heading = row(label(tr("Mended while reading"), "strong"), label(tr("Your files stay as they are."), "muted"))
        heading.addStretch(1)
        self._box.addLayout(heading)
        self.setAccessibleName(tr("Repairs of the rows"))
        self.hide()

    def show_repairs(self, report: Report | None) -> None:
        """Shows the repairs of the spec and how many rows each touched: as they were read, or else as reported."""
        session = self._desk.session
        counts = report.repaired if report is not None else {}
        if session.data is not None and not session.is_reading:
            counts = {name: session.data.repaired.get(name, 0) for name in session.spec.data.repairs}
        shown = tuple((name, _count_words(counts.get(name))) for name in session.spec.data.repairs)
        if shown == self._shown:
            return
        self._shown = shown
        held = next((name for name, made in self.buttons.items() if made.hasFocus()), "")
        place = list(self.buttons).index(held) if held else -1
        for item in self._lines:
            self._box.removeWidget(item)
            item.hide()
            item.deleteLater()
        self._lines, self.buttons = [], {}
        for name, words in shown:
            self._add(name, words)
        self.setVisible(bool(shown))
        if place >= 0 and self.buttons:
            names_left = list(self.buttons)
            target = held if held in self.buttons else names_left[min(place, len(names_left) - 1)]
            self.buttons[target].setFocus(Qt.FocusReason.TabFocusReason)

    def _add(self, name: str, words: str) -> None:
        repair = REPAIRS.get(name)
        title = say(repair.title) if repair is not None else name
        made = button(tr("Take back"), lambda: self._take_back(name), role="quiet", icon_name="undo-2")
        made.setObjectName(f"take-back-{name}")
        made.setAccessibleName(tr("Take back: {repair}", repair=title))
        holder = QWidget()
        text = label(title, wrap=True)
        if repair is not None:
            text.setToolTip(f"<p>{say(repair.help)}</p>")
        count = label(words, "muted")
        count.setObjectName(f"repaired-{name}")
        box = row(IconLabel("circle-check", "good"), text, count, made)
        box.setStretch(1, 1)
        holder.setLayout(box)
        self._box.addWidget(holder)
        show_inside(holder, is_shown=True)
        self._lines.append(holder)
        self.buttons[name] = made

    def _take_back(self, name: str) -> None:
        session = self._desk.session
        session.apply((without_repair(session.spec, name),))


def _count_words(count: int | None) -> str:
    if count is None:
        return tr("not counted yet")
    return tr_count(count, "one row", "{n} rows") if count else tr("no row needs it")
