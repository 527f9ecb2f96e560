"""The plan panel: what will happen, before it happens: verdict, memory, parameters, steps, time, problems, Start."""

import re

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from core.errors import Problem, Severity
from core.plan.types import Memory, Plan
from core.units import format_bytes, format_count, format_duration, format_share
from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look
from studio.shell.start import start_blocker
from studio.state.desk import Desk
from studio.widgets.basics import IconLabel, LinkLabel, button, label, line, set_role, show_figure
from studio.widgets.memory_bar import MemoryBar, Part
from studio.widgets.notes import ProblemNotes
from studio.words import say, tr, tr_count

_ROW = re.compile(r":\d+$")
_MOST_ROWS = 2
_VERDICTS = {
    "fits": ("circle-check", "good"),
    "tight": ("triangle-alert", "warn"),
    "does_not_fit": ("octagon-x", "bad"),
    "unknown": ("circle-question-mark", "muted"),
}


def verdict_words(plan: Plan | None) -> tuple[str, str, str]:
    """The verdict of a plan: a short word, a sentence with numbers, and the name of the verdict."""
    memory = plan.memory if plan is not None else None
    if memory is None:
        return tr("Not planned yet"), tr("Choose a base model to see what a run needs."), "unknown"
    words = {
        "fits": tr("Fits"),
        "tight": tr("Tight"),
        "does_not_fit": tr("Does not fit"),
        "unknown": tr("Unknown"),
    }
    numbers = tr(
        "about {peak} of {limit}", peak=format_bytes(memory.peak_bytes), limit=format_bytes(memory.limit_bytes)
    )
    return words[memory.verdict], numbers, memory.verdict


def memory_parts(memory: Memory) -> list[Part]:
    """The memory bar's parts, with titles in the user's language."""
    return [Part(part.name, say(part.title), part.bytes) for part in memory.parts if part.bytes > 0]


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


class PlanPanel(QWidget):
    """The panel at the right of the first four pages.

    Attributes:
        start_asked: the user pressed Start.
        place_asked: the user wants to see the page of a problem's setting.
    """

    start_asked = Signal()
    place_asked = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        box = QVBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_4, tokens.SPACE_4, tokens.SPACE_4, tokens.SPACE_4)
        box.setSpacing(tokens.SPACE_2)
        self._mark = IconLabel("circle-question-mark", "muted", 20)
        self._verdict = label("", "section")
        self._verdict.setObjectName("plan-verdict")
        top = QHBoxLayout()
        top.setSpacing(tokens.SPACE_2)
        top.addWidget(self._mark)
        top.addWidget(self._verdict, 1)
        self._numbers = label("", "help")
        self._numbers.setObjectName("plan-memory")
        self.bar = MemoryBar()
        self.bar.setObjectName("plan-bar")
        self._legend = Legend()
        self._values = _Values()
        self._busy = label("", "muted", wrap=True)
        self._notes = ProblemNotes(lambda fix: desk.session.apply(fix.edits), compact=True, spacing=tokens.SPACE_2)
        self._more = LinkLabel("", lambda: desk.go("data"))
        self._more.setObjectName("plan-more-problems")
        area = self._scrolling()
        self.start = button(tr("Start"), self.start_asked.emit, role="primary", icon_name="play", name="start")
        self.start.setMinimumHeight(look().px(tokens.START))
        self._why = label("", "muted", wrap=True)
        self._why.setObjectName("start-blocker")
        for item in (label(tr("PLAN"), "caption"), top, self._numbers, self.bar, area, self._why, self.start):
            if isinstance(item, QWidget):
                box.addWidget(item, 1 if item is area else 0)
            else:
                box.addLayout(item)
        session = desk.session
        session.plan_changed.connect(self.refresh)
        session.busy_changed.connect(self._show_busy)
        session.facts_changed.connect(self.refresh)
        self.refresh()
        self._show_busy()

    def _scrolling(self) -> QScrollArea:
        """Components, values and problems: the part that scrolls where the window is low."""
        inner = QWidget()
        inner.setObjectName("planBody")
        filled = QVBoxLayout(inner)
        filled.setContentsMargins(0, 0, tokens.SPACE_1, 0)
        filled.setSpacing(tokens.SPACE_3)
        filled.addWidget(self._legend)
        filled.addWidget(line())
        filled.addWidget(self._values)
        filled.addWidget(self._busy)
        filled.addWidget(self._notes)
        filled.addWidget(self._more)
        filled.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        return area

    def refresh(self, _what: str = "") -> None:
        """Shows the plan as it is now."""
        session = self._desk.session
        plan = session.plan
        word, numbers, verdict = verdict_words(plan)
        icon_name, color = _VERDICTS[verdict]
        self._mark.setPixmap(pixmap(icon_name, color, 20, self.devicePixelRatioF()))
        self._verdict.setText(word)
        show_figure(self._numbers, numbers)
        memory = plan.memory if plan is not None else None
        parts = memory_parts(memory) if memory is not None else []
        if memory is not None:
            self.bar.show_parts(parts, memory.limit_bytes, memory.free_bytes)
            self._numbers.setToolTip(_band_words(memory))
        else:
            self.bar.show_parts((), 0, 0)
        self._legend.show_parts(parts)
        self._values.show_plan(plan)
        self._show_problems(session.problems)
        self._show_start()

    def _show_busy(self) -> None:
        session = self._desk.session
        lines = []
        for busy in session.busy.values():
            count = f" {busy.done:,} / {busy.total:,}" if busy.total else "…"
            lines.append(say(busy.what) + count)
        self._busy.setText("\n".join(lines))
        self._busy.setVisible(bool(lines))
        self._show_start()

    def _show_start(self) -> None:
        blocker = start_blocker(self._desk)
        self.start.setEnabled(not blocker)
        self._why.setText(blocker)
        self._why.setVisible(bool(blocker))

    def _show_problems(self, problems: tuple[Problem, ...]) -> None:
        order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
        wanted = tuple(
            sorted(
                (problem for problem in problems if not _is_only_missing(problem)),
                key=lambda problem: order[problem.severity],
            )
        )
        kept, rows = _folded(wanted)
        self._notes.show_problems(kept)
        self._more.setText(tr_count(rows, "One more on the Data page", "{n} more on the Data page"))
        self._more.setVisible(rows > 0)


