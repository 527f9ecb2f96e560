"""The runs that have a result or saved states: what can be exported and talked to. Shared by pages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from core.errors import UserError
from core.runs.history import RunSummary, summarise
from core.runs.layout import RunFolder
from studio.state.desk import Desk
from studio.workers.task import Task, start_task


@dataclass(frozen=True, slots=True)
class ResultRun:
    """A run with a result, and its result's size in bytes."""

    summary: RunSummary
    bytes: int

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.summary.path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.summary.name


class ResultRuns(QObject):
    """The runs with a result, newest first; listed again whenever the list of runs changes.

    Attributes:
        all: what is known.
        states: the steps at which a run is saved, by the run's folder; also of runs that have no result (yet).
        known: whether anybody has looked yet.
        changed: `all` is another one, or is known for the first time.
    """

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.all: tuple[ResultRun, ...] = ()
        self.states: Mapping[Path, tuple[int, ...]] = {}
        self.known = False
        self._task: Task | None = None
        self._stale = False
        desk.runs.listed.connect(self.refresh)
        desk.runs.current_ended.connect(self.refresh)
        desk.runs.current_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Looks again."""
        if self._task is not None:
            self._stale = True
            return
        self._stale = False
        current = self._desk.runs.current
        own = (current.folder.path,) if current is not None else ()
        runs = self._desk.runs.all
        known = self._desk.runs.known
        self._task = start_task(
            lambda _report: (_with_result(runs, own), _with_states(runs, own), known),
            on_done=self._took,
            on_failed=self._not_listed,
            parent=self,
        )

    def find(self, path: Path | None) -> ResultRun | None:
        """The run at ``path``, if it has a result."""
        return next((run for run in self.all if run.path == path), None)

    def preferred(self) -> ResultRun | None:
        """What a page shows first: the run that the window shows, else the newest; None where there is none."""
        current = self._desk.runs.current
        shown = self.find(current.folder.path) if current is not None else None
        return shown or (self.all[0] if self.all else None)

    def _took(self, found: tuple[tuple[ResultRun, ...], Mapping[Path, tuple[int, ...]], bool]) -> None:
        self._task = None
        runs, states, known = found
        is_news = runs != self.all or states != self.states or known != self.known
        self.all, self.states, self.known = runs, states, known or bool(runs)
        if is_news:
            self.changed.emit()
        if self._stale:
            self.refresh()

    def _not_listed(self, failure: Exception) -> None:
        self._task = None
        raise failure


def results_of(desk: Desk) -> ResultRuns:
    """The desk's one `ResultRuns`."""
    found = desk.memory.get("results")
    if not isinstance(found, ResultRuns):
        found = desk.memory["results"] = ResultRuns(desk)
    return found


def _with_result(runs: tuple[RunSummary, ...], own: Iterable[Path]) -> tuple[ResultRun, ...]:
    """Those of the runs, and of the folders besides them, that have a result and do not go on."""
    from core.runs.results import require_result

    listed = {run.path for run in runs}
    found = []
    for run in (*(summarise(RunFolder(path)) for path in own if path not in listed), *runs):
        if run.status in ("running", "damaged", "new"):
            continue
        try:
            folder = require_result(run.folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        except (UserError, OSError):
            continue  # without a result, or just being moved away
        found.append(ResultRun(run, size))
    return tuple(sorted(found, key=lambda run: run.summary.created, reverse=True))


def _with_states(runs: tuple[RunSummary, ...], own: Iterable[Path]) -> Mapping[Path, tuple[int, ...]]:
    """The steps at which runs are saved, oldest first; runs without any are left out."""
    from core.runs.saved_states import list_checkpoints, step_of

    found = {}
    for path in dict.fromkeys((*own, *(run.path for run in runs if run.status != "damaged"))):
        steps = tuple(step_of(state) for state in list_checkpoints(RunFolder(path).checkpoints))
        if steps:
            found[path] = steps
    return found
