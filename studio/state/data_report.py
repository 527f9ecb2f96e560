"""The report about the data of the spec: made in the background, made anew when rows, model or limit change."""

from dataclasses import replace

from PySide6.QtCore import QObject, QTimer, Signal

from core.data.report.types import Report
from core.errors import Problem, UserError
from core.facts.types import ModelFacts
from core.spec.run_spec import RunSpec
from core.spec.sections import DataSpec
from studio.state import readers
from studio.state.session import Busy, Session
from studio.workers.task import Report as Progress
from studio.workers.task import Task, start_task

_ANY_LIMIT = 8


class DataReport(QObject):
    """Follows a session once somebody wants to see the report; before that nothing is looked through.

    Attributes:
        report: what was found; None while nobody knows. While the same rows are looked through anew, with other
            repairs or another limit, it is the one before, and `is_stale`.
        problems: why there is none.
        busy: how far the work is; None while nothing is done.
        changed: any of these is another one.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._task: Task | None = None
        self._made_for: object = None  # what the report is about, or the work on it, or the refusal, or the cancelling
        self._rows: object = None
        self._is_wanted = False
        # a session that begins to read says several things one after the other; only the last of them counts
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._follow)
        self.report: Report | None = None
        self.problems: tuple[Problem, ...] = ()
        self.busy: Busy | None = None

    def begin(self) -> None:
        """Makes reports from now on."""
        if not self._is_wanted:
            self._is_wanted = True
            for signal in (self._session.busy_changed, self._session.facts_changed, self._session.spec_changed):
                signal.connect(self._soon.start)
            self._follow()

    @property
    def is_possible(self) -> bool:
        """Whether there are files, which have been read, and a model here whose tokenizer can count them."""
        session = self._session
        has_rows = session.data is not None or bool(session.data_problems)  # neither where the reading was cancelled
        return bool(session.spec.data.train) and session.model is not None and session.model.here and has_rows

    @property
    def is_stale(self) -> bool:
        """Whether `report` was made with other settings than those of now."""
        return self.report is not None and (self.busy is not None or self._made_for != self._wanted())

    @property
    def is_waiting(self) -> bool:
        """Whether a report will be made as soon as the rows have been read."""
        return self._session.is_reading and bool(self._session.spec.data.train)

    def cancel(self) -> None:
        """Ends the work; it is not taken up again until something changes or `again` asks."""
        if self._task is not None:
            self._stop()
            self._made_for = self._wanted()
            self.report, self.problems = None, ()
            self.changed.emit()

    def again(self) -> None:
        """Reads the rows again, which may have changed outside, and looks through them."""
        self._stop()
        self._made_for = None
        self._session.refresh("data")
        self._soon.start()

    def _wanted(self) -> object:
        """What a report made now would be about."""
        session = self._session
        model = session.model.fingerprint if session.model is not None else ""
        return readers.data_key(session.spec), model, session.data, session.data_problems

    def _follow(self) -> None:
        rows = rows_key(self._session.spec.data), self._session.spec.model.base.strip()
        if self.report is not None and rows != self._rows:
            self.report = None
        if self._session.is_reading or not self.is_possible:
            self._stop()
            if not self.is_possible and not self._session.is_reading:
                self.report, self.problems, self._made_for = None, (), None
        elif self._made_for != self._wanted():
            self._start(rows)
        self.changed.emit()

    def _start(self, rows: object) -> None:
        self._stop()
        spec, model = self._session.spec, self._session.model
        assert model is not None
        self._made_for, self._rows, self.problems = self._wanted(), rows, ()
        self.busy = Busy("Looking through the rows")
        self._task = start_task(
            lambda report: _make(spec, model, report),
            on_done=self._arrived,
            on_failed=self._refused,
            on_progress=self._progressed,
            parent=self,
        )

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._made_for = None
        self._task, self.busy = None, None

    def _progressed(self, progress: tuple[str, int, int]) -> None:
        self.busy = Busy(*progress)
        self.changed.emit()

    def _arrived(self, report: Report) -> None:
        self._task, self.busy = None, None
        self.report = report
        self.changed.emit()

    def _refused(self, failure: Exception) -> None:
        self._task, self.busy, self.report = None, None, None
        if not isinstance(failure, UserError):
            self.changed.emit()
            raise failure
        self.problems = failure.problems
        self.changed.emit()


def _make(spec: RunSpec, model: ModelFacts, report: Progress) -> Report:
    """The report, in a background thread.

    Raises:
        UserError: the rows cannot be used.
        CancelledError: nobody wants it any more.
    """
    from core.data.report.making import make_report

    data = readers.absolute(spec).data
    made = make_report(
        data,
        spec.training.seed,
        model,
        on_progress=lambda done, total: report("Looking through the rows", done, total),
    )
    # repairs that no row needs are named as well: the report then says which it was made with
    return replace(made, repaired={name: made.repaired.get(name, 0) for name in data.repairs})


def rows_key(data: DataSpec) -> object:
    """The same for the same rows of the same files, whatever is mended in them and wherever they are cut."""
    return replace(data, max_length=_ANY_LIMIT, repairs=(), mapping={}), tuple(data.mapping.items())
