"""Another place for all data: chosen, weighed, moved with progress; the window starts anew there."""

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QProgressBar, QWidget

from core import paths
from core.errors import Problem, UserError
from core.runs.moving import Move, move_home, plan_move
from core.units import format_bytes
from studio.state.desk import Desk
from studio.widgets.basics import Card, ProblemNote, button, column, label
from studio.widgets.flow import FlowLayout
from studio.words import tr
from studio.workers.task import Report, Task, start_task

_FOLDER = "lowrank-studio"


class MoveCard(Card):
    """Hidden until a folder is chosen; says what will happen, then does it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(role="inset", margin=12)
        self._desk = desk
        self._move: Move | None = None
        self._task: Task | None = None
        self._words = label("", wrap=True)
        self._words.setObjectName("move-words")
        self._problems = column()
        self._notes: list[QWidget] = []
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Moving the data"))
        self._go = button(tr("Move everything there"), self.go, role="primary", name="move-go")
        self._leave = button(tr("Cancel"), self.leave, name="move-cancel")
        self.add(self._words)
        self.add(self._problems)
        self.add(self._bar)
        actions = FlowLayout()
        actions.addWidget(self._go)
        actions.addWidget(self._leave)
        self.add(actions)
        self.hide()

    def ask(self) -> None:
        """Lets the user choose a folder."""
        start = str(paths.home().parent)
        chosen = QFileDialog.getExistingDirectory(self, tr("Where all data is to be kept"), start)
        if chosen:
            self.choose(Path(chosen))

    def choose(self, folder: Path) -> None:
        """Weighs a folder; one that has something in it gets a folder of ours inside."""
        if self._task is not None:
            return
        inside = folder.is_dir() and any(folder.iterdir())
        target = folder / _FOLDER if inside else folder
        self._show(None, (), tr("Looking at {folder}…", folder=str(target)))
        self._task = start_task(
            lambda _report: plan_move(target), on_done=self._weighed, on_failed=self._failed, parent=self
        )

    def go(self) -> None:
        """Moves."""
        move = self._move
        if move is None or self._task is not None:
            return
        self._show(move, (), tr("Moving to {folder}…", folder=str(move.target)))
        self._task = start_task(
            lambda report: _moved(report, move), on_done=self._done, on_failed=self._failed,
            on_progress=lambda progress: self._bar.setValue(int(progress[0])), parent=self,
        )  # fmt: skip
        self._working(is_working=True)

    def leave(self) -> None:
        """Stops the moving, which leaves everything where it was; or puts the card away."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._move = None
        self.hide()

    def _weighed(self, move: Move) -> None:
        self._task = None
        size, free = format_bytes(move.bytes), format_bytes(move.free)
        values = {"size": size, "free": free, "folder": str(move.target)}
        words = (
            tr("{size} will be copied to {folder}, where {free} are free, and then be deleted here.", **values)
            if move.copies
            else tr("{size} will be moved to {folder} at once: it is on the same disk.", **values)
        )
        after = tr("Runs and exports find each other there. The window starts anew.")
        self._show(move if not move.problems else None, move.problems, f"{words} {after}")

    def _done(self, target: Path | None) -> None:
        self._task = None
        self.hide()
        if target is not None:
            self._desk.restart()

    def _failed(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError | OSError):
            raise failure
        problems = failure.problems if isinstance(failure, UserError) else ()
        words = "" if problems else tr("The data could not be moved: {reason}.", reason=str(failure))
        self._show(None, problems, words)

    def _show(self, move: Move | None, problems: tuple[Problem, ...], words: str) -> None:
        self._move = move
        for note in self._notes:
            self._problems.removeWidget(note)
            note.hide()
            note.deleteLater()
        self._notes = [ProblemNote(problem) for problem in problems]
        for note in self._notes:
            self._problems.addWidget(note)
        self._words.setText(words)
        self._words.setVisible(bool(words) and not problems)
        self._go.setVisible(move is not None)
        self._working(is_working=False)
        self.show()

    def _working(self, *, is_working: bool) -> None:
        self._bar.setValue(0)
        self._bar.setVisible(is_working)
        self._go.setEnabled(not is_working)


def _moved(report: Report, move: Move) -> Path | None:
    """The work of the task."""

    def tell(done: int, total: int) -> None:
        report(done * 1000 // max(1, total))

    return move_home(move.target, tell, lambda: report.cancelled)
