"""The plan on one line, for narrow windows."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from core.errors import Severity
from core.units import format_count, format_duration, format_share
from studio.look import tokens
from studio.look.icons import pixmap
from studio.shell.plan_words import memory_parts, verdict_words
from studio.shell.start import start_blocker
from studio.state.desk import Desk
from studio.state.queue_entry import queue_blocker
from studio.widgets.basics import IconLabel, button, label, set_role, tool_button
from studio.widgets.memory_bar import MemoryBar
from studio.widgets.verdicts import VERDICT_MARKS
from studio.words import say, tr


class PlanStrip(QWidget):
    """The plan on one line, for narrow windows: verdict, bar, parameters, time, Start.

    Attributes:
        start_asked: the user pressed Start.
        queue_asked: the user wants this run to wait in the queue.
    """

    start_asked = Signal()
    queue_asked = Signal()

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
        self.queue = tool_button("list", tr("Add to queue"), self.queue_asked.emit, name="add-to-queue-strip")
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
        box.addWidget(self.queue)
        box.addWidget(self.start)
        desk.session.plan_changed.connect(self.refresh)
        desk.session.ways_out.found.connect(self.refresh)
        desk.session.busy_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows the plan as it is now."""
        session = self._desk.session
        plan = session.plan
        word, numbers, verdict = verdict_words(plan)
        icon_name, color = VERDICT_MARKS[verdict]
        self._mark.setPixmap(pixmap(icon_name, color, 20, self.devicePixelRatioF()))
        self._verdict.setText(word)
        self._numbers.setText(numbers)
        memory = plan.memory if plan is not None else None
        if memory is not None:
            self.bar.show_memory(memory_parts(memory), memory)
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
        obstacle = queue_blocker(self._desk)
        self.queue.setEnabled(not obstacle)
        self.queue.setToolTip(obstacle or tr("Add to queue"))
        worst = [problem for problem in session.problems if problem.severity is not Severity.INFO]
        errors = sum(problem.severity is Severity.ERROR for problem in worst)
        self._problem.setText(tr("{n} to mend", n=errors) if errors else "")
        self._problem.setToolTip("\n".join(f"{say(problem.message)} {say(problem.advice)}" for problem in worst))
        set_role(self._problem, "bad" if errors else "muted")
