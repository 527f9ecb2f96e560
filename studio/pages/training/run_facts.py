"""What a run was asked to do and planned with, read from its folder in the background."""

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from core.errors import UserError
from core.plan.types import Plan
from core.runs.layout import RunFolder
from core.spec.run_spec import RunSpec
from studio.workers.task import Report, start_task


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run's spec and plan; None where the files cannot be read, which the run itself tells of."""

    spec: RunSpec | None = None
    plan: Plan | None = None

    @property
    def max_grad_norm(self) -> float:
        """To which length gradients are clipped; 0 for none or unknown."""
        return self.spec.training.max_grad_norm if self.spec is not None else 0.0

    @property
    def memory_limit(self) -> int:
        """Bytes that the device has; 0 while unknown."""
        return self.plan.memory.limit_bytes if self.plan is not None and self.plan.memory is not None else 0


class FactsReader(QObject):
    """Reads the facts of one run after another.

    Attributes:
        now: the facts of the run that was asked for last; empty until they are read.
        changed: `now` is another one.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.now = RunFacts()
        self._folder: RunFolder | None = None

    def read(self, folder: RunFolder) -> None:
        """Reads a folder, if it is not the one that has been read."""
        if folder == self._folder:
            return
        self._folder = folder
        self.now = RunFacts()
        start_task(
            lambda _report: _read(folder, _report),
            on_done=lambda found: self._took(folder, found),
            on_failed=_raise,
            parent=self,
        )

    def _took(self, folder: RunFolder, found: RunFacts) -> None:
        if folder == self._folder:
            self.now = found
            self.changed.emit()


def _read(folder: RunFolder, _report: Report) -> RunFacts:
    from core.runs.store import load_plan, load_spec

    spec, plan = None, None
    try:
        spec = load_spec(folder)
        plan = load_plan(folder)
    except UserError:
        return RunFacts(spec, plan)  # an engine on this folder says the same, in its own words
    return RunFacts(spec, plan)


def _raise(failure: Exception) -> None:
    raise failure
