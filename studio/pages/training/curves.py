"""The curves of a run: the loss large, and learning rate, gradient norm, speed and memory small below it.

A run that learns from pairs of answers has two more: how many of them it prefers rightly, and by how much.
"""

import math
from functools import partial

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from core.events.run_state import RunState
from core.units import format_count
from studio.look import tokens
from studio.look.theme import look
from studio.pages.training.feed import RAW, SMOOTH, VALIDATION, Feed, Plots
from studio.pages.training.memory import memory_of
from studio.state.desk import Desk
from studio.widgets.basics import Card, label
from studio.widgets.controls import CalmSlider
from studio.widgets.plots.curve_card import CurveCard
from studio.widgets.plots.curve_plot import CurvePlot
from studio.words import tr

_SMOOTHING_STEPS = 99
_PAIR_PLOT = 152
"""Height of a plot with three curves: the label of the crosshair has as many lines."""


class Curves(QWidget):
    """All plots of a run; they move together, and share one crosshair."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._memory = memory_of(desk)
        self.plots = self._make_plots()
        self.feed = Feed(self.plots, self._memory.smoothing)
        self.card = CurveCard(self.plots.loss, "loss", *self._smoothing())
        self.card.saved.connect(self._saved)
        self.card.failed.connect(desk.complain)
        self.plots.loss.set_log(self._memory.log)
        self.plots.loss.log_changed.connect(self._log_changed)
        for plot in self.plots.all:
            plot.view_changed.connect(partial(self._went, plot))
            plot.cursor_changed.connect(partial(self._pointed, plot))
        small = Card(margin=tokens.SPACE_2)
        grid = QGridLayout()
        grid.setSpacing(tokens.SPACE_2)
        for index, plot in enumerate((*self.plots.pairs, *self.plots.small)):
            grid.addWidget(plot, index // 2, index % 2)
        for plot in self.plots.pairs:
            plot.hide()
            self.feed.pairs_found.connect(plot.setVisible)
        small.add(grid)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        box.addWidget(self.card)
        box.addWidget(small)

    def begin(self, name: str) -> None:
        """Shows another run, from its first step on."""
        self.card.file_name = f"{name}-loss"
        self.feed.forget()
        for plot in self.plots.all:
            plot.show_all()

    def take(self, state: RunState) -> None:
        """Shows the newest steps."""
        self.feed.take(state)

    def _make_plots(self) -> Plots:
        loss = CurvePlot(tr("Loss"), empty=tr("The curve begins with the first step."))
        loss.setObjectName("loss-plot")
        loss.set_series(RAW, tr("Training"), 0, "faint")
        loss.set_series(SMOOTH, tr("Training, smoothed"), 0, "strong")
        loss.set_series(VALIDATION, tr("Validation"), 1, "marked")
        loss.setMinimumHeight(look().px(260))
        for key in self._memory.hidden & set(loss.scene.series):
            loss.scene.series[key].hidden = True
        small = (
            ("rate", CurvePlot(tr("Learning rate"), compact=True, at_least=0.0), 2),
            ("norm", CurvePlot(tr("Gradient norm"), compact=True, at_least=0.0), 3),
            ("speed", CurvePlot(tr("Tokens a second"), compact=True, at_least=0.0, write=format_count), 4),
            ("memory", CurvePlot(tr("Memory, GiB"), compact=True, at_least=0.0), 5),
        )
        for name, plot, color in small:
            plot.setObjectName(f"{name}-plot")
            plot.set_series("value", plot.scene.title, color, "strong")
            plot.setMinimumHeight(look().px(112))
        return Plots(loss, *self._make_pair_plots(), *(plot for _, plot, _ in small))

    @staticmethod
    def _make_pair_plots() -> tuple[CurvePlot, CurvePlot]:
        """Curves in the colours of the loss, whose legend explains them."""
        preferred = CurvePlot(tr("Preferred"), compact=True, at_least=0.0, write=_percent)
        margin = CurvePlot(tr("Margin"), compact=True, at_least=0.0)
        for name, plot in (("preferred", preferred), ("margin", margin)):
            plot.setObjectName(f"{name}-plot")
            plot.set_series(RAW, tr("Training"), 0, "faint")
            plot.set_series(SMOOTH, tr("Training, smoothed"), 0, "strong")
            plot.set_series(VALIDATION, tr("Validation"), 1, "marked")
            plot.setMinimumHeight(look().px(_PAIR_PLOT))
        return preferred, margin

    def _smoothing(self) -> tuple[QWidget, ...]:
        caption = label(tr("Smoothing"), "muted")
        caption.setToolTip(
            tr("How much the past counts in the smoothed curve. It shows where the loss is going; the raw one is true.")
        )
        slider = CalmSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, _SMOOTHING_STEPS)
        slider.setPageStep(10)
        slider.setValue(round(self._memory.smoothing * 100))
        slider.setFixedWidth(look().px(140))
        slider.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        slider.setAccessibleName(tr("Smoothing"))
        slider.setObjectName("smoothing")
        slider.valueChanged.connect(self._smoothed)
        caption.setBuddy(slider)
        self._weight = label(f"{self._memory.smoothing:.2f}", "muted")
        self.slider = slider
        return caption, slider, self._weight

    def _smoothed(self, place: int) -> None:
        self._memory.smoothing = place / 100
        self._weight.setText(f"{place / 100:.2f}")
        self.feed.set_weight(place / 100)

    def _log_changed(self, log: bool) -> None:
        self._memory.log = log

    def _went(self, source: QObject, window: tuple[float, float] | None) -> None:
        for plot in self.plots.all:
            if plot is not source:
                plot.set_window(window, follows=self._follows(source))

    @staticmethod
    def _follows(source: QObject) -> bool:
        return isinstance(source, CurvePlot) and source.scene.view.follows

    def _pointed(self, source: QObject, x: float | None) -> None:
        for plot in self.plots.all:
            if plot is not source:
                plot.set_cursor(x)

    def _saved(self, path: object) -> None:
        self._desk.tell(tr("The curves are saved in {path}.", path=path))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "–"
