"""What makes the present run fit, looked for in the background once its spec has stood still for a moment."""

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import Problem
from core.facts.types import Facts
from core.plan.solve import Solution, is_unsolved, with_fixes
from core.plan.types import Plan
from core.spec.run_spec import RunSpec
from studio.workers.task import Task, start_task

_SETTLE_MS = 120


class WaysOut(QObject):
    """Gives the plan's problem of memory its one-click fixes, a moment after the plan.

    Attributes:
        found: the problems of the plan that was followed last have their fixes now.
    """

    found = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._asked: tuple[RunSpec, Facts] | None = None
        self._solution: Solution | None = None
        self._task: Task | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._solve)

    @property
    def is_looking(self) -> bool:
        """Whether fixes are still on their way."""
        return self._asked is not None and self._solution is None

    def follow(self, spec: RunSpec, facts: Facts, plan: Plan) -> None:
        """Takes the newest plan; what was found for an earlier one is of no use any more."""
        self._solution = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if facts.model is not None and is_unsolved(plan.problems):
            self._asked = spec, facts
            self._settle.start()
        else:
            self._asked = None
            self._settle.stop()

    def told(self, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        """The plan's problems with the fixes that are known by now."""
        return with_fixes(problems, self._solution) if self._solution is not None else problems

    def _solve(self) -> None:
        if self._asked is None:
            return
        spec, facts = self._asked
        self._task = start_task(
            lambda _report: _solution_of(spec, facts), on_done=self._solved, on_failed=self._failed, parent=self
        )

    def _solved(self, solution: Solution) -> None:
        self._task = None
        self._solution = solution
        self.found.emit()

    def _failed(self, failure: Exception) -> None:
        self._task = None
        raise failure


def _solution_of(spec: RunSpec, facts: Facts) -> Solution:
    from core.facts.relatives import smaller_relatives
    from core.plan.solve import solve

    return solve(spec, facts, smaller_relatives(facts.model) if facts.model is not None else ())
