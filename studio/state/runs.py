"""The runs the window knows of: the one it shows live, and the list of all."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import Problem, UserError, error
from core.events.run_state import RunState
from core.events.types import Event
from core.runs import store
from core.runs.control import place_request
from core.runs.history import RunSummary, list_runs
from core.runs.launch import LaunchCommand
from core.runs.layout import Request, RunFolder
from core.runs.outcome import Outcome
from core.runs.supervisor import State
from core.spec.run_spec import RunSpec
from studio.workers.run_thread import RunThread
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.prepare import Prepared  # reads data too, which takes a fifth of a second to import

_REFRESH_MS = 4000


class WatchedRun(QObject):
    """A run as the window sees it: its folder, its state so far and how it ended.

    Attributes:
        moved: the new events but for steps; `state` already holds them all.
        stirred: the engine's life changed, see `life`.
        ended: the run has ended, see `outcome`.
        refused: it could not be started or found again, see `problems`.
    """

    moved = Signal(object)
    stirred = Signal()
    ended = Signal()
    refused = Signal()

    def __init__(self, folder: RunFolder, thread: RunThread) -> None:
        super().__init__()
        self.folder = folder
        self.state = RunState()
        self.life = State.IDLE
        self.outcome: Outcome | None = None
        self.problems: tuple[Problem, ...] = ()
        self.trouble = ""
        self.asked: set[Request] = set()
        self.thread_of_run = thread
        thread.moved.connect(self._moved)
        thread.stirred.connect(self._stirred)
        thread.ended.connect(self._ended)
        thread.refused.connect(self._refused)
        thread.troubled.connect(self._troubled)

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.path.name

    @property
    def is_live(self) -> bool:
        """Whether an engine works on it, or is about to."""
        return self.outcome is None and not self.problems

    def request(self, name: Request) -> None:
        """Asks the engine for something between two steps.

        Raises:
            OSError: the request cannot be placed.
        """
        self.thread_of_run.request(name)
        self.asked.add(name)
        self.stirred.emit()

    def stop(self, grace_seconds: float | None = None) -> None:
        """Asks the run to stop and save; the second call with few seconds ends it by force after them."""
        self.asked.add("stop")
        self.thread_of_run.stop(grace_seconds)
        self.stirred.emit()

    def leave(self) -> None:
        """Stops watching; an engine goes on working."""
        self.thread_of_run.leave()

    def _moved(self, state: RunState, events: list[Event]) -> None:
        self.state = state
        self.trouble = ""
        kinds = {type(event.body).__name__ for event in events}
        if "CheckpointSaved" in kinds:
            self.asked.discard("save")
        if "Sampled" in kinds:
            self.asked.discard("sample")
        self.moved.emit(events)

    def _stirred(self, life: State) -> None:
        self.life = life
        self.stirred.emit()

    def _ended(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended.emit()

    def _refused(self, failure: Exception) -> None:
        if isinstance(failure, UserError):
            self.problems = failure.problems
        else:
            message = f"The run’s folder cannot be used: {failure}."
            self.problems = (error(str(self.folder.path), message, "Check the folder and its disk."),)
        self.refused.emit()

    def _troubled(self, sentence: str) -> None:
        self.trouble = sentence
        self.stirred.emit()


class Runs(QObject):
    """Starting, finding, listing and deleting runs.

    Attributes:
        current: the run that the window shows live; None before the first.
        all: the newest known list.
        current_changed: another run is shown.
        current_moved: the run shown now has new events.
        current_ended: it has ended (or could not start).
        listed: `all` is new.
        failed: problems of something that was asked for.
        further_asked: somebody wants to train a finished run further: its folder, for the page of the runs.
    """

    further_asked = Signal(object)
    current_changed = Signal()
    current_moved = Signal()
    current_ended = Signal()
    listed = Signal()
    failed = Signal(object)

    def __init__(self, command: Callable[[RunFolder], LaunchCommand] | None = None) -> None:
        """``command`` makes what is launched on a folder, by default the engine; tests put another one there."""
        super().__init__()
        self._command = command
        self.current: WatchedRun | None = None
        self.all: tuple[RunSummary, ...] = ()
        self.known = False
        self._last = ""
        self._listing: Task | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self.refresh)

    def begin(self, last: str = "") -> None:
        """Lists the runs, and shows one that is still going from an earlier start, else the one shown ``last``."""
        self._last = last
        self.refresh()
        self._timer.start()

    @property
    def is_live(self) -> bool:
        """Whether the run shown is at work."""
        return self.current is not None and self.current.is_live

    @property
    def live_count(self) -> int:
        """How many runs are at work on this computer, as far as is known."""
        running = {run.path for run in self.all if run.status == "running"}
        if self.current is not None:
            running.discard(self.current.folder.path)
        return len(running) + self.is_live

    def start(self, prepared: "Prepared") -> WatchedRun | None:
        """Makes a run folder and starts an engine on it; a refusal is told by `failed`."""
        from core.runs.start_from import checked_start

        try:
            spec = checked_start(prepared.spec, prepared.facts.model, prepared.plan)
            folder = store.create_run(spec, prepared.facts, prepared.plan)
        except UserError as failure:
            self.failed.emit(failure.problems)
            return None
        return self.watch(folder, attach=False)

    def resume(self, folder: RunFolder) -> WatchedRun:
        """Starts an engine on a run that was stopped or broke off; it goes on from its last saved state."""
        return self.watch(folder, attach=False)

    def ask_further(self, folder: RunFolder) -> None:
        """Has the page of the runs ask how a finished run is to be trained further."""
        self.further_asked.emit(folder)

    def watch(self, folder: RunFolder, *, attach: bool = True) -> WatchedRun:
        """Shows a run: finds its engine or its end (``attach``), or starts an engine on it."""
        if self.current is not None:
            if self.current.folder.path == folder.path and attach and self.current.is_live:
                return self.current
            self.current.leave()
        command = self._command(folder) if self._command is not None and not attach else None
        thread = RunThread(folder, attach=attach, command=command)
        run = WatchedRun(folder, thread)
        self.current = run
        run.moved.connect(self.current_moved)
        run.stirred.connect(self.current_moved)
        run.ended.connect(self.current_ended)
        run.refused.connect(self.current_ended)
        run.ended.connect(self.refresh)
        thread.start()
        self.current_changed.emit()
        return run

    def stop(self, folder: RunFolder) -> None:
        """Asks a live run to stop and save, whether it is the one shown or not.

        Raises:
            OSError: the request cannot be placed.
        """
        if self.current is not None and self.current.folder.path == folder.path and self.current.is_live:
            self.current.stop()
        else:
            place_request(folder, "stop")

    def forget_current(self) -> None:
        """Shows no run; an engine goes on working."""
        if self.current is not None:
            self.current.leave()
            self.current = None
            self.current_changed.emit()

    def delete(self, folder: RunFolder) -> Path | None:
        """Moves a run into the trash beside it and returns where it lies now; a refusal is told by `failed`."""
        if self.current is not None and self.current.folder.path == folder.path:
            if self.current.is_live:
                message = f"The run “{self.current.name}” is at work."
                self.failed.emit((error(str(folder.path), message, "Stop it first."),))
                return None
            self.forget_current()
        try:
            target = store.delete_run(folder)
        except UserError as failure:
            self.failed.emit(failure.problems)
            return None
        self.refresh()
        return target

    def refresh(self) -> None:
        """Lists the runs again in the background."""
        if self._listing is None:
            self._listing = start_task(
                lambda _report: list_runs(), on_done=self._took, on_failed=self._not_listed, parent=self
            )

    def close(self) -> None:
        """Stops watching and listing; engines go on."""
        self._timer.stop()
        if self._listing is not None:
            self._listing.cancel()
        if self.current is not None:
            self.current.leave()

    def _took(self, runs: tuple[RunSummary, ...]) -> None:
        self._listing = None
        first, self.known = not self.known, True
        if runs != self.all or first:
            self.all = runs
            self.listed.emit()
        if first and self.current is None:
            live = [run for run in runs if run.status == "running"]
            seen = [run for run in runs if str(run.path) == self._last and run.status not in ("new", "damaged")]
            for run in (live or seen)[:1]:
                self.watch(run.folder)

    def _not_listed(self, failure: Exception) -> None:
        self._listing = None
        if not isinstance(failure, UserError):
            raise failure
        self.failed.emit(failure.problems)


def spec_of(folder: RunFolder) -> RunSpec:
    """A run's spec as a new one: the same settings, without the name that is taken.

    Raises:
        UserError: it is missing or damaged.
    """
    return store.load_spec(folder).replace("output.name", "")
