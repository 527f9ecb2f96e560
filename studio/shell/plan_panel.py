"""The plan panel: what will happen, before it happens: verdict, memory, parameters, steps, time, problems, Start."""

import re

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from core.errors import Problem, Severity
from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look
from studio.shell.plan_values import Legend, PlanValues
from studio.shell.plan_words import (
    band_words,
    evidence_words,
    memory_parts,
    moment_words,
    verdict_words,
)
from studio.shell.start import start_blocker
from studio.state.desk import Desk
from studio.state.queue_entry import queue_blocker
from studio.widgets.basics import IconLabel, LinkLabel, breakable, button, label, line, row, show_figure
from studio.widgets.memory_bar import MemoryBar
from studio.widgets.notes import ProblemNotes
from studio.widgets.scrolled import ScrolledContent
from studio.widgets.verdicts import VERDICT_MARKS
from studio.words import say, tr, tr_count

_ROW = re.compile(r":\d+$")
_MOST_ROWS = 2


class PlanPanel(QWidget):
    """The panel at the right of the first four pages.

    Attributes:
        start_asked: the user pressed Start.
        queue_asked: the user wants this run to wait in the queue.
        place_asked: the user wants to see the page of a problem's setting.
    """

    start_asked = Signal()
    queue_asked = Signal()
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
        self._choose = label(tr("Choose a base model to see what a run needs."), "help", wrap=True)
        self.bar = MemoryBar()
        self.bar.setObjectName("plan-bar")
        self._legend = Legend()
        self._values = PlanValues()
        self._busy = label("", "muted", wrap=True)
        self._notes = ProblemNotes(lambda fix: desk.session.apply(fix.edits), compact=True, spacing=tokens.SPACE_2)
        self._fit = LinkLabel(tr("What fits, and on which GPU…"), lambda: desk.go("fit"))
        self._fit.setObjectName("plan-fit")
        self._more = LinkLabel("", lambda: desk.go("data"))
        self._more.setObjectName("plan-more-problems")
        area = self._scrolling()
        self.start = button(tr("Start"), self.start_asked.emit, role="primary", icon_name="play", name="start")
        self.start.setMinimumHeight(look().px(tokens.START))
        self.queue = button(tr("Add to queue"), self.queue_asked.emit, icon_name="list", name="add-to-queue")
        self.queue.setMinimumHeight(look().px(tokens.START))
        self._why = label("", "muted", wrap=True)
        self._why.setObjectName("start-blocker")
        for item in (
            label(tr("PLAN"), "caption"),
            top,
            self._choose,
            self._numbers,
            self.bar,
            area,
            self._why,
            row(self.start, self.queue),
        ):
            if isinstance(item, QWidget):
                box.addWidget(item, 1 if item is area else 0)
            else:
                box.addLayout(item)
        session = desk.session
        session.plan_changed.connect(self.refresh)
        session.ways_out.found.connect(self._show_problems)
        session.busy_changed.connect(self._show_busy)
        session.facts_changed.connect(self.refresh)
        self.refresh()
        self._show_busy()

    def _scrolling(self) -> QScrollArea:
        """Components, values and problems: the part that scrolls where the window is low."""
        inner = ScrolledContent()
        inner.setObjectName("planBody")
        filled = QVBoxLayout(inner)
        filled.setContentsMargins(0, 0, tokens.SPACE_1, 0)
        filled.setSpacing(tokens.SPACE_3)
        filled.addWidget(self._legend)
        filled.addWidget(line())
        filled.addWidget(self._values)
        filled.addWidget(self._fit)
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
        icon_name, color = VERDICT_MARKS[verdict]
        self._mark.setPixmap(pixmap(icon_name, color, 20, self.devicePixelRatioF()))
        self._verdict.setText(word)
        memory = plan.memory if plan is not None else None
        self._choose.setVisible(memory is None)
        self._numbers.setVisible(memory is not None)
        if memory is not None:
            show_figure(self._numbers, numbers)
        parts = memory_parts(memory) if memory is not None else []
        if memory is not None:
            self.bar.show_memory(parts, memory)
            told = (band_words(memory), moment_words(memory), evidence_words(memory))
            self._numbers.setToolTip("\n".join(words for words in told if words))
        else:
            self.bar.show_parts((), 0, 0)
        self._legend.show_parts(parts)
        self._values.show_plan(plan)
        self._fit.setVisible(bool(parts))
        self._show_problems()
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
        obstacle = queue_blocker(self._desk)
        self.queue.setEnabled(not obstacle)
        self.queue.setToolTip(obstacle or tr("Trains it after the runs that wait already."))
        self._why.setText(breakable(blocker))
        self._why.setVisible(bool(blocker))

    def _show_problems(self) -> None:
        problems = self._desk.session.problems
        order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
        wanted = tuple(
            sorted(
                (problem for problem in problems if not _is_only_missing(problem) and not self._is_absence(problem)),
                key=lambda problem: order[problem.severity],
            )
        )
        kept, rows = _folded(wanted)
        self._notes.show_problems(kept, awaiting=self._desk.session.ways_out.is_looking)
        self._more.setText(tr_count(rows, "One more on the Data page", "{n} more on the Data page"))
        self._more.setVisible(rows > 0)

    def _is_absence(self, problem: Problem) -> bool:
        """Whether it only says that the base model is not on this computer, which Start and the Model page say."""
        model = self._desk.session.model
        return problem.path == "model.base" and model is not None and not model.here


def _folded(problems: tuple[Problem, ...]) -> tuple[tuple[Problem, ...], int]:
    """The problems without most of those of single rows, and how many those are: the Data page lists them by line."""
    of_rows = [problem for problem in problems if _ROW.search(problem.path)]
    left_out = of_rows[_MOST_ROWS:]
    return tuple(problem for problem in problems if problem not in left_out), len(left_out)


def _is_only_missing(problem: Problem) -> bool:
    """Facts that are not there yet are said by the rail and by Start; a note for each would only be noise."""
    return problem.severity is Severity.INFO and problem.path in ("model.base", "data.train", "hardware.device")
