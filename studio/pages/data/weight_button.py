"""How often the rows of a file count, as a small button on its chip with a menu of usual weights."""

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QInputDialog, QMenu, QPushButton, QWidget

from core.spec.weights import HIGHEST_WEIGHT, unmatched, weight_of
from studio.state.desk import Desk
from studio.widgets.basics import button, row
from studio.words import tr

WEIGHTS = "data.weights"
_USUAL = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0)


class WeightButton(QWidget):
    """Shows “×2”; a click asks for another weight."""

    def __init__(self, desk: Desk, path: str, name: str) -> None:
        """``path`` is the file, ``name`` what it is called."""
        super().__init__()
        self._desk, self._path, self._name = desk, path, name
        self.button: QPushButton = button("", self._show_menu, role="link", name="file-weight")
        self.setLayout(row(self.button))
        self.refresh()

    @property
    def weight(self) -> float:
        """How often an epoch takes each row."""
        return weight_of(self._path, self._desk.session.spec.data.weights)

    def refresh(self) -> None:
        """Shows the weight of the spec."""
        shown = f"×{self.weight:g}"
        self.button.setText(shown)
        self.button.setToolTip(tr("An epoch takes each row of this file so often. Click to change it."))
        self.button.setAccessibleName(tr("Weight of {name}: {weight}", name=self._name, weight=f"{self.weight:g}"))

    def menu(self) -> QMenu:
        """Usual weights, the present one checked, and a way to any other."""
        menu = QMenu(self)
        for weight in dict.fromkeys(sorted({*_USUAL, self.weight})):
            entry = menu.addAction(weight_words(weight))
            entry.setCheckable(True)
            entry.setChecked(weight == self.weight)
            entry.triggered.connect(lambda _checked=False, weight=weight: self.take(weight))
        menu.addSeparator()
        menu.addAction(tr("Another weight…")).triggered.connect(lambda _checked=False: self._ask())
        return menu

    def take(self, weight: float) -> None:
        """Puts a weight into the spec; once is what counts without any."""
        self._desk.session.edit(WEIGHTS, with_weight(self._desk.session.spec.data.weights, self._path, weight))

    def _show_menu(self) -> None:
        menu = self.menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.button.mapToGlobal(self.button.rect().bottomLeft()))

    def _ask(self) -> None:
        title = tr("Weight of {name}", name=self._name)
        words = tr("How often an epoch takes each row (0.5 takes a half of them):")
        value, is_given = QInputDialog.getDouble(self, title, words, self.weight, 0.01, HIGHEST_WEIGHT, 2)
        if is_given:
            self.take(value)


def weight_words(weight: float) -> str:
    """A weight as people say it."""
    known = {
        0.25: tr("A quarter of the rows"), 0.5: tr("Half of the rows"), 1.0: tr("Each row once"),
        2.0: tr("Each row twice"),
    }  # fmt: skip
    return known.get(weight, tr("Each row {n} times", n=f"{weight:g}"))


def with_weight(weights: Mapping[str, float], path: str, weight: float) -> dict[str, float]:
    """The weights with another one for a file; whatever key meant it before is gone."""
    kept = {key: weights[key] for key in unmatched((path,), weights)}
    return kept if weight == 1.0 else {**kept, path: weight}
