"""Two or more runs side by side: their curves over each other, their numbers, and the settings in which they differ."""

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from core.spec.run_spec import diff, field_at
from core.units import format_count, format_duration
from studio.look import tokens
from studio.look.theme import look
from studio.pages.runs.stories import Story
from studio.state.desk import Desk
from studio.widgets.basics import Card, Elided, label
from studio.widgets.plots.curve_card import CurveCard
from studio.widgets.plots.curve_plot import CurvePlot
from studio.widgets.plots.smoothing import Smoother
from studio.words import say, tr

_SMOOTHING = 0.9
_HIDDEN = frozenset(("output.name", "output.folder"))


class Comparison(QWidget):
    """The comparison of some runs."""

    def __init__(self, desk: Desk, stories: tuple[Story, ...]) -> None:
        super().__init__()
        self.differences = differing(stories)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_4)
        self.plot = CurvePlot(tr("Loss"), empty=tr("None of these runs has taken a step."))
        self.plot.setObjectName("comparison-plot")
        self.plot.setMinimumHeight(look().px(280))
        for number, story in enumerate(stories):
            self._draw(number, story)
        self.card = CurveCard(self.plot, "runs-compared")
        self.card.failed.connect(desk.complain)
        box.addWidget(self.card)
        box.addWidget(self._table(tr("Results"), stories, numbers_of(stories)))
        if self.differences:
            box.addWidget(self._table(tr("Settings that differ"), stories, self.differences))
        else:
            same = Card(tr("Settings that differ"))
            same.add(label(tr("None: these runs were asked for the same."), "help", wrap=True))
            box.addWidget(same)
        box.addStretch(1)

    def _draw(self, number: int, story: Story) -> None:
        history, evaluations = story.state.history, story.state.evaluations
        steps, losses = history.column("step"), history.column("loss")
        color = number % len(look().colors.series)
        smooth, checked = f"{number}-smooth", f"{number}-validation"
        self.plot.set_series(smooth, tr("{run}, smoothed", run=story.name), color, "strong")
        self.plot.set_series(checked, tr("{run}, validation", run=story.name), color, "marked")
        if len(steps):
            self.plot.set_data(smooth, steps, Smoother(_SMOOTHING).extend(losses))
        if evaluations:
            xs = [float(item.step) for item in evaluations]
            self.plot.set_data(checked, xs, [item.loss for item in evaluations])

    def _table(self, title: str, stories: tuple[Story, ...], rows: Mapping[str, tuple[str, ...]]) -> Card:
        card = Card(title)
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_4)
        grid.setVerticalSpacing(tokens.SPACE_2)
        grid.setColumnStretch(0, 1)
        for column, story in enumerate(stories, 1):
            grid.setColumnStretch(column, 1)
            grid.addWidget(Elided(story.name, "strong", mode=Qt.TextElideMode.ElideMiddle), 0, column)
        for number, (name, values) in enumerate(rows.items(), 1):
            grid.addWidget(label(name, "help", wrap=True), number, 0, Qt.AlignmentFlag.AlignTop)
            for column, value in enumerate(values, 1):
                grid.addWidget(Elided(value), number, column)
        card.add(grid)
        return card


def differing(stories: tuple[Story, ...]) -> dict[str, tuple[str, ...]]:
    """Title of each setting in which any two of the runs differ -> its value in each."""
    first = stories[0].spec
    paths = {path for story in stories[1:] for path, _, _ in diff(first, story.spec)} - _HIDDEN
    found = {}
    for info in sorted((field_at(path) for path in paths), key=lambda info: info.path):
        found[say(info.setting.title)] = tuple(shown(info.path, story.spec.get(info.path)) for story in stories)
    return found


def shown(path: str, value: object) -> str:
    """A setting's value as people read it."""
    info = field_at(path)
    for choice in info.setting.choices:
        if choice.value == value:
            return say(choice.title)
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "–"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value not in ("", None) else "–"


def numbers_of(stories: tuple[Story, ...]) -> dict[str, tuple[str, ...]]:
    """What came of each run."""

    def number(value: float | None) -> str:
        return f"{value:.4f}" if value is not None else "–"

    def started(story: Story) -> str:
        return format_count(story.state.started.trainable) if story.state.started is not None else "–"

    return {
        tr("Loss"): tuple(number(story.state.loss) for story in stories),
        tr("Validation loss"): tuple(number(story.state.validation_loss) for story in stories),
        tr("Best validation loss"): tuple(number(story.state.best_validation_loss) for story in stories),
        **_preferences(stories),
        tr("Steps"): tuple(f"{story.state.step:,}" for story in stories),
        tr("Duration"): tuple(
            format_duration(story.state.seconds) if story.state.seconds else "–" for story in stories
        ),
        tr("Trainable parameters"): tuple(started(story) for story in stories),
    }


def _preferences(stories: tuple[Story, ...]) -> dict[str, tuple[str, ...]]:
    """How many pairs of validation answers each run prefers rightly, and by how much; nothing without such runs."""
    newest = [story.state.evaluations[-1] if story.state.evaluations else None for story in stories]
    shares = [measured.preferred if measured else None for measured in newest]
    margins = [measured.margin if measured else None for measured in newest]
    if all(share is None for share in shares):
        return {}
    return {
        tr("Preferred in validation"): tuple(f"{100 * share:.0f} %" if share is not None else "–" for share in shares),
        tr("Margin in validation"): tuple(f"{margin:.2f}" if margin is not None else "–" for margin in margins),
    }
