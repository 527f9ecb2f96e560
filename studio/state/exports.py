"""What is exported, where to, and how far it is: outlives the page, so that an export goes on whatever is shown."""

import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import Problem, UserError, error
from core.paths import existing_parent
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from studio.state.desk import Action, Desk
from studio.state.results import ResultRuns, results_of
from studio.words import say, tr
from studio.workers.job_thread import JobThread
from studio.workers.task import Report, Task, start_task

if TYPE_CHECKING:
    from core.export.result import ExportOffer, ExportPlan

ExportKind = Literal["adapter", "merged"]
_SETTLE_MS = 200
_SPEED_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the exports that the chosen run can give.

    Attributes:
        offers: each kind, and why a run cannot give it.
        sizes: bytes that each possible kind takes.
        plan: the chosen kind, at the chosen place; None where the run cannot give it.
    """

    run: Path
    offers: "tuple[ExportOffer, ...]"
    sizes: Mapping[ExportKind, int]
    plan: "ExportPlan | None"


@dataclass(slots=True)
class LiveExport:
    """An export on its way.

    Attributes:
        words: what is being done, in a sentence of the engine; may be empty.
        done, total: bytes; `speed`: bytes a second, 0 while unknown.
        stopping: somebody wants it to end.
        kept: the folder that was there before, which stays whatever happens.
    """

    run: Path
    plan: "ExportPlan"
    words: str = ""
    done: float = 0.0
    total: float = 0.0
    speed: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    job: JobThread | None = None
    kept: Path = field(default_factory=Path)
    _seen: deque[tuple[float, float]] = field(default_factory=deque)

    @property
    def seconds_left(self) -> float | None:
        """Until the end, at the present speed; None while that says nothing."""
        return (self.total - self.done) / self.speed if self.speed > 0 and self.total > 0 else None

    def move(self, done: float, total: float) -> None:
        """It is further now."""
        now = time.monotonic()
        self.done, self.total = done, total
        self._seen.append((now, done))
        while now - self._seen[0][0] > _SPEED_SECONDS:
            self._seen.popleft()
        first, before = self._seen[0]
        self.speed = (done - before) / (now - first) if now > first else 0.0


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that is done.

    Attributes:
        bytes: of all its files; `seconds`: how long it took; `ended`: Unix time.
        code: how to load it in Python; may be empty.
        run: the run's folder.
    """

    run: Path
    kind: ExportKind
    path: Path
    bytes: int
    seconds: float
    ended: float
    code: str


