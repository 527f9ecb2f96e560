"""Training a finished run further: how many steps more, at which learning rate, and what that means."""

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QGridLayout, QSizePolicy, QWidget

from core.errors import Problem, UserError, error, warning
from core.runs.layout import RunFolder
from core.spec.run_spec import field_at
from core.units import format_duration
from studio.look import tokens
from studio.look.theme import look
from studio.pages.training.rate_curve import RateCurve
from studio.state.desk import Desk
from studio.widgets.basics import Card, button, label, row
from studio.widgets.controls import CalmList, CalmSpin, Switch
from studio.widgets.notes import ProblemNotes
from studio.words import say, tr
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.extending import Extension

_SETTLE_MS = 300
_MOST_STEPS = 10_000_000
_LEAST_RATE = 1e-8
_SIDE_BY_SIDE = 600
"""Pixels of the normal text size from which on fields and curve stand side by side."""


class FurtherCard(Card):
    """The form. It is planned anew after every edit, and begins nothing until its button is pressed.

    Attributes:
        asked: a run's form is there to be seen.
        begun: the run goes on.
        closed: the user wants nothing of it any more.
    """

    asked = Signal()
    begun = Signal()
    closed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("Train further"),
            tr("The run goes on from its last saved state, optimizer included."),
        )
        self.setObjectName("further")
        self.title.setWordWrap(True)  # names of runs are as long as people make them
        self.head.setStretch(0, 1)
        self.head.setStretch(1, 0)
        self.desk = desk
        self.folder: RunFolder | None = None
        self.extension: Extension | None = None
        self._task: Task | None = None
        self._own_rate = False
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._plan)
        self.head.addWidget(
            button(tr("Back to the list"), self.close_card, icon_name="chevron-left", role="quiet", name="further-back")
        )
        self._curve = RateCurve()
        self._curve.setMinimumHeight(look().px(120))
        self._curve.setMaximumHeight(look().px(150))
        self._words = label("", "strong", wrap=True)
        self._words.setObjectName("further-words")
        self._notes = ProblemNotes(lambda _fix: None)
        self.consent = Switch(tr("Go on with these changes"))
        self.consent.setObjectName("further-consent")
        self.consent.toggled.connect(lambda _on: self._show())
        self.go = button(tr("Train further"), self.start, icon_name="play", role="primary", name="further-go")
        fields = self._make_fields()
        self._side_by_side = row(fields, self._curve, spacing=tokens.SPACE_6)
        self.add(self._side_by_side)
        self.add(self._words)
        self.add(self._notes)
        self.add(row(self.consent, None))
        self.add(row(self.go, None))
        self.body.addStretch(1)

    def _make_fields(self) -> QWidget:
        self.steps = CalmSpin(whole=True)
        self.steps.setObjectName("further-steps")
        self.steps.setRange(1, _MOST_STEPS)
        self.rate = CalmSpin(whole=False)
        self.rate.setObjectName("further-rate")
        self.rate.setRange(_LEAST_RATE, 1)
        self.schedule = CalmList()
        self.schedule.setObjectName("further-schedule")
        for choice in field_at("training.schedule").setting.choices:
            self.schedule.addItem(say(choice.title), choice.value)
        self._epoch = label("", "muted", wrap=True)
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_2)
        titles = (tr("Steps more"), tr("Learning rate to begin at"), tr("Schedule from there on"))
        for number, (title, field) in enumerate(zip(titles, (self.steps, self.rate, self.schedule), strict=True)):
            caption = label(title)
            caption.setBuddy(field)
            field.setAccessibleName(title)
            field.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
            field.setMinimumWidth(look().px(140))
            grid.addWidget(caption, number, 0)
            grid.addWidget(field, number, 1)
        grid.addWidget(self._epoch, len(titles), 0, 1, 2)
        self.steps.valueChanged.connect(lambda _value: self._edited())
        self.rate.valueChanged.connect(lambda _value: self._rate_edited())
        self.schedule.activated.connect(lambda _index: self._edited())
        return holder

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """The curve below the fields where the page is narrow."""
        super().resizeEvent(event)
        narrow = self.width() < look().px(_SIDE_BY_SIDE)
        directions = QBoxLayout.Direction
        self._side_by_side.setDirection(directions.TopToBottom if narrow else directions.LeftToRight)

    # --- what is asked

    def ask_about(self, folder: RunFolder) -> None:
        """Shows the form for a run that is complete, with an epoch more."""
        from core.runs.store import load_plan, load_spec

        try:
            spec, plan = load_spec(folder), load_plan(folder)
        except UserError as failure:
            self.desk.show_problems(failure.problems)
            return
        self.folder = folder
        self._own_rate = False
        self.title.setText(tr("Train {run} further", run=folder.path.name))
        self.setAccessibleName(self.title.text())
        self.consent.setChecked(False)
        batch = plan.batch
        per_epoch = batch.steps_per_epoch if batch is not None else 0
        self._epoch.setText(tr("An epoch is {n} steps.", n=f"{per_epoch:,}") if per_epoch else "")
        self._silently(self.steps, min(per_epoch or 1, batch.steps if batch is not None and batch.steps else 1))
        self.schedule.setCurrentIndex(max(0, self.schedule.findData(spec.training.schedule)))
        self._edited()
        self.asked.emit()
        self.steps.setFocus()
        self.steps.selectAll()

    def close_card(self) -> None:
        """Asks nothing any more."""
        self._forget()
        self.folder = None
        self.closed.emit()

    def start(self) -> None:
        """Makes the run the longer one and starts its engine."""
        from core.runs.extending import extend

        extension, folder = self.extension, self.folder
        if extension is None or folder is None or not self.go.isEnabled():
            return
        if not self.desk.change_run(lambda: extend(extension)):
            return
        self.close_card()
        self.desk.runs.resume(folder)
        self.begun.emit()

    # --- planning

    def _silently(self, field: CalmSpin, value: float) -> None:
        with QSignalBlocker(field):
            field.setValue(value)

    def _rate_edited(self) -> None:
        self._own_rate = True
        self._edited()

    def _edited(self) -> None:
        self._forget()
        self._settle.start()
        self._show()

    def _forget(self) -> None:
        self._settle.stop()
        self.extension = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _plan(self) -> None:
        from core.runs.extending import plan_extension

        folder = self.folder
        if folder is None:
            return
        steps, schedule = round(self.steps.value()), self.schedule.currentData()
        rate = self.rate.value() if self._own_rate else 0.0
        self._task = start_task(
            lambda report: plan_extension(
                folder, steps=steps, rate=rate, schedule=schedule, on_progress=lambda *_: report.check()
            ),
            on_done=self._planned,
            on_failed=self._refused,
            parent=self,
        )

    def _planned(self, extension: "Extension") -> None:
        from core.spec.extensions import known_extensions

        self._task = None
        self.extension = extension
        legs = known_extensions(extension.seen.prepared.spec.training.extensions)
        if legs and not self._own_rate:
            self._silently(self.rate, legs[-1].rate)
        self._show()

    def _refused(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self._show(failure.problems)

    # --- what is shown

    def _show(self, problems: tuple[Problem, ...] = ()) -> None:
        extension = self.extension
        unmeant = extension.unmeant if extension is not None else ()
        blocked = extension.seen.blocked if extension is not None else ()
        found = [*problems, *(error("", change.message, tr("Put it back, or start a new run.")) for change in blocked)]
        if not blocked:
            found += [warning("", sentence, "") for sentence in unmeant]
        self._notes.show_problems(found)
        self.consent.setVisible(bool(unmeant) and not blocked)
        ready = extension is not None and not blocked and (not unmeant or self.consent.isChecked())
        obstacle = self._obstacle(ready=ready, refused=bool(problems))
        self.go.setEnabled(not obstacle)
        self.go.setToolTip(obstacle)
        if extension is None:
            self._words.setText("" if problems else tr("Planning…"))
            return
        prepared = extension.seen.prepared
        self._curve.show_plan(prepared.spec, prepared.plan)
        self._words.setText(_sentence(extension))

    def _obstacle(self, *, ready: bool, refused: bool) -> str:
        if self.desk.runs.is_live:
            return tr("Another run is at work; stop it first.")
        if ready:
            return ""
        if self.extension is None:
            return tr("It cannot be trained further.") if refused else tr("Planning…")
        return tr("Something has changed since the run ended.")


def _sentence(extension: "Extension") -> str:
    """What will happen, with its length."""
    more = extension.steps - extension.start
    words = tr(
        "From step {start} on, {more} steps more, {steps} in all.",
        start=f"{extension.start:,}",
        more=f"{more:,}",
        steps=f"{extension.steps:,}",
    )
    duration = extension.seen.prepared.plan.duration
    if duration is None or not extension.steps:
        return words
    # a plan tells the time of all its steps; they are of one kind, so those that are new take their share
    return f"{words} {tr('About {time}.', time=format_duration(duration.seconds * more / extension.steps))}"
