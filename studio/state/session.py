"""The spec being edited, the facts about it, and the plan that follows: the one flow of the design.

An edit makes a new spec, and the plan is made again at once, on the main thread, because it takes under a
millisecond. Facts that an edit makes stale are read again in the background and the plan follows when they come.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from core.data.report.types import Lengths
from core.errors import Edit, Problem, UserError
from core.facts.types import DataFacts, DeviceRecord, Facts, HardwareFacts, ModelFacts
from core.plan.planner import plan
from core.plan.types import Plan
from core.spec.run_spec import RunSpec
from studio.state import readers
from studio.state.ways_out import WaysOut
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.prepare import Prepared

_SETTLE_MS = 250
_UNDO_STEPS = 200
_TOGETHER = 1.0  # edits of the same setting within so many seconds are undone together


@dataclass(frozen=True, slots=True)
class Busy:
    """What is being read in the background: a sentence, and how far, 0 of 0 while unknown."""

    what: str
    done: int = 0
    total: int = 0


class Session(QObject):
    """The unfinished spec with its facts and plan.

    Attributes:
        spec: what the user asks for, now.
        hardware, model, data: the facts, None while nobody knows.
        records: what earlier runs measured on this computer; read with the hardware.
        model_problems, data_problems: why there are none; data's also hold warnings when there are some.
        lengths: how long the data's rows are before they are cut, of training and of validation; empty without data.
        plan: what will happen; None until the machine has been looked at.
        busy: what is being read, by "hardware", "model" and "data".
        spec_changed: the paths that changed.
        plan_changed: the plan is another one (after every edit and every new fact).
        ways_out: brings the fixes of a run that does not fit, a moment after its plan; then they are in `problems`.
        facts_changed: which of "hardware", "model" and "data" changed.
        busy_changed: the reading began, went on or ended.
    """

    spec_changed = Signal(object)
    plan_changed = Signal()
    facts_changed = Signal(str)
    busy_changed = Signal()

    def __init__(self, spec: RunSpec | None = None) -> None:
        super().__init__()
        self.spec = spec or RunSpec()
        self.file: Path | None = None
        self.saved_spec: RunSpec = self.spec
        self.hardware: HardwareFacts | None = None
        self.records: tuple[DeviceRecord, ...] = ()
        self._machine: object = None  # which disk the hardware's facts are about
        self.model: ModelFacts | None = None
        self.data: DataFacts | None = None
        self.template = ""
        self.lengths = (Lengths(), Lengths())
        self.model_problems: tuple[Problem, ...] = ()
        self.data_problems: tuple[Problem, ...] = ()
        self.plan: Plan | None = None
        self.ways_out = WaysOut()
        self.busy: dict[str, Busy] = {}
        self._tasks: dict[str, Task] = {}
        self._read_for: dict[str, object] = {}
        self._undo: list[tuple[RunSpec, frozenset[str], float]] = []
        self._redo: list[RunSpec] = []
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._read_stale)

    # --- edits

    def edit(self, path: str, value: Any) -> None:
        """Changes one setting."""
        self.apply((Edit(path, value),))

    def apply(self, edits: Iterable[Edit], *, gesture: str = "") -> None:
        """Changes several settings at once; one step to undo, with all others of the same ``gesture`` just before."""
        spec = self.spec
        for item in edits:
            spec = spec.replace(item.path, item.value)
        self.set_spec(spec, gesture=gesture)

    def set_spec(self, spec: RunSpec, *, gesture: str = "") -> None:
        """Takes another spec; the one before can be had back with `undo`."""
        import time

        if spec == self.spec:
            return
        paths = frozenset((gesture,)) if gesture else _changed(self.spec, spec)
        now = time.monotonic()
        together = bool(gesture) or (bool(self._undo) and now - self._undo[-1][2] <= _TOGETHER)
        if not self._undo or self._undo[-1][1] != paths or not together:
            self._undo.append((self.spec, paths, now))
            del self._undo[:-_UNDO_STEPS]
        else:
            self._undo[-1] = (self._undo[-1][0], paths, now)
        self._redo.clear()
        self._move_to(spec)

    def undo(self) -> bool:
        """Takes the last change back; False when there is none."""
        if not self._undo:
            return False
        self._redo.append(self.spec)
        self._move_to(self._undo.pop()[0])
        return True

    def redo(self) -> bool:
        """Does what was undone again; False when there is nothing."""
        if not self._redo:
            return False
        spec = self._redo.pop()
        self._undo.append((self.spec, _changed(self.spec, spec), 0.0))
        self._move_to(spec)
        return True

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would change anything."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would change anything."""
        return bool(self._redo)

    @property
    def unsaved(self) -> bool:
        """Whether the spec differs from its file (or from an empty one where it has none)."""
        return self.spec != self.saved_spec

    def _move_to(self, spec: RunSpec) -> None:
        paths = _changed(self.spec, spec)
        self.spec = spec
        if self._is_stale():  # before anybody hears of the change, so that all see a spec that is being read
            self._settle.start()
        self._replan()
        self.spec_changed.emit(paths)

    # --- facts and plan

    def begin(self) -> None:
        """Reads everything there is to read; called once, after the window is up."""
        self._read_stale()

    @property
    def facts(self) -> Facts | None:
        """All that is known; None until the machine has been looked at."""
        if self.hardware is None:
            return None
        return Facts(self.hardware, self.model, self.data, self.records)

    def prepared(self) -> "Prepared | None":
        """What a run is created from, when everything is known and nothing is being read."""
        if self.facts is None or self.plan is None or self.model is None or self.data is None or self.is_reading:
            return None
        from core.runs.prepare import Prepared

        return Prepared(readers.absolute(self.spec), self.facts, replace(self.plan, template=self.template))

    @property
    def is_reading(self) -> bool:
        """Whether facts that this spec needs are still on their way.

        A computer that is known and looked at once more, as after every run, keeps nobody waiting.
        """
        known = self.hardware is not None and self._machine == readers.machine_key(self.spec)
        return self._settle.isActive() or bool(self.busy.keys() - ({"hardware"} if known else set()))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything to know before the start: of the plan, the model's files and the data."""
        planned = self.ways_out.told(self.plan.problems) if self.plan is not None else ()
        found = (*self.model_problems, *self.data_problems, *planned)
        return readers.without_repeats(found, has_model_problem=bool(self.model_problems))

    def refresh(self, *names: str) -> None:
        """Reads facts again that may have changed outside: "hardware", "model", "data"."""
        for name in names:
            self._read_for.pop(name, None)
        self._read_stale()

    def cancel(self, name: str) -> None:
        """Ends the reading of "model" or "data"; it is not read again until the spec changes or `refresh` asks."""
        self._cancel(name)

    def _replan(self) -> None:
        facts = self.facts
        if facts is not None:
            self.plan = plan(self.spec, facts)
            self.ways_out.follow(self.spec, facts, self.plan)
            self.plan_changed.emit()

    def _read_hardware(self) -> None:
        spec = self.spec
        wanted = readers.machine_key(spec)
        if self._read_for.get("hardware") != wanted:
            self._read_for["hardware"] = wanted
            self._start("hardware", Busy("Looking at this computer"), lambda _report: readers.read_machine(spec))

    def _is_stale(self) -> bool:
        """Whether the spec now names another disk, another model or other data than those that were read last."""
        model = self._read_for.get("model") != readers.model_key(self.spec)
        machine = self._read_for.get("hardware") != readers.machine_key(self.spec)
        return model or machine or self._read_for.get("data") != self._data_key()

    def _data_key(self) -> object:
        return (readers.data_key(self.spec), self.model.fingerprint if self.model else None)

    def _read_stale(self) -> None:
        self._settle.stop()
        self._read_hardware()
        self._read_model()
        self._read_data()
        self.busy_changed.emit()

    def _read_model(self) -> None:
        spec = self.spec
        wanted = readers.model_key(spec)
        if self._read_for.get("model") != wanted:
            self._read_for["model"] = wanted
            self._read_for.pop("data", None)
            self._cancel("data")
            self._set_model(None, ())
            if spec.model.base.strip():
                self._start("model", Busy("Reading the base model’s files"), lambda _report: readers.read_base(spec))
            else:
                self._cancel("model")

    def _read_data(self) -> None:
        spec, model = self.spec, self.model
        wanted = self._data_key()
        if self._read_for.get("data") == wanted or "model" in self.busy:
            return
        self._read_for["data"] = wanted
        self._cancel("data")
        self.lengths = (Lengths(), Lengths())
        self._set_data(None, (), "")
        if spec.data.train and model is not None and model.here:  # without its tokenizer rows cannot be counted
            self._start("data", Busy("Reading the data"), lambda report: readers.read_rows(spec, model, report))

    def _start(self, name: str, busy: Busy, work: Any) -> None:
        self._cancel(name)
        self.busy[name] = busy
        self._tasks[name] = start_task(
            work,
            on_done=lambda result: self._arrived(name, result),
            on_failed=lambda failure: self._refused(name, failure),
            on_progress=lambda progress: self._progressed(name, progress),
        )
        self.busy_changed.emit()

    def _cancel(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        if self.busy.pop(name, None) is not None:
            self.busy_changed.emit()

    def _progressed(self, name: str, progress: tuple[Any, ...]) -> None:
        what, done, total = progress
        self.busy[name] = Busy(what, done, total)
        self.busy_changed.emit()

    def _arrived(self, name: str, result: Any) -> None:
        self._tasks.pop(name, None)
        self.busy.pop(name, None)
        if name == "hardware":
            self.hardware, self.records = result.hardware, result.records
            self._machine = self._read_for.get("hardware")
            self._replan()
            self.facts_changed.emit("hardware")
        elif name == "model":
            self._set_model(result, ())
            self._read_data()
        else:
            self.lengths = result.lengths
            self._set_data(result.facts, result.problems, result.template)
        self.busy_changed.emit()

    def _refused(self, name: str, failure: Exception) -> None:
        self._tasks.pop(name, None)
        self.busy.pop(name, None)
        if not isinstance(failure, UserError):
            self.busy_changed.emit()
            raise failure
        if name == "model":
            self._set_model(None, failure.problems)
            self._read_data()
        elif name == "data":
            self._set_data(None, failure.problems, "")
        self.busy_changed.emit()

    def _set_model(self, model: ModelFacts | None, problems: tuple[Problem, ...]) -> None:
        if (model, problems) != (self.model, self.model_problems):
            self.model, self.model_problems = model, problems
            self._replan()
            self.facts_changed.emit("model")

    def _set_data(self, data: DataFacts | None, problems: tuple[Problem, ...], template: str) -> None:
        if (data, problems) != (self.data, self.data_problems):
            self.data, self.data_problems, self.template = data, problems, template
            self._replan()
            self.facts_changed.emit("data")


def _changed(before: RunSpec, after: RunSpec) -> frozenset[str]:
    from core.spec.run_spec import diff

    return frozenset(path for path, _, _ in diff(before, after))
