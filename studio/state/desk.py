"""What every page is given: the session, the runs, the preferences, and ways to speak to the user and to go places."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from core.errors import Problem, Severity, UserError
from core.paths import home
from core.runs.queue import Entry
from studio.state.data_report import DataReport
from studio.state.preferences import Preferences
from studio.state.queue import RunQueue
from studio.state.runs import Runs
from studio.state.session import Session
from studio.words import tr


@dataclass(frozen=True, slots=True)
class Action:
    """A button on a notice."""

    title: str
    perform: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Notice:
    """A message inside the window: what happened, what to do next, and buttons that do it."""

    severity: Severity
    text: str
    advice: str = ""
    actions: tuple[Action, ...] = ()
    detail: str = ""


class Desk(QObject):
    """The window's one set of shared things; pages hold no other state that must outlive them.

    Attributes:
        notified: a `Notice` to show.
        announced: long work has ended, in a title and a sentence, for somebody who is not looking.
        went: the name of the page to show.
        opened: a path that was dropped or chosen (model folder, data file, spec or run folder).
        restarting: the window is to close, and to open again in a new process.
        memory: anything a page wants to keep while the window is rebuilt (language, theme, text size), by page name.
    """

    notified = Signal(object)
    announced = Signal(str, str)
    went = Signal(str)
    opened = Signal(object)
    restarting = Signal()

    def __init__(self, session: Session, runs: Runs, preferences: Preferences) -> None:
        super().__init__()
        self.session = session
        self.report = DataReport(session)
        self.runs = runs
        runs.current_ended.connect(self._look_again)
        self.queue = RunQueue()
        self.queue.failed.connect(self.show_problems)
        self.queue.began.connect(self._follow)
        self.preferences = preferences
        self.memory: dict[str, object] = {}

    def _look_again(self) -> None:
        """After a run its memory is free again, and what it measured belongs into the next plan."""
        self.session.refresh("hardware")

    def _follow(self, entry: Entry) -> None:
        """Shows the run that the queue has begun, where no other one is being watched at work."""
        if not self.runs.is_live:
            self.runs.watch(entry.folder)

    def go(self, page: str) -> None:
        """Shows a page: model, data, adapter, training, try, export, runs, queue, fit or settings."""
        self.went.emit(page)

    def open_path(self, path: Path) -> None:
        """Opens whatever a path turns out to be."""
        self.opened.emit(path)

    def tell(self, text: str, advice: str = "", *, actions: tuple[Action, ...] = ()) -> None:
        """A notice that something went well, or is worth knowing."""
        self.notified.emit(Notice(Severity.INFO, text, advice, actions))

    def warn(self, text: str, advice: str = "", *, actions: tuple[Action, ...] = ()) -> None:
        """A notice that wants attention."""
        self.notified.emit(Notice(Severity.WARNING, text, advice, actions))

    def complain(self, text: str, advice: str = "", *, actions: tuple[Action, ...] = (), detail: str = "") -> None:
        """A notice that something went wrong; it stays until it is closed."""
        self.notified.emit(Notice(Severity.ERROR, text, advice, actions, detail))

    def announce(self, title: str, text: str = "") -> None:
        """Tells of the end of long work outside the window, where that is wanted and the window is not in front."""
        self.announced.emit(title, text)

    def restart(self) -> None:
        """Closes the window and opens it again in a new process, as after a move of the data folder."""
        self.preferences.path = home() / self.preferences.path.name
        self.restarting.emit()

    def change_run(self, work: Callable[[], object]) -> bool:
        """Does something to a run's folder, and returns whether it went well; a refusal is told as a notice."""
        try:
            work()
        except UserError as failure:
            self.show_problems(failure.problems)
        except OSError as failure:
            message = tr("The run’s folder cannot be written: {reason}.", reason=failure.strerror or str(failure))
            self.complain(message, tr("Check that the disk of the run’s folder is not full."))
        else:
            return True
        return False

    def show_problems(self, problems: tuple[Problem, ...]) -> None:
        """A notice for each problem, with its fixes as buttons."""
        for problem in problems:
            actions = tuple(
                Action(fix.title, lambda fix=fix: self.session.apply(fix.edits))  # type: ignore[misc]  # bound early
                for fix in problem.fixes
            )
            where = f"{problem.path}: " if "/" in problem.path or "\\" in problem.path else ""
            self.notified.emit(Notice(problem.severity, where + problem.message, problem.advice, actions))