class Exports(QObject):
    """The one export that is being chosen or made, and those of this session.

    Attributes:
        run: the chosen run's folder; None follows the run that the window shows, or the newest.
        kind: what to make of it.
        target: the folder as typed; empty for the usual place.
        outlook: what is known about them; None while nobody knows.
        live: the export on its way.
        past: those that are done, newest first.
        problems: why the last one came to nothing; empty after a success.
        watched: the page is shown, so that nothing else needs to tell of the end.
        changed: the choice or what is known about it.
        moved: the live export is further.
        ended: it is done, came to nothing or was cancelled.
    """

    changed = Signal()
    moved = Signal()
    ended = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.watched = False
        self.results: ResultRuns = results_of(desk)
        self.run: Path | None = None
        self.kind: ExportKind = "adapter"
        self.target = ""
        self.outlook: Outlook | None = None
        self.live: LiveExport | None = None
        self.past: list[Exported] = []
        self.problems: tuple[Problem, ...] = ()
        self._began = 0.0
        self._task: Task | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self.look)
        self.results.changed.connect(self._runs_changed)
        self._runs_changed()

    # --- the choice

    def choose_run(self, path: Path) -> None:
        """Exports this run's result."""
        if path != self.run:
            self.run, self.target, self.outlook, self.problems = path, "", None, ()
            self.look()

    def choose_kind(self, kind: ExportKind) -> None:
        """Makes this of it."""
        if kind != self.kind:
            self.kind, self.problems = kind, ()
            self.look()

    def choose_target(self, text: str) -> None:
        """Writes into this folder; looks a moment after the last letter."""
        if text != self.target:
            self.target, self.problems = text, ()
            self._settle.start()
            self.changed.emit()

    @property
    def is_looking(self) -> bool:
        """Whether what is known is not about the present choice yet."""
        return self._task is not None or self._settle.isActive()

    @property
    def can_start(self) -> bool:
        """Whether `start` would do something."""
        plan = self.outlook.plan if self.outlook is not None else None
        return plan is not None and plan.can_start and not self.is_looking and self.live is None

    def look(self) -> None:
        """Finds out what the present choice takes and what stands against it, in the background."""
        self._settle.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self.run is not None:
            run, kind, target = self.run, self.kind, self.target
            self._task = start_task(
                lambda _report: _outlook(run, kind, target), on_done=self._looked, on_failed=self._broke, parent=self
            )
        self.changed.emit()

    def _looked(self, outlook: Outlook) -> None:
        self._task = None
        self.outlook = outlook
        possible = [offer.kind for offer in outlook.offers if offer.possible]
        if possible and self.kind not in possible:
            self.kind = possible[0]
            self.look()
            return
        self.changed.emit()

    def _broke(self, failure: Exception) -> None:
        self._task = None
        self.outlook = None
        self.problems = _problems(failure)
        self.changed.emit()

    def _runs_changed(self) -> None:
        if self.results.find(self.run) is None:
            preferred = self.results.preferred()
            self.run = preferred.path if preferred is not None else None
            self.target, self.outlook = "", None
        self.look()

    # --- the export

    def start(self) -> None:
        """Makes the export as planned, in the background."""
        if not self.can_start or self.outlook is None or self.outlook.plan is None:
            return
        plan, run = self.outlook.plan, self.outlook.run
        self.problems = ()
        self._began = time.monotonic()
        live = self.live = LiveExport(run, plan)
        live.kept = existing_parent(plan.target)
        if plan.is_merge:
            job = live.job = JobThread(lambda: _merge_job(plan))
            job.progressed.connect(self._job_moved)
            job.ended.connect(self._job_ended)
            job.refused.connect(self._failed)
            job.start()
        else:
            live.total = plan.bytes_needed

            def copied(report: Report) -> None:
                from core.export.result import ExportCancelledError, copy_result

                try:
                    copy_result(plan, report, live.stopping.is_set)
                except ExportCancelledError:
                    _tidy(plan.target, live.kept)
                    raise

            start_task(copied, on_done=self._written, on_failed=self._failed, on_progress=self._copied)
        self.moved.emit()
        self.changed.emit()

    def cancel(self) -> None:
        """Ends the export; nothing of it is left behind."""
        if self.live is not None:
            self.live.stopping.set()
            if self.live.job is not None:
                self.live.job.cancel()
            self.moved.emit()

    def _copied(self, progress: tuple[Any, ...]) -> None:
        if self.live is not None:
            self.live.move(float(progress[0]), float(progress[1]))
            self.moved.emit()

    def _job_moved(self, _share: float, words: str, done: float, total: float, unit: str) -> None:
        if self.live is not None:
            self.live.words = words
            if unit == "bytes":
                self.live.move(done, total)
            self.moved.emit()

    def _job_ended(self, outcome: Outcome) -> None:
        if outcome.kind == "completed":
            self._written(None)
            return
        live = self.live
        assert live is not None
        problems: tuple[Problem, ...] = ()
        if outcome.kind != "stopped":
            problems = (error(str(live.plan.target), outcome.message, outcome.hint or "Export it again."),)
        # an engine that was ended by force cannot clear up after itself
        start_task(
            lambda _report: _tidy(live.plan.target, live.kept),
            on_done=lambda _nothing: self._end(problems),
            on_failed=self._failed,
        )

    def _written(self, _nothing: object) -> None:
        live, seconds = self.live, time.monotonic() - self._began
        assert live is not None
        start_task(lambda _report: _described(live.run, live.plan, seconds), on_done=self._took, on_failed=self._failed)

    def _took(self, exported: Exported) -> None:
        self.past.insert(0, exported)
        if not self.watched:
            told = {
                "adapter": tr("The adapter of “{run}” has been exported.", run=exported.run.name),
                "merged": tr("The merged model of “{run}” has been exported.", run=exported.run.name),
            }
            self._desk.tell(told[exported.kind], str(exported.path), actions=(self._show_action(),))
        self._end()

    def _show_action(self) -> Action:
        return Action(tr("Show"), lambda: self._desk.go("export"))

    def _failed(self, failure: Exception) -> None:
        from core.export.result import ExportCancelledError

        self._end(() if isinstance(failure, ExportCancelledError) else _problems(failure))

    def _end(self, problems: tuple[Problem, ...] = ()) -> None:
        self.live = None
        self.problems = problems
        if problems and not self.watched:
            advice = say(problems[0].advice)
            self._desk.complain(say(problems[0].message), advice, actions=(self._show_action(),))
        self.target = "" if not problems else self.target
        self.ended.emit()
        self.look()


def exports_of(desk: Desk) -> Exports:
    """The desk's one `Exports`."""
    found = desk.memory.get("exports")
    if not isinstance(found, Exports):
        found = desk.memory["exports"] = Exports(desk)
    return found


def _outlook(run: Path, kind: ExportKind, target: str) -> Outlook:
    from core.export.result import default_target, export_kinds, plan_export, unused_target

    folder = RunFolder(run)
    offers = export_kinds(folder)
    plans = {}
    for offer in offers:
        if offer.possible:
            place = Path(target.strip()) if target.strip() else unused_target(default_target(folder, offer.kind))
            plans[offer.kind] = plan_export(folder, offer.kind, place)
    sizes = {name: plan.bytes_needed for name, plan in plans.items()}
    return Outlook(run, offers, sizes, plans.get(kind))


def _merge_job(plan: "ExportPlan") -> Any:
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    plan.require()
    return Supervisor(create_job("merge", plan.arguments))


def _described(run: Path, plan: "ExportPlan", seconds: float) -> Exported:
    from core.export.result import bytes_in
    from core.runs.results import result_base
    from studio.state.usage import usage_code

    size = bytes_in(plan.target)
    try:
        base = result_base(RunFolder(run)) if plan.kind == "adapter" else None
        code = usage_code(plan.target, base)
    except (UserError, OSError):
        code = ""  # the export is whole all the same
    return Exported(run, plan.kind, plan.target, size, seconds, time.time(), code)


def _tidy(target: Path, kept: Path) -> None:
    """Removes what an export that came to nothing may have left: a half-written folder, and folders made for it."""
    for half in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(half, ignore_errors=True)
    for folder in (target, *target.parents):
        if folder == kept or not folder.is_relative_to(kept):
            return
        try:
            folder.rmdir()  # goes only when it is empty
        except OSError:
            continue


def _problems(failure: Exception) -> tuple[Problem, ...]:
    if isinstance(failure, UserError):
        return failure.problems
    if isinstance(failure, OSError):
        words = f"The disk refused: {failure.strerror or failure}."
        return (error(str(failure.filename or ""), words, "Check the folder and its disk, then try again."),)
    raise failure
