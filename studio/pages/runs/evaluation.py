"""The view “Evaluation” of a run: what to measure, the measuring, and what was found, beside other runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFileDialog, QGridLayout, QLineEdit, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from core.errors import Problem, UserError, error
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.units import format_bytes
from studio.look import tokens
from studio.pages.runs.evaluation_numbers import changed_card, numbers_card, runs_card
from studio.state.desk import Desk
from studio.state.evaluations import KnownEvaluations, evaluation_job, read_evaluation_cost, read_evaluations
from studio.widgets.basics import Card, Elided, button, label, row
from studio.widgets.controls import CalmList
from studio.widgets.notes import ProblemNotes
from studio.words import tr
from studio.workers.job_thread import JobThread
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.chat_cost import LoadingCost


class EvaluationView(QWidget):
    """One run's evaluations.

    Attributes:
        asked: a run's view is there to be seen.
        closed: the user wants nothing of it any more.
        folder: the run; None while there is none.
        known: what was measured of it; None until that is read.
        cost: what measuring would load now; None while that is unknown.
        job: the engine that measures now; None without one.
    """

    asked = Signal()
    closed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("evaluation")
        self.desk = desk
        self.folder: RunFolder | None = None
        self.known: KnownEvaluations | None = None
        self.cost: LoadingCost | None = None
        self.job: JobThread | None = None
        self.files: dict[str, QLineEdit] = {}
        self._task: Task | None = None
        self._cost_task: Task | None = None
        self._cards: list[QWidget] = []
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_4)
        self._box.addWidget(self._make_form())
        self._box.addStretch(1)
        desk.runs.listed.connect(self._show_state)

    def _make_form(self) -> Card:
        self._form = Card(
            tr("Evaluation"), tr("Base and tuned model on the same rows. Without a file, on the validation data.")
        )
        self._form.title.setWordWrap(True)  # names of runs are as long as people make them
        self._form.head.setStretch(0, 1)
        self._form.head.setStretch(1, 0)
        self._form.head.addWidget(
            button(
                tr("Back to the list"), self.close_view, icon_name="chevron-left", role="quiet", name="evaluation-back"
            )
        )
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_2)
        grid.setColumnStretch(1, 1)
        fields = (
            ("data", tr("Rows for the loss"), tr("The validation data")),
            ("answers", tr("Prompts and answers"), tr("None")),
            ("choices", tr("Multiple choice"), tr("None")),
        )
        for number, (name, title, empty) in enumerate(fields):
            self._add_file(grid, number, name, title, empty)
        self._form.add(grid)
        self.go = button(tr("Evaluate"), self.start, icon_name="play", role="primary", name="evaluation-go")
        self.stop = button(tr("Stop"), self.cancel, icon_name="square", name="evaluation-stop")
        self._words = Elided("", "muted")
        self.past = CalmList()
        self.past.setObjectName("evaluation-past")
        self.past.setAccessibleName(tr("Earlier evaluations"))
        self.past.activated.connect(lambda _index: self._show_found())
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Progress of the evaluation"))
        deeds = row(self.go, self.stop, self._words, None)
        deeds.setStretch(2, 1)
        self._notes = ProblemNotes(lambda _fix: None)
        self.room = label("", "help", wrap=True)
        self.room.setObjectName("evaluation-room")
        self._form.add(deeds)
        self._form.add(self.room)
        self._form.add(self._bar)
        self._form.add(self._notes)
        self._form.add(row(self.past, None))
        return self._form

    def _add_file(self, grid: QGridLayout, number: int, name: str, title: str, empty: str) -> None:
        field = QLineEdit()
        field.setObjectName(f"evaluation-{name}")
        field.setAccessibleName(title)
        field.setPlaceholderText(empty)
        field.setClearButtonEnabled(True)
        field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        caption = label(title)
        caption.setBuddy(field)
        choose = button(tr("Choose…"), lambda: self._choose(field, title), name=f"evaluation-{name}-choose")
        choose.setAccessibleName(tr("Choose a file: {what}", what=title))
        grid.addWidget(caption, number, 0)
        grid.addWidget(field, number, 1)
        grid.addWidget(choose, number, 2)
        self.files[name] = field

    def _choose(self, field: QLineEdit, title: str) -> None:
        start = str(Path(field.text()).parent) if field.text() else ""
        path, _ = QFileDialog.getOpenFileName(self, title, start)
        if path:
            field.setText(path)

    # --- what is asked

    def ask_about(self, folder: RunFolder) -> None:
        """Shows what is known of a run; one that is being measured stays."""
        if self.job is None and folder != self.folder:
            self.folder, self.known, self.cost = folder, None, None
            self._form.title.setText(tr("Evaluate {run}", run=folder.path.name))
            self._notes.show_problems(())
            self._show_found()
            self._read()
            self._read_cost()
        self._show_state()
        self.asked.emit()
        self.files["data"].setFocus()

    def close_view(self) -> None:
        """Goes back; a measurement goes on."""
        self.closed.emit()

    def start(self) -> None:
        """Begins to measure."""
        if self.folder is None or not self.go.isEnabled():
            return
        self._notes.show_problems(())
        files = {name: field.text().strip() for name, field in self.files.items()}
        self.job = JobThread(evaluation_job(self.folder, files))
        for signal, slot in (
            (self.job.progressed, self._moved),
            (self.job.ended, self._ended),
            (self.job.refused, self._refused),
        ):
            signal.connect(slot, Qt.ConnectionType.QueuedConnection)
        self._moved(-1.0, tr("Beginning…"), 0.0, 0.0, "")
        self._show_state()
        self.job.start()

    def cancel(self) -> None:
        """Ends the measuring; nothing is kept of it."""
        if self.job is not None:
            self.job.cancel()
            self._words.set_text(tr("Stopping…"))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Asks anew what is free: a model may have been loaded, or unloaded, on another page meanwhile."""
        super().showEvent(event)
        self._read_cost()

    # --- what happens

    def _moved(self, share: float, words: str, _done: float, _total: float, _unit: str) -> None:
        self._bar.setRange(0, 0 if share < 0 else 1000)
        self._bar.setValue(round(1000 * max(0.0, share)))
        if self.job is None or not self.job.cancelled:
            self._words.set_text(words)

    def _ended(self, outcome: Outcome) -> None:
        self.job = None
        if outcome.kind not in ("completed", "stopped"):
            self._notes.show_problems((error("", outcome.message, outcome.hint),))
        self._show_state()
        self._read()

    def _refused(self, failure: Exception) -> None:
        self.job = None
        problems: tuple[Problem, ...]
        if isinstance(failure, UserError):
            problems = failure.problems
        else:
            message = tr("The evaluation could not begin: {reason}.", reason=str(failure))
            problems = (error("", message, tr("Check that its disk is not full.")),)
        self._notes.show_problems(problems)
        self._show_state()

    def _read(self) -> None:
        folder = self.folder
        if folder is None:
            return
        if self._task is not None:
            self._task.cancel()
        others = tuple(run.folder for run in self.desk.runs.all)
        self._task = start_task(
            lambda report: read_evaluations(folder, others, report),
            on_done=self._known,
            on_failed=self._not_read,
            parent=self,
        )

    def _read_cost(self) -> None:
        folder = self.folder
        if folder is None or self.job is not None:
            return
        if self._cost_task is not None:
            self._cost_task.cancel()
        self._cost_task = start_task(
            lambda _report: read_evaluation_cost(folder),
            on_done=self._cost_known,
            on_failed=self._cost_unknown,
            parent=self,
        )

    def _cost_known(self, cost: "LoadingCost") -> None:
        self._cost_task, self.cost = None, cost
        self._show_state()

    def _cost_unknown(self, failure: Exception) -> None:
        self._cost_task, self.cost = None, None
        self._show_state()
        if not isinstance(failure, UserError):  # a run that cannot be evaluated is named when that is asked for
            raise failure

    def _known(self, known: KnownEvaluations) -> None:
        self._task = None
        self.known = known
        if known.problems:
            self._notes.show_problems(known.problems)
        self.past.clear()
        for number, found in enumerate(known.own):
            self.past.addItem(_moment(found.time), number)
        self._show_found()

    def _not_read(self, failure: Exception) -> None:
        self._task = None
        raise failure

    # --- what is shown

    def _show_state(self) -> None:
        measuring = self.job is not None
        obstacle = tr("Another run is at work; stop it first.") if self.desk.runs.is_live else ""
        self.go.setVisible(not measuring)
        self.go.setEnabled(not obstacle)
        self.go.setToolTip(obstacle)
        for item in (self.stop, self._bar, self._words):
            item.setVisible(measuring)
        self._show_room()

    def _show_room(self) -> None:
        """What measuring loads, said before it is loaded."""
        cost = self.cost
        self.room.setVisible(cost is not None and self.job is None)
        fits = cost is None or cost.fits
        self.go.setText(tr("Evaluate") if fits else tr("Evaluate anyway"))
        if cost is None:
            return
        needed, free = format_bytes(cost.bytes), format_bytes(cost.free_bytes)
        words = tr("Loads a copy of the model: about {needed} of memory, {free} are free.", needed=needed, free=free)
        if not fits:
            words += " " + tr("Unload a model on the page “Try”, or close other programs, to make room.")
        self.room.setText(words)

    def _show_found(self) -> None:
        for card in self._cards:
            self._box.removeWidget(card)
            card.hide()
            card.deleteLater()
        self._cards = []
        own = self.known.own if self.known is not None else ()
        self.past.setVisible(len(own) > 1)
        if not own or self.known is None:
            return
        found = own[max(0, self.past.currentIndex())]
        self._cards.append(numbers_card(found))
        if found.held_out is not None:
            self._cards.append(changed_card(found.held_out))
        if self.known.compared is not None:
            self._cards.append(runs_card(self.known.compared))
        for number, card in enumerate(self._cards, 1):
            self._box.insertWidget(number, card)


def _moment(seconds: float) -> str:
    from PySide6.QtCore import QDateTime, QLocale

    return QLocale().toString(QDateTime.fromSecsSinceEpoch(round(seconds)), QLocale.FormatType.ShortFormat)
