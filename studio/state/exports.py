"""What is exported, where to, and how far it is: outlives the page, so that an export goes on whatever is shown."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import Problem, error
from core.paths import existing_parent
from core.runs.outcome import Outcome
from studio.state.desk import Action, Desk
from studio.state.export_facts import CheckReport, Exported, ExportKind, Outlook, described, outlook, problems_of, tidy
from studio.state.export_jobs import report_of, upload_job, verify_job, write_job
from studio.state.results import ResultRuns, results_of
from studio.words import say, tr
from studio.workers.job_thread import JobThread
from studio.workers.task import Report, Task, start_task

if TYPE_CHECKING:
    from core.export.result import ExportOptions, ExportPlan
    from core.runs.supervisor import Supervisor

_SETTLE_MS = 200
_SPEED_SECONDS = 3.0


@dataclass(slots=True)
class LiveExport:
    """An export on its way: it is written, then checked, and uploaded if that is its kind.

    Attributes:
        stage: which of the three it is at.
        words: what is being done, in a sentence of the engine; may be empty.
        done, total: bytes; `speed`: bytes a second, 0 while unknown.
        stopping: somebody wants it to end.
        kept: the folder that was there before, which stays whatever happens.
        verification: what the check found.
    """

    run: Path
    plan: "ExportPlan"
    stage: Literal["write", "verify", "upload"] = "write"
    verification: CheckReport | None = None
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

    def enter(self, stage: Literal["verify", "upload"]) -> None:
        """The next stage begins at nothing."""
        self.stage, self.words, self.job = stage, "", None
        self.done = self.total = self.speed = 0.0
        self._seen.clear()
        self.stopping.clear()

    def move(self, done: float, total: float) -> None:
        """It is further now."""
        now = time.monotonic()
        self.done, self.total = done, total
        self._seen.append((now, done))
        while now - self._seen[0][0] > _SPEED_SECONDS:
            self._seen.popleft()
        first, before = self._seen[0]
        self.speed = (done - before) / (now - first) if now > first else 0.0


class Exports(QObject):
    """The one export that is being chosen or made, and those of this session.

    Attributes:
        run: the chosen run's folder; None follows the run that the window shows, or the newest.
        kind: what to make of it.
        target: the folder as typed; empty for the usual place.
        precision: of each kind that has one, as far as somebody has chosen.
        repo: the repository on the hub; `is_private`, `content`: how it is made, and what goes there.
        verify: the export is checked when it is written.
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
        self.precision: dict[ExportKind, str] = {}
        self.repo = ""
        self.is_private = True
        self.content: Literal["adapter", "merged"] = "adapter"
        self.verify = True
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
            self.kind, self.target, self.problems = kind, "", ()
            self.look()

    def choose_precision(self, name: str) -> None:
        """Writes the chosen kind in this precision."""
        if name != self.precision.get(self.kind):
            self.precision[self.kind], self.problems = name, ()
            self.look()

    def choose_repo(self, text: str) -> None:
        """Uploads to this repository; looks a moment after the last letter."""
        if text != self.repo:
            self.repo, self.problems = text, ()
            self._settle.start()
            self.changed.emit()

    def choose_upload(self, *, content: Literal["adapter", "merged"], is_private: bool) -> None:
        """Uploads this, into a repository that everybody may see or not."""
        if (content, is_private) != (self.content, self.is_private):
            self.content, self.is_private, self.problems = content, is_private, ()
            self.look()

    @property
    def options(self) -> "ExportOptions":
        """What is chosen besides kind and place."""
        from core.export.result import ExportOptions

        return ExportOptions(self.precision.get(self.kind, ""), self.repo.strip(), self.is_private, self.content)

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
            run, kind, target, options = self.run, self.kind, self.target, self.options
            self._task = start_task(
                lambda _report: outlook(run, kind, target, options),
                on_done=self._looked,
                on_failed=self._broke,
                parent=self,
            )
        self.changed.emit()

    def _looked(self, found: Outlook) -> None:
        self._task = None
        self.outlook = found
        possible = [offer.kind for offer in found.offers if offer.possible]
        if possible and self.kind not in possible:
            self.kind = possible[0]
            self.look()
            return
        self.changed.emit()

    def _broke(self, failure: Exception) -> None:
        self._task = None
        self.outlook = None
        self.problems = problems_of(failure)
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
        if plan.is_job:
            self._follow(lambda: write_job(plan), self._write_ended)
        else:
            live.total = plan.bytes_needed

            def copied(report: Report) -> None:
                from core.export.copying import ExportCancelledError, copy_result

                try:
                    copy_result(plan, report, live.stopping.is_set)
                except ExportCancelledError:
                    tidy(plan.target, live.kept)
                    raise

            start_task(copied, on_done=self._written, on_failed=self._failed, on_progress=self._copied)
        self.moved.emit()
        self.changed.emit()

    def cancel(self) -> None:
        """Ends the present stage: nothing of a half-written export is left, and a whole one stays unchecked or here."""
        if self.live is not None:
            self.live.stopping.set()
            if self.live.job is not None:
                self.live.job.cancel()
            self.moved.emit()

    def _follow(self, begin: "Callable[[], Supervisor]", ended: Callable[[Outcome], None]) -> None:
        live = self.live
        assert live is not None
        job = live.job = JobThread(begin)
        job.progressed.connect(self._job_moved)
        job.ended.connect(ended)
        job.refused.connect(self._failed)
        job.start()

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

    def _write_ended(self, outcome: Outcome) -> None:
        if outcome.kind == "completed":
            self._written(None)
            return
        live = self.live
        assert live is not None
        problems = _failure(live, outcome, "Export it again.")
        # an engine that was ended by force cannot clear up after itself
        start_task(
            lambda _report: tidy(live.plan.target, live.kept),
            on_done=lambda _nothing: self._end(problems),
            on_failed=self._failed,
        )

    def _written(self, _nothing: object) -> None:
        live = self.live
        assert live is not None
        if not self.verify or live.plan.verify_arguments is None:
            self._checked(live)
            return
        live.enter("verify")
        self._follow(lambda: verify_job(live.plan), self._verify_ended)
        self.moved.emit()

    def _verify_ended(self, outcome: Outcome) -> None:
        live = self.live
        assert live is not None
        if outcome.kind == "completed":
            start_task(
                lambda _report: report_of(live.plan),
                on_done=lambda found: self._checked(live, found),
                on_failed=self._failed,
            )
        elif outcome.kind == "stopped":
            self._checked(live)
        else:
            self._checked(live, CheckReport(problem=f"{outcome.message} {outcome.hint}".strip()))

    def _checked(self, live: LiveExport, found: CheckReport | None = None) -> None:
        live.verification = found
        if live.plan.kind != "hub":
            self._describe(live)
        elif found is not None and (found.problem or found.verdict == "failed"):
            message = "The export did not pass its check, so it was not uploaded."
            advice = f"Look at what failed; the export itself is in {live.plan.target}."
            self._describe(live, (error("", message, advice),))
        else:
            live.enter("upload")
            self._follow(lambda: upload_job(live.plan), self._upload_ended)
            self.moved.emit()

    def _upload_ended(self, outcome: Outcome) -> None:
        live = self.live
        assert live is not None
        advice = "Upload it again; what has arrived is not sent twice."
        problems = _failure(live, outcome, advice) if outcome.kind != "completed" else ()
        self._describe(live, problems, str(outcome.result.get("url", "")))

    def _describe(self, live: LiveExport, problems: tuple[Problem, ...] = (), url: str = "") -> None:
        """Reads what was written, which is whole whatever ``problems`` came after it."""
        run, plan, seconds, found = live.run, live.plan, time.monotonic() - self._began, live.verification
        start_task(
            lambda _report: described(run, plan, seconds, found, url),
            on_done=lambda exported: self._took(exported, problems),
            on_failed=self._failed,
        )

    def _took(self, exported: Exported, problems: tuple[Problem, ...]) -> None:
        self.past.insert(0, exported)
        if not problems:
            words = told(exported.kind, exported.run.name)
            checks = exported.verification
            if checks is not None and checks.verdict == "failed":
                words = tr("{exported} It did not pass its check.", exported=words)
            elif checks is not None and checks.verdict == "not_compared":
                words = tr("{exported} It could not be compared with what was trained.", exported=words)
            self._desk.announce(words, str(exported.path))
            if not self.watched:
                self._desk.tell(words, str(exported.path), actions=(self._show_action(),))
        self._end(problems)

    def _show_action(self) -> Action:
        return Action(tr("Show"), lambda: self._desk.go("export"))

    def _failed(self, failure: Exception) -> None:
        from core.export.copying import ExportCancelledError

        self._end(() if isinstance(failure, ExportCancelledError) else problems_of(failure))

    def _end(self, problems: tuple[Problem, ...] = ()) -> None:
        self.live = None
        self.problems = problems
        if problems:
            message, advice = say(problems[0].message), say(problems[0].advice)
            self._desk.announce(message, advice)
            if not self.watched:
                self._desk.complain(message, advice, actions=(self._show_action(),))
        self.target = "" if not problems else self.target
        self.ended.emit()
        self.look()


def exports_of(desk: Desk) -> Exports:
    """The desk's one `Exports`."""
    found = desk.memory.get("exports")
    if not isinstance(found, Exports):
        found = desk.memory["exports"] = Exports(desk)
    return found


def told(kind: ExportKind, name: str) -> str:
    """That an export is done, in a sentence."""
    words = {
        "adapter": tr("The adapter of “{run}” has been exported.", run=name),
        "merged": tr("The merged model of “{run}” has been exported.", run=name),
        "gguf": tr("“{run}” has been exported as GGUF.", run=name),
        "gguf_adapter": tr("The adapter of “{run}” has been exported as GGUF.", run=name),
        "ollama": tr("“{run}” has been exported for Ollama.", run=name),
        "lm_studio": tr("“{run}” has been exported for LM Studio.", run=name),
        "hub": tr("“{run}” has been uploaded to the Hugging Face Hub.", run=name),
    }
    return words[kind]


def _failure(live: LiveExport, outcome: Outcome, advice: str) -> tuple[Problem, ...]:
    if outcome.kind == "stopped":
        return ()
    return (error(str(live.plan.target), outcome.message, outcome.hint or advice),)
