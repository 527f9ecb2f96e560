"""The plan's numbers below the bar: components with their colours, then name and value."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from core.plan.types import Plan
from core.units import format_bytes, format_count, format_duration, format_share
from studio.look import tokens
from studio.look.theme import look
from studio.shell.plan_words import evidence_words, short_band, shown_tip, shown_title
from studio.widgets.basics import label, show_figure
from studio.widgets.memory_bar import Part
from studio.words import say, tr

_ONLY_WHERE_KNOWN = frozenset(("band", "shown", "energy"))


class Legend(QWidget):
    """The components below the bar: a dot of the component's colour, its title, its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(tokens.SPACE_2)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._rows: list[tuple[QLabel, QLabel, QLabel]] = []
        self._names: tuple[str, ...] = ()

    def show_parts(self, parts: list[Part]) -> None:
        """Shows other numbers; rows are made anew only when there are others."""
        names = tuple(part.name for part in parts)
        if names != self._names:
            self._names = names
            for dot, title, size in self._rows:
                for widget in (dot, title, size):
                    self._grid.removeWidget(widget)
                    widget.deleteLater()
            self._rows = []
            for number, part in enumerate(parts):
                dot, title, size = QLabel(), label(part.title, "muted", wrap=True), label("", "muted")
                dot.setFixedSize(10, 10)
                size.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                color = tokens.component_color(part.name, look().colors)
                dot.setStyleSheet(f"background: {color}; border-radius: 5px;")
                self._grid.addWidget(dot, number, 0, Qt.AlignmentFlag.AlignVCenter)
                self._grid.addWidget(title, number, 1)
                self._grid.addWidget(size, number, 2, Qt.AlignmentFlag.AlignRight)
                self._rows.append((dot, title, size))
        for (_, _, size), part in zip(self._rows, parts, strict=True):
            show_figure(size, format_bytes(part.bytes))


class PlanValues(QWidget):
    """Name and value, one below the other."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_2)
        grid.setVerticalSpacing(tokens.SPACE_1)
        grid.setColumnStretch(0, 1)
        self._titles: dict[str, QLabel] = {}
        self._values: dict[str, QLabel] = {}
        titles = {
            "band": tr("Between"),
            "shown": tr("Shown by the system"),
            "trainable": tr("Trainable"),
            "share": tr("of all parameters"),
            "tokens": tr("Tokens per step"),
            "steps": tr("Steps"),
            "time": tr("Time"),
            "energy": tr("Energy"),
            "disk": tr("Disk"),
            "device": tr("Device"),
        }
        for number, (name, title) in enumerate(titles.items()):
            value = label("–", "strong")
            value.setObjectName(f"plan-{name}")
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._titles[name] = label(title, "help", wrap=True)  # a long value leaves it little room
            grid.addWidget(self._titles[name], number, 0)
            grid.addWidget(value, number, 1, Qt.AlignmentFlag.AlignRight)
            self._values[name] = value

    def show_plan(self, plan: Plan | None) -> None:
        """Shows a plan's numbers; a dash stands for what is not known yet."""
        words = dict.fromkeys(self._values, "–")
        tips: dict[str, str] = {}
        if plan is not None:
            words["device"] = plan.choices.device.value
            tips["device"] = say(plan.choices.device.reason)
            if plan.memory is not None and plan.memory.parts:
                words["band"] = short_band(plan.memory)
                tips["band"] = evidence_words(plan.memory)
            if plan.memory is not None and plan.memory.shown_bytes:
                self._titles["shown"].setText(shown_title(plan.memory))
                words["shown"] = format_bytes(plan.memory.shown_bytes)
                tips["shown"] = shown_tip(plan.memory)
            if plan.parameters is not None:
                words["trainable"] = format_count(plan.parameters.trainable)
                words["share"] = format_share(plan.parameters.share)
                tips["trainable"] = tr(
                    "{trained} trained of {total}",
                    trained=f"{plan.parameters.trainable:,}",
                    total=f"{plan.parameters.total:,}",
                )
            if plan.batch is not None:
                words["tokens"] = f"{plan.batch.tokens_per_step:,.0f}"
                words["steps"] = f"{plan.batch.steps:,}"
            if plan.duration is not None:
                words["time"] = tr("about {time}", time=format_duration(plan.duration.seconds))
                tips["time"] = tr(
                    "Between {low} and {high}. {basis}",
                    low=format_duration(plan.duration.low_seconds),
                    high=format_duration(plan.duration.high_seconds),
                    basis=say(plan.duration.basis),
                )
            if plan.disk is not None:
                words["disk"] = format_bytes(plan.disk.run_bytes)
                tips["disk"] = tr("{free} are free", free=format_bytes(plan.disk.free_bytes))
            if plan.duration is not None and plan.duration.watt_hours > 0:
                words["energy"] = tr("about {n} Wh", n=f"{plan.duration.watt_hours:,.0f}")
        for name, value in self._values.items():
            show_figure(value, words[name])
            value.setToolTip(tips.get(name, ""))
            if name in _ONLY_WHERE_KNOWN:
                value.setVisible(words[name] != "–")
                self._titles[name].setVisible(words[name] != "–")