class _Values(QWidget):
    """Name and value, one below the other."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_2)
        grid.setVerticalSpacing(tokens.SPACE_1)
        grid.setColumnStretch(0, 1)
        self._values: dict[str, QLabel] = {}
        titles = {
            "trainable": tr("Trainable"),
            "share": tr("of all parameters"),
            "tokens": tr("Tokens per step"),
            "steps": tr("Steps"),
            "time": tr("Time"),
            "disk": tr("Disk"),
            "device": tr("Device"),
        }
        for number, (name, title) in enumerate(titles.items()):
            value = label("–", "strong")
            value.setObjectName(f"plan-{name}")
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(label(title, "help"), number, 0)
            grid.addWidget(value, number, 1, Qt.AlignmentFlag.AlignRight)
            self._values[name] = value

    def show_plan(self, plan: Plan | None) -> None:
        """Shows a plan's numbers; a dash stands for what is not known yet."""
        words = dict.fromkeys(self._values, "–")
        tips: dict[str, str] = {}
        if plan is not None:
            words["device"] = plan.choices.device.value
            tips["device"] = say(plan.choices.device.reason)
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
        for name, value in self._values.items():
            show_figure(value, words[name])
            value.setToolTip(tips.get(name, ""))


class PlanStrip(QWidget):
    """The plan on one line, for narrow windows: verdict, bar, parameters, time, Start.

    Attributes:
        start_asked: the user pressed Start.
    """

    start_asked = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        box = QHBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_4, tokens.SPACE_2, tokens.SPACE_4, tokens.SPACE_2)
        box.setSpacing(tokens.SPACE_3)
        self._mark = IconLabel("circle-question-mark", "muted", 20)
        self._verdict = label("", "strong")
        self._numbers = label("", "muted")
        self.bar = MemoryBar(10)
        self.bar.setMinimumWidth(80)
        self._facts = label("", "muted")
        self._problem = label("", "muted")
        self.start = button(tr("Start"), self.start_asked.emit, role="primary", icon_name="play", name="start-strip")
        texts = QVBoxLayout()
        texts.setSpacing(0)
        texts.addWidget(self._verdict)
        texts.addWidget(self._numbers)
        middle = QVBoxLayout()
        middle.setSpacing(2)
        middle.addWidget(self.bar)
        middle.addWidget(self._facts)
        for item in (self._mark, texts):
            box.addWidget(item) if isinstance(item, QWidget) else box.addLayout(item)
        box.addLayout(middle, 1)
        box.addWidget(self._problem)
        box.addWidget(self.start)
        desk.session.plan_changed.connect(self.refresh)
        desk.session.busy_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows the plan as it is now."""
        session = self._desk.session
        plan = session.plan
        word, numbers, verdict = verdict_words(plan)
        icon_name, color = _VERDICTS[verdict]
        self._mark.setPixmap(pixmap(icon_name, color, 20, self.devicePixelRatioF()))
        self._verdict.setText(word)
        self._numbers.setText(numbers)
        memory = plan.memory if plan is not None else None
        if memory is not None:
            self.bar.show_parts(memory_parts(memory), memory.limit_bytes, memory.free_bytes)
        pieces = []
        if plan is not None and plan.parameters is not None:
            pieces.append(
                tr(
                    "{count} trainable ({share})",
                    count=format_count(plan.parameters.trainable),
                    share=format_share(plan.parameters.share),
                )
            )
        if plan is not None and plan.batch is not None and plan.duration is not None:
            pieces.append(tr("{n} steps", n=f"{plan.batch.steps:,}"))
            pieces.append(tr("about {time}", time=format_duration(plan.duration.seconds)))
        self._facts.setText(" · ".join(pieces))
        blocker = start_blocker(self._desk)
        self.start.setEnabled(not blocker)
        self.start.setToolTip(blocker)
        worst = [problem for problem in session.problems if problem.severity is not Severity.INFO]
        errors = sum(problem.severity is Severity.ERROR for problem in worst)
        self._problem.setText(tr("{n} to mend", n=errors) if errors else "")
        self._problem.setToolTip("\n".join(f"{say(problem.message)} {say(problem.advice)}" for problem in worst))
        set_role(self._problem, "bad" if errors else "muted")


def _band_words(memory: Memory) -> str:
    return tr(
        "Between {low} and {high}; {free} are free now",
        low=format_bytes(memory.low_bytes),
        high=format_bytes(memory.high_bytes),
        free=format_bytes(memory.free_bytes),
    )


def _folded(problems: tuple[Problem, ...]) -> tuple[tuple[Problem, ...], int]:
    """The problems without most of those of single rows, and how many those are: the Data page lists them by line."""
    of_rows = [problem for problem in problems if _ROW.search(problem.path)]
    left_out = of_rows[_MOST_ROWS:]
    return tuple(problem for problem in problems if problem not in left_out), len(left_out)


def _is_only_missing(problem: Problem) -> bool:
    """Facts that are not there yet are said by the rail and by Start; a note for each would only be noise."""
    return problem.severity is Severity.INFO and problem.path in ("model.base", "data.train", "hardware.device")
