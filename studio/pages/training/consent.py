"""Going on with a run although something has changed since its state was saved: all changes first, then the consent."""

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.errors import FailureKind, UserError, error, warning
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from studio.look import tokens
from studio.state.desk import Desk
from studio.widgets.basics import button, label, row
from studio.widgets.notes import ProblemNotes
from studio.words import tr
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.resuming import Return

_MISMATCHES = (FailureKind.PLAN_MISMATCH, FailureKind.RESUME_MISMATCH)
_OPTION = "--accept-changes"
"""What the engine advises to type where consent helps; other mismatches it cannot mend."""


class Consent(QWidget):
    """Looks at a run again, names every change, and goes on with it when the user says so.

    Attributes:
        given: the run was made what it is now, and its engine may be started.
    """

    given = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._folder: RunFolder | None = None
        self._seen: Return | None = None
        self._task: Task | None = None
        self._words = label("", "help", wrap=True)
        self._words.setObjectName("consent-words")
        self.notes = ProblemNotes(lambda _fix: None)
        self.look = button(tr("Look at all changes"), self.look_again, icon_name="search", name="consent-look")
        self.go = button(
            tr("Go on with these changes"), self.accept, icon_name="play", role="primary", name="consent-go"
        )
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        for item in (self._words, self.notes):
            box.addWidget(item)
        box.addLayout(row(self.look, self.go, None))
        self.hide()

    def ask_about(self, folder: RunFolder, outcome: Outcome) -> None:
        """Shows itself when a run has ended because something differs from what was saved."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._folder, self._seen = folder, None
        self.notes.show_problems(())
        self.go.hide()
        self.look.setEnabled(True)
        self.look.show()
        self._words.setText(tr("Put back what changed and resume, or look at all changes and go on with them."))
        helps = outcome.failure in _MISMATCHES and _OPTION in outcome.hint
        self.setVisible(helps and folder.spec.is_file())

    def look_again(self) -> None:
        """Reads model and data as they are now, in the background."""
        from core.runs.resuming import look_again

        folder = self._folder
        if folder is None:
            return
        self.look.setEnabled(False)
        self._words.setText(tr("Reading the model and the data as they are now…"))
        self._task = start_task(
            lambda report: look_again(folder, on_progress=lambda *_: report.check()),
            on_done=self._looked,
            on_failed=self._refused,
            parent=self,
        )

    def accept(self) -> None:
        """Records the consent and lets the run go on."""
        from core.runs.resuming import accept

        seen = self._seen
        if seen is None or seen.blocked or not self._desk.change_run(lambda: accept(seen)):
            return
        self.hide()
        self.given.emit()

    def _looked(self, seen: "Return") -> None:
        self._task = None
        self._seen = seen
        blocked = seen.blocked
        advice = tr("Put back what changed, or start a new run.")
        self.notes.show_problems(
            [error("", change.message, advice) for change in blocked]
            or [warning("", change.message, "") for change in seen.changes]
        )
        if blocked:
            self._words.setText(tr("The saved state does not fit any more."))
        elif seen.changes:
            self._words.setText(tr("This has changed since the state was saved; the losses will not be the same ones."))
        else:
            self._words.setText(tr("What was learned does not depend on what has changed; it is planned anew."))
        self.look.hide()
        self.go.setVisible(not blocked)

    def _refused(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self.look.setEnabled(True)
        self._words.setText(tr("The run cannot go on as things are now."))
        self.notes.show_problems(failure.problems)
